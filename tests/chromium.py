"""How does a test drive a real browser? The DevTools protocol over two pipes: no driver, no port, no dependency."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

PATH = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
SECONDS = 240.0  # of one command: the machine may be doing other things


class Browser:
    """One headless Chromium with a profile of its own; a context manager, so that no process stays behind."""

    def __init__(self, profile: Path) -> None:
        """Start it; it reads commands from descriptor 3 and writes answers to 4."""
        assert PATH is not None
        pipes = [*os.pipe(), *os.pipe()]
        reads, self._out, self._in, writes = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in pipes)
        for end in pipes:  # moved up, out of the way of 3 and 4
            os.close(end)
        command = f'exec 3<&{reads} 4>&{writes} {reads}<&- {writes}>&-; exec "$0" "$@"'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, PATH, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--no-first-run", "--disable-ipc-flooding-protection",  # else it follows 200 links and no more
             "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(reads, writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self._numbers, self._buffer = itertools.count(1), b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        """The browser itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it and wait for it."""
        try:
            self.send("Browser.close")
        except (OSError, TimeoutError, RuntimeError):
            self._process.kill()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def send(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """The answer to one command; events that come meanwhile are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            found = self._next(until)
            if found.get("id") != number:
                self.events.append(found)
            elif "error" in found:
                raise RuntimeError(f"{method}: {found['error']}")
            else:
                return found["result"]  # type: ignore[no-any-return]
        raise TimeoutError(method)

    def hear(self) -> None:
        """Wait for one more event."""
        self.events.append(self._next(time.monotonic() + SECONDS))

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise TimeoutError("Chromium says nothing")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def open(self, address: str, width: int, height: int = 900, *, dark: bool = False) -> Tab:
        """A tab of that size with the page at ``address``, loaded."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session, target)
        tab.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.send("Emulation.setEmulatedMedia", features=[scheme])
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.send(f"{domain}.enable")
        tab.go(address)
        return tab


class Tab:
    """One page in the browser."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        """Belongs to ``browser``."""
        self.browser, self.session, self.target = browser, session, target

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command of this tab."""
        return self.browser.send(method, self.session, **params)

    def go(self, address: str) -> None:
        """Show the page at ``address`` and wait until it is loaded."""
        loaded = len(self.events("Page.loadEventFired"))
        self.send("Page.navigate", url=address)
        while len(self.events("Page.loadEventFired")) == loaded:
            self.browser.hear()

    def run(self, script: str) -> Any:
        """The JSON value of ``script``, or of its promise."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def events(self, method: str) -> list[dict[str, Any]]:
        """What of one kind has come for this tab."""
        return [
            event["params"]
            for event in self.browser.events
            if event.get("method") == method and event.get("sessionId") == self.session
        ]

    def picture(self, path: Path, *, full: bool = True) -> None:
        """A PNG of the page."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        """The page as it prints on A4."""
        found = self.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        return base64.b64decode(found["data"])

    def close(self) -> None:
        """Close the tab."""
        self.browser.send("Target.closeTarget", targetId=self.target)
