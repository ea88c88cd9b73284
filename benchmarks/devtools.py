"""Drive Chromium over a DevTools pipe by its tab, so that it prerenders pages as for a real reader.

Playwright attaches to the page itself, for which Chromium disables prerendering (PrerenderingDisabledByDevTools).
"""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 30.0
"""Timeout for an answer and for a condition."""
_LOOK_SECONDS: Final = 0.01
_FLAGS: Final = (
    *("--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)
"""WebGL in software; a GPU is faster."""


class Tab:
    """One tab; scripts and key presses go to the page that it shows."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._sent, self._unread = 0, b""
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, dict[str, Any]] = {}
        """The state of each page by session: the shown one, and those prerendered."""
        self._session = ""
        tab = self.send("Target.createTarget", None, url="about:blank", forTab=True)["targetId"]
        self._session = self.send("Target.attachToTarget", None, targetId=tab, flatten=True)["sessionId"]
        self._pages.clear()
        self.send("Target.setAutoAttach", self._session, autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def send(self, method: str, session: str | None, **parameters: Any) -> dict[str, Any]:
        """Send a DevTools command and return its answer; raise RuntimeError where it is refused."""
        number = self._post(method, session, **parameters)
        until = time.monotonic() + SECONDS
        while number not in self._answers:
            if session not in (None, self._session) and session not in self._pages:
                raise RuntimeError(f"{method}: the page is gone.")
            if time.monotonic() > until:
                raise TimeoutError(f"Chromium did not answer {method} within {SECONDS:.0f} s.")
            self._read(1.0)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _post(self, method: str, session: str | None, **parameters: Any) -> int:
        self._sent += 1
        command = {"id": self._sent, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        return self._sent

    def _read(self, seconds: float) -> None:
        if select.select([self._from], [], [], seconds)[0]:
            self._unread += os.read(self._from, 1 << 20)
        *messages, self._unread = self._unread.split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._hear(message["method"], message["params"])

    def _hear(self, event: str, told: dict[str, Any]) -> None:
        if event == "Target.attachedToTarget":
            self._pages[told["sessionId"]] = told["targetInfo"]
        elif event == "Target.detachedFromTarget":
            self._pages.pop(told["sessionId"], None)
        elif event == "Target.targetInfoChanged":
            # A page that has been shown is no longer reported as prerendered.
            for page in self._pages.values():
                if page["targetId"] == told["targetInfo"]["targetId"]:
                    page |= {"subtype": None, **told["targetInfo"]}

    @property
    def session(self) -> str:
        """Return the session of the page that is shown."""
        self._read(0)
        shown = [key for key, page in self._pages.items() if page["type"] == "page" and not page.get("subtype")]
        if not shown:
            raise RuntimeError("The tab is between two pages.")
        return shown[-1]

    def goto(self, url: str) -> None:
        """Start navigating to an address."""
        self.send("Page.navigate", self.session, url=url)

    def sign_in(self, link: str) -> None:
        """Sign in by a one-time link."""
        self.goto(link)
        self.wait("document.readyState === 'complete' && document.querySelector('main form button')")
        self.evaluate("document.querySelector('main form button').click()")
        self.wait("document.readyState === 'complete' && document.getElementById('sign-out')")

    @property
    def prerendered(self) -> list[str]:
        """Return the sessions of pages prerendered but not yet shown."""
        self._read(0)
        return [key for key, page in self._pages.items() if page.get("subtype") == "prerender"]

    def evaluate(self, expression: str, session: str | None = None) -> Any:
        """Return the value of a JavaScript expression, in the shown page or another one.

        Raises RuntimeError where it fails, or where the page is closed meanwhile.
        """
        wanted = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.send("Runtime.evaluate", session or self.session, **wanted)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression is true in the page shown at that time."""
        until = time.monotonic() + SECONDS
        while not self.holds(condition):
            if time.monotonic() > until:
                raise TimeoutError(f"After {SECONDS:.0f} s this does not hold: {condition}")
            self.rest(_LOOK_SECONDS)

    def holds(self, condition: str, session: str | None = None) -> bool:
        """Tell whether a JavaScript expression is true in a page; False where the page is closed meanwhile."""
        try:
            return bool(self.evaluate(f"Boolean({condition})", session))
        except RuntimeError:  # one page is being replaced by another
            return False

    def rest(self, seconds: float) -> None:
        """Process events for some seconds while the browser works."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read(left)

    def press(self, key: str) -> None:
        """Press and release a letter key; it may navigate to another page before it is released."""
        pressed = {"key": key, "code": f"Key{key.upper()}", "windowsVirtualKeyCode": ord(key.upper())}
        session = self.session
        self._post("Input.dispatchKeyEvent", session, type="keyDown", text=key, **pressed)
        self._post("Input.dispatchKeyEvent", session, type="keyUp", **pressed)


@contextmanager
def open_tab(profile: Path, program: str = "chromium", width: int = 1440, height: int = 900) -> Iterator[Tab]:
    """Start a browser with its own profile, since without one it caches nothing as large as an image."""
    (read_by_it, to_browser), (from_browser, written_by_it) = os.pipe(), os.pipe()
    wanted = ["--remote-debugging-pipe", f"--user-data-dir={profile}", f"--window-size={width},{height}", *_FLAGS]
    shell = f'exec "$@" 3<&{read_by_it} 4>&{written_by_it}'  # the descriptors that Chromium reads and writes
    process = subprocess.Popen(
        ["/bin/bash", "-c", shell, "bash", program, *wanted, "about:blank"],
        pass_fds=(read_by_it, written_by_it),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(read_by_it)
        os.close(written_by_it)
        tab = Tab(to_browser, from_browser)
        yield tab
        tab.send("Browser.close", None)
        process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)
