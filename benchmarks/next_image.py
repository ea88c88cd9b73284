"""How long the next image takes on an image's page: from the key to its picture, and to its samples at full depth.

`python -m benchmarks.next_image` screens images of 16 bits in the whole product, opens the first in Chromium as a
reader would, and presses `j` until the last; in turns with the next page prerendered, and without, as browsers do that
know no speculation rules. Chromium draws WebGL in software here; a graphics card is faster. What the browser itself
takes is measured first, by pages of one heading that are prerendered as well.
"""

import argparse
import os
import statistics
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np

from benchmarks.devtools import Tab, open_tab
from benchmarks.scratch import new_folder
from benchmarks.stack import NamedImage, Stack, make_forms, running
from shared.accounts import links, users
from shared.db import Database
from shared.settings import PREFIX
from shared.tables import Role

TARGET_MS: Final = 150
SIZES: Final = {"1.4 megapixels": (1000, 1400), "5 megapixels": (2500, 2000)}
READER: Final = "rita"
PICTURE: Final = "KEY TO PICTURE"
_REST_SECONDS: Final = 2.5
"""The least time that a reader looks; the next image is prefetched meanwhile."""
_NOTE_KEY: Final = """addEventListener("keydown", (event) => {
  localStorage.setItem("pressed", performance.timeOrigin + event.timeStamp);
}, true)"""
_IS_READY: Final = (
    'performance.getEntriesByName("first-contentful-paint").length && document.querySelector("[data-shown]")'
)
# A prerendered page has drawn its image before it is shown, when its first paint happens. In both kinds of page the
# picture is visible no earlier than the first paint, and no later than when the samples are drawn.
_READ: Final = """new Promise((done) => {
  const one = (name) => performance.getEntriesByName(name)[0];
  const [page] = performance.getEntriesByType("navigation");
  const [shown, painted] = [one("image-shown").startTime, one("first-contentful-paint").startTime];
  const pixels = performance.getEntriesByType("resource").find(({ name }) => name.includes("/pixels"));
  const pressed = Number(localStorage.getItem("pressed")) - performance.timeOrigin;
  const tell = (pictures) => {
    const picture = pictures.find(({ element }) => element?.tagName === "IMG")?.renderTime ?? shown;
    const steps = page.activationStart ? { "key to activation": page.activationStart - pressed } : {
      "key to request": page.fetchStart - pressed,
      "server answers the page": page.responseStart - page.fetchStart,
      "page is read": page.domInteractive - page.responseStart,
      "samples are here, after the page's answer": pixels.responseEnd - page.responseStart,
      "samples to screen": shown - pixels.responseEnd,
    };
    done({
      ...steps,
      "KEY TO PICTURE": Math.max(painted, Math.min(picture, shown)) - pressed,
      "KEY TO SAMPLES": Math.max(painted, shown) - pressed,
    });
  };
  const observer = new PerformanceObserver((list) => tell(list.getEntries()));
  observer.observe({ type: "largest-contentful-paint", buffered: true });
  setTimeout(() => tell([]), 1000);
})"""

_EMPTY_PAGE: Final = f"""<!doctype html><html lang="en"><title>Empty</title><link rel="icon" href="data:,">
<script type="speculationrules">{{"prerender": [{{"urls": ["NEXT"], "eagerness": "immediate"}}]}}</script>
<script>{_NOTE_KEY}
addEventListener("keydown", () => location.assign("NEXT"))</script><h1>Before page NEXT</h1></html>"""
_IS_PAINTED: Final = 'performance.getEntriesByName("first-contentful-paint").length'
_READ_EMPTY: Final = """performance.getEntriesByName("first-contentful-paint")[0].startTime
  + performance.timeOrigin - Number(localStorage.getItem("pressed"))"""

Step = dict[str, float]
"""Milliseconds by part."""


def measure(size: tuple[int, int], images: int, walks: int) -> tuple[list[Step], list[Step]]:
    """Walk through images of a size, `walks` times each way; return the steps with and without prerendering."""
    data = new_folder()
    environment = {**os.environ, f"{PREFIX}GATE_IGNORES": "all"}  # the test images are no X-rays
    found: dict[bool, list[Step]] = {True: [], False: []}
    with running(data, environment=environment) as stack, _accounts(data) as database:
        job = stack.send(make_forms(list(_draw(size, images))), priority="interactive")
        stack.wait(job)
        first = stack.ask("GET", f"{job}/screenings")["screenings"][0]["page_url"]
        for prerenders in [True, False] * walks:
            with _reader(stack, database, prerenders=prerenders) as tab:
                tab.goto(f"http://127.0.0.1:{stack.port}{first}")
                found[prerenders] += _walk(tab, images - 1)
    return found[True], found[False]


class _EmptyPages(BaseHTTPRequestHandler):
    """Serve pages of one heading, each of which prerenders the next and opens it on any key."""

    def do_GET(self) -> None:
        """Answer a numbered page, such as /3."""
        body = _EMPTY_PAGE.replace("NEXT", str(int(self.path[1:]) + 1)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002  # named so where it comes from
        """Suppress the log line of each request."""


def measure_empty(steps: int) -> list[float]:
    """Return the milliseconds from the key to the first paint of almost empty pages."""
    found = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tempfile.TemporaryDirectory() as profile, open_tab(Path(profile)) as tab:
            tab.goto(f"http://127.0.0.1:{server.server_port}/0")
            tab.wait(_IS_PAINTED)
            for step in range(1, steps + 1):
                tab.rest(_REST_SECONDS)
                tab.press("j")
                tab.wait(f"location.pathname === '/{step}' && {_IS_PAINTED}")
                found.append(float(tab.evaluate(_READ_EMPTY)))
        server.shutdown()
    return found


def _draw(size: tuple[int, int], images: int) -> Iterator[NamedImage]:
    for seed in range(images):
        lot = np.random.default_rng(seed)
        smooth = np.kron(lot.integers(8_000, 56_000, (10, 10)), np.ones((size[0] // 10, size[1] // 10)))
        grains = lot.normal(0, 300, smooth.shape)
        yield f"{seed:02}.png", bytes(imagecodecs.png_encode((smooth + grains).clip(0, 65535).astype(np.uint16)))


@contextmanager
def _accounts(data: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{data / 'pneumoscreen.db'}")
    with database.write() as session:
        users.add_user(session, READER, Role.READER)
    yield database
    database.close()


@contextmanager
def _reader(stack: Stack, database: Database, *, prerenders: bool) -> Iterator[Tab]:
    """Open a fresh browser and sign in the reader."""
    with database.write() as session:
        user = users.find_user(session, READER)
        assert user is not None  # noqa: S101  # made above
        link = links.make_link(session, user)
    with tempfile.TemporaryDirectory() as profile, open_tab(Path(profile)) as tab:
        if not prerenders:
            tab.send("Network.enable", tab.session)
            tab.send("Network.setBlockedURLs", tab.session, urls=["*.speculationrules"])
        tab.sign_in(f"http://127.0.0.1:{stack.port}/sign-in/link/{link}")
        yield tab


def _walk(tab: Tab, steps: int) -> Iterator[Step]:
    tab.wait(_IS_READY)
    for _ in range(steps):
        tab.rest(_REST_SECONDS)
        before = tab.evaluate("location.href")
        tab.evaluate(_NOTE_KEY)
        tab.press("j")
        tab.wait(f"location.href !== '{before}' && {_IS_READY}")
        found: Step = tab.evaluate(_READ)
        yield found


def show(title: str, steps: Sequence[Step]) -> None:
    """Print the median and the longest of each part."""
    print(f"\n{title}, 16 bits, {len(steps)} steps, load {os.getloadavg()[0]:.0f}" + " " * 10 + "median  longest (ms)")
    values: defaultdict[str, list[float]] = defaultdict(list)
    for step in steps:
        for name, value in step.items():
            values[name].append(value)
    for name, some in values.items():
        print(f"  {name:<44} {statistics.median(some):>7.0f} {max(some):>8.0f}   {len(some)} steps")
    median = _median(steps)
    print(f"  target: picture within {TARGET_MS} ms: {'met' if median <= TARGET_MS else 'missed'}")


def _median(steps: Sequence[Step]) -> float:
    return statistics.median(step[PICTURE] for step in steps)


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="images of each size (default 12)")
    parser.add_argument("--walks", type=int, default=2, help="walks through them in each way (default 2)")
    options = parser.parse_args()
    empty = measure_empty(options.images - 1)
    print(f"An empty page, prerendered: {statistics.median(empty):.0f} ms in the median, {max(empty):.0f} at most")
    for title, size in SIZES.items():
        with_it, without = measure(size, options.images, options.walks)
        show(f"{title}, prerendered", with_it)
        show(f"{title}, not prerendered", without)
        print(f"  prerendered, the picture takes {_median(with_it) / _median(without):.2f} of that")


if __name__ == "__main__":
    main()
