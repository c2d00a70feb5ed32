"""Headless Chromium over its DevTools protocol on a pipe: no driver, no port, no other package."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic",
         "--remote-debugging-pipe", "--hide-scrollbars", "--disable-dev-shm-usage")  # fmt: skip
PATIENCE = 60.0


class Page:
    """One tab. `events` collects everything that the browser says unasked."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._heard = select.poll()  # `select` itself knows only the first 1024 files of a process
        self._heard.register(from_browser, select.POLLIN)
        self._number, self._left = 0, b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = ""
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if getattr(self, "_session", ""):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._left:
            if not self._heard.poll(1000 * max(0.0, end - time.monotonic())):
                raise TimeoutError("Chromium does not answer")
            self._left += os.read(self._from, 1 << 20)
        line, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(line))

    def open(self, url: str) -> None:
        """Up to its load event: before that, the tab may still answer for the page that was there."""
        since = len(self.events)
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events[since:]):
            self.events.append(self._next())

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True,
                          userGesture=True)  # fmt: skip
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        codes = {"Enter": 13, "Tab": 9}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=codes[key], **(text if kind == "keyDown" else {}))  # fmt: skip

    def size(self, width: int, height: int, dark: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def shot(self, path: Path, whole: bool = False) -> None:
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    @property
    def requests(self) -> list[str]:
        """Everything that was fetched, other than what the page itself carries."""
        urls = [
            e["params"]["request"]["url"]
            for e in self.events
            if e.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]

    @property
    def complaints(self) -> list[str]:
        """Errors of scripts, of the console, of the security policy, and failed requests."""
        bad = {"Runtime.exceptionThrown", "Network.loadingFailed", "Log.entryAdded"}
        spoken = [e for e in self.events if e.get("method") == "Runtime.consoleAPICalled"]
        found = [e for e in self.events if e.get("method") in bad]
        found += [e for e in spoken if e["params"]["type"] in ("error", "warning")]
        return [json.dumps(e["params"])[:300] for e in found]


@contextmanager
def browser() -> Iterator[Page]:
    """A fresh browser with a profile of its own; its process ends with the block."""
    assert CHROMIUM
    inward, to_browser = os.pipe()
    from_browser, outward = os.pipe()

    def wire() -> None:
        os.dup2(inward, 3)
        os.dup2(outward, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
            preexec_fn=wire, pass_fds=(3, 4, inward, outward),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(inward)
        os.close(outward)
        try:
            yield Page(to_browser, from_browser)
        finally:
            process.terminate()
            process.wait(PATIENCE)
            os.close(to_browser)
            os.close(from_browser)
