"""Take the README's screenshots: the worklist and the page of one X-ray, after a reader has reviewed some.

`python -m benchmarks.screenshots` screens the synthetic samples in the whole product, opens the pages in Chromium and
writes docs/screenshot-worklist.png and docs/screenshot-image.png.
"""

import base64
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.devtools import Tab, open_tab
from benchmarks.scratch import new_folder
from benchmarks.stack import make_forms, running
from shared.accounts import links, users
from shared.db import Database
from shared.images.samples import write_samples
from shared.tables import Role

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
WIDTH, HEIGHT = 1280, 800
READER: Final = "rita"
REVIEWED: Final = "anas"
"""Keys of the reviews of the first X-rays: agree, normal, agree, second reader."""
HEAT_STRENGTH: Final = 35
"""In percent, so that the lungs show through the map."""
_FIRST: Final = 'document.querySelector("#rows td.file a.name")'
_SHOWN: Final = 'document.querySelector("[data-shown]")'
_SHOW_HEAT_MAP: Final = f"""(() => {{
  document.getElementById("heat-map").click();
  const strength = document.getElementById("heat-strength");
  strength.value = {HEAT_STRENGTH};
  strength.dispatchEvent(new Event("input", {{ bubbles: true }}));
}})()"""


def main() -> None:
    """Write both pictures."""
    data = new_folder()
    samples = [(path.name, path.read_bytes()) for path in write_samples(data / "samples")]
    with running(data) as stack, tempfile.TemporaryDirectory() as profile:
        stack.wait(stack.send(make_forms(samples), name="Synthetic samples"))
        url = f"http://127.0.0.1:{stack.port}"
        with open_tab(Path(profile), width=WIDTH, height=HEIGHT) as tab:
            _set_size(tab)
            tab.sign_in(f"{url}/sign-in/link/{_reader_link(data)}")
            _open_first(tab, url)
            _review(tab)
            _open_first(tab, url)
            tab.evaluate(_SHOW_HEAT_MAP)
            _keep(tab, DOCS / "screenshot-image.png")
            _open_worklist(tab, url)
            _keep(tab, DOCS / "screenshot-worklist.png")


def _reader_link(data: Path) -> str:
    database = Database(f"sqlite:///{data / 'pneumoscreen.db'}")
    with database.write() as session:
        link = links.make_link(session, users.add_user(session, READER, Role.READER))
    database.close()
    return link


def _set_size(tab: Tab) -> None:
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    tab.send("Emulation.setDeviceMetricsOverride", tab.session, **size)
    tab.send("Emulation.setScrollbarsHidden", tab.session, hidden=True)


def _open_worklist(tab: Tab, url: str) -> None:
    tab.goto(f"{url}/worklist")
    tab.wait(_FIRST)


def _open_first(tab: Tab, url: str) -> None:
    _open_worklist(tab, url)
    tab.goto(tab.evaluate(f"{_FIRST}.href"))
    tab.wait(_SHOWN)


def _review(tab: Tab) -> None:
    """Press the keys of REVIEWED, each on the X-ray that the previous one led to."""
    for key in REVIEWED:
        tab.rest(1.0)
        before = tab.evaluate("location.href")
        tab.press(key)
        tab.wait(f"location.href !== '{before}' && {_SHOWN}")


def _keep(tab: Tab, path: Path) -> None:
    """Save a screenshot of the tab, once pictures and fonts have loaded."""
    tab.rest(2.0)
    _set_size(tab)
    path.write_bytes(base64.b64decode(tab.send("Page.captureScreenshot", tab.session, format="png")["data"]))


if __name__ == "__main__":
    main()
