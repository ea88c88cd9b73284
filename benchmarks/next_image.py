"""How long the next image takes on an image's page: from the key to its picture, and to its samples at full depth.

`python -m benchmarks.next_image` screens images of 16 bits in the whole product, opens the first in Chromium as a
reader would, and presses `j` until the last. Chromium draws WebGL in software here; a graphics card is faster.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.scratch import new_folder
from benchmarks.stack import NamedImage, Stack, make_forms, running
from shared.accounts import accounts
from shared.db import Database
from shared.settings import PREFIX
from shared.tables import Role

TARGET_MS: Final = 150
SIZES: Final = {"1.4 megapixels": (1000, 1400), "5 megapixels": (2500, 2000)}
_REST_MS: Final = 2500
"""A reader looks at least so long; the next image is fetched ahead meanwhile."""
_FLAGS: Final = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_NOTE_KEY: Final = """
addEventListener("keydown", (event) => {
  if (event.key === "j") sessionStorage.setItem("pressed", performance.timeOrigin + event.timeStamp);
}, true);
"""
_READ: Final = """() => new Promise((done) => {
  new PerformanceObserver((list) => {
    const pressed = Number(sessionStorage.getItem("pressed")) - performance.timeOrigin;
    const [page] = performance.getEntriesByType("navigation");
    const pixels = performance.getEntriesByType("resource").find(({ name }) => name.includes("/pixels"));
    const shown = performance.getEntriesByName("image-shown")[0].startTime;
    const picture = list.getEntries().find(({ element }) => element?.tagName === "IMG") ?? { renderTime: shown };
    done({
      "key to request": page.fetchStart - pressed,
      "server answers the page": page.responseStart - page.fetchStart,
      "page is read": page.domInteractive - page.responseStart,
      "samples are here, after the page's answer": pixels.responseEnd - page.responseStart,
      "samples to screen": shown - pixels.responseEnd,
      "KEY TO PICTURE": Math.min(picture.renderTime, shown) - pressed,
      "KEY TO SAMPLES": shown - pressed,
    });
  }).observe({ type: "largest-contentful-paint", buffered: true });
})"""


def measure(size: tuple[int, int], images: int) -> list[dict[str, float]]:
    """Walk through so many images of a size and return the milliseconds of each step, by what took them."""
    data = new_folder()
    environment = {**os.environ, f"{PREFIX}GATE_IGNORES": "all"}  # these are no X-rays
    with running(data, environment=environment) as stack, _reader(stack, data) as page:
        job = stack.send(make_forms(list(_draw(size, images))), priority="interactive")
        stack.wait(job)
        screenings = stack.ask("GET", f"{job}/screenings")["screenings"]
        page.goto(f"http://127.0.0.1:{stack.port}{screenings[0]['page_url']}")
        return list(_walk(page, images - 1))


def _draw(size: tuple[int, int], images: int) -> Iterator[NamedImage]:
    for seed in range(images):
        lot = np.random.default_rng(seed)
        smooth = np.kron(lot.integers(8_000, 56_000, (10, 10)), np.ones((size[0] // 10, size[1] // 10)))
        grains = lot.normal(0, 300, smooth.shape)
        yield f"{seed:02}.png", bytes(imagecodecs.png_encode((smooth + grains).clip(0, 65535).astype(np.uint16)))


@contextmanager
def _reader(stack: Stack, data: Path) -> Iterator[Page]:
    """Open a browser with a profile, since one without keeps nothing as large as an image, and sign in a reader."""
    database = Database(f"sqlite:///{data / 'pneumoscreen.db'}")
    with database.write() as session:
        link = accounts.make_link(session, accounts.add_user(session, "rita", Role.READER))
    database.close()
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path="/usr/bin/chromium", args=list(_FLAGS), viewport={"width": 1440, "height": 900}
        )
        page = browser.new_page()
        page.add_init_script(_NOTE_KEY)
        page.goto(f"http://127.0.0.1:{stack.port}/sign-in/link/{link}")
        page.get_by_role("button", name="Sign in").click()
        yield page
        browser.close()


def _walk(page: Page, steps: int) -> Iterator[dict[str, float]]:
    page.wait_for_selector("#viewer[data-shown]")
    for _ in range(steps):
        page.wait_for_timeout(_REST_MS)
        before = page.url
        page.keyboard.press("j")
        page.wait_for_function("before => location.href !== before", arg=before)
        page.wait_for_selector("#viewer[data-shown]")
        found: dict[str, Any] = page.evaluate(_READ)
        yield {name: float(value) for name, value in found.items()}


def show(title: str, steps: Sequence[dict[str, float]]) -> None:
    """Print the median and the longest of each part."""
    print(f"\n{title}, 16 bits, {len(steps)} steps" + " " * 10 + "median  longest (ms)")
    for name in steps[0]:
        values = [step[name] for step in steps]
        print(f"  {name:<44} {statistics.median(values):>7.0f} {max(values):>8.0f}")
    median = statistics.median(step["KEY TO PICTURE"] for step in steps)
    print(f"  target: picture within {TARGET_MS} ms: {'met' if median <= TARGET_MS else 'missed'}")


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="images of each size (default 12)")
    for title, size in SIZES.items():
        show(title, measure(size, parser.parse_args().images))


if __name__ == "__main__":
    main()
