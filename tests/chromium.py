"""A headless Chromium, by its own protocol over a pipe: no driver program, no package."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stores import Missing

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 30
"""Seconds that anything may take on a slow machine."""

_SWITCHES = (
    "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars",
    "--disable-component-update", "--force-color-profile=srgb",
)  # fmt: skip
_KEYS = {"Escape": 27, "Enter": 13, "ArrowDown": 40, "ArrowUp": 38, "ArrowRight": 39, "ArrowLeft": 37, "End": 35}


class Refusal(Exception):
    """The browser did not do what was asked."""


class Browser:
    """A browser process; its tabs share one profile, which goes with it."""

    def __init__(self, folder: Path) -> None:
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            raise Missing("Chromium is not installed: apt-get install chromium")
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # The protocol is read from file descriptor 3, and written to 4.
        script = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, program, *_SWITCHES, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._ids = itertools.count(1)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Have something done; events that come meanwhile are kept."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (reply := self._message()).get("id") != number:
            self.events.append(reply)
        if "error" in reply:
            raise Refusal(f"{method}: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    def _message(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, until - time.monotonic()))
            assert ready, "Chromium does not answer"
            piece = os.read(self._from, 1 << 20)
            assert piece, "Chromium ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    def tab(self) -> Tab:
        """Open a tab that knows nothing of others: cookies and storage are its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Tab(self, session, context)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            os.write(self._to, b'{"id":0,"method":"Browser.close"}\0')
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)


class Tab:
    """One tab. What its page logs as an error, or throws, is kept in `complaints`."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have something done in this tab."""
        return self._browser.call(method, self._session, **parameters)

    def js(self, code: str) -> Any:
        """Return what an expression, or a promise, comes to."""
        reply = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def wait(self, code: str) -> Any:
        """Return what an expression comes to as soon as that is true."""
        until = time.monotonic() + PATIENCE
        while not (value := self._looked(code)):
            assert time.monotonic() < until, f"never true: {code}\n{self.text()}\n{self.complaints}"
            time.sleep(0.02)
        return value

    def _looked(self, code: str) -> Any:
        try:
            return self.js(code)
        except Refusal:  # it goes to another page just now
            return None

    def has(self, text: str, within: str = "body") -> None:
        """Wait until a text is shown."""
        self.wait(f"document.querySelector({json.dumps(within)})?.innerText.includes({json.dumps(text)})")

    def text(self, selector: str = "body") -> str:
        """Return the text that is shown in an element."""
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''") or ""

    def go(self, url: str) -> None:
        """Go to an address, as by typing it."""
        self.call("Page.navigate", url=url)

    def click(self, selector: str, text: str = "") -> None:
        """Click the first element that matches and shows a text, once it is there."""
        wanted = f"e => e.innerText.includes({json.dumps(text)})"
        found = f"[...document.querySelectorAll({json.dumps(selector)})].find({wanted})"
        self.wait(f"!!{found}")
        self.js(f"{found}.click()")

    def type(self, selector: str, text: str) -> None:
        """Put text into a field, as by pasting it."""
        self.wait(f"!!document.querySelector({json.dumps(selector)})")
        self.js(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key."""
        code = _KEYS.get(key, ord(key[0].upper()))
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int) -> None:
        """Make the window so large."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Let the system prefer ``dark`` or ``light``."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """Write what is shown as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    @property
    def complaints(self) -> list[str]:
        """What the page logged as an error, or threw."""
        self.js("1")
        mine = [event for event in self._browser.events if event.get("sessionId") == self._session]
        thrown = [json.dumps(e["params"]["exceptionDetails"]) for e in mine if e["method"] == "Runtime.exceptionThrown"]
        logged = [e["params"]["entry"]["text"] for e in mine if e["method"] == "Log.entryAdded"]
        return thrown + logged

    def close(self) -> None:
        """Close it, and forget what it kept."""
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start a browser that ends with the block; raises `Missing` where it is not installed."""
    browser = Browser(folder)
    try:
        yield browser
    finally:
        browser.close()
