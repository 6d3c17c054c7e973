"""Headless Chromium as a user has it: real clicks, keys, files and drops, at any width.

with browser() as open_page:
    page = open_page("http://127.0.0.1:8900/demo", width=390, dark=True)
    page.click("#try")
    page.wait("!document.getElementById('result').hidden")

It is driven by Chromium's own protocol over two pipes, so no package is needed. What a test runs in
the page (`evaluate`) is not bound by the page's content policy; what the page runs is.
"""

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
from typing import Any, Protocol

CHROMIUM = shutil.which("chromium")
_SECONDS = 90.0


class Opens(Protocol):
    """Opens a page of that width, in a light or a dark scheme."""

    def __call__(self, url: str, *, width: int = 1280, dark: bool = False) -> "Page": ...


class _Pipe:
    """The protocol: a JSON text for each message, with a NUL behind it."""

    def __init__(self, process: "subprocess.Popen[bytes]", reads: int, writes: int) -> None:
        self._process = process
        self._reads = reads
        self._writes = writes
        self._rest = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method, and wait for its result."""
        self._last += 1
        call = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            call["sessionId"] = session
        os.write(self._writes, json.dumps(call).encode() + b"\0")
        deadline = time.monotonic() + _SECONDS
        while True:
            message = self._next(deadline, method)
            if message.get("id") == self._last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def _next(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._reads], [], [], left)[0]:
                raise TimeoutError(f"Chromium does not answer to {method}")
            piece = os.read(self._reads, 1 << 20)
            if not piece:
                raise RuntimeError(f"Chromium ended ({self._process.poll()})")
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


class Page:
    """A page in a tab."""

    def __init__(self, pipe: _Pipe, session: str) -> None:
        self._pipe = pipe
        self._session = session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of Chromium's protocol for this page."""
        return self._pipe.send(method, self._session, **parameters)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script[:200]}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + _SECONDS
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise TimeoutError(condition)
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """The text of an element, as it is seen."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def middle(self, selector: str) -> tuple[float, float]:
        """The place of an element on the screen, scrolled to if need be."""
        x, y = self.evaluate(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = found.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return x, y

    def press(self, key: str) -> None:
        """Press a key (`Tab`, `Enter`, `ArrowDown`, `j`)."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        codes |= {"ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40}
        # A letter or a sign types itself.
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        shared = {
            "key": key,
            "code": key,
            "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper())),
        }
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self.send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def type(self, text: str) -> None:
        """Type into what has the focus, in the place of what is there."""
        self.evaluate("document.activeElement.select()")
        self.send("Input.insertText", text=text)

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file in an input."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def drop(self, selector: str, file: Path) -> None:
        """Drop a file on an element."""
        x, y = self.middle(selector)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def screenshot(self, file: Path) -> None:
        """The whole page as a PNG, to look at."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    @property
    def complaints(self) -> list[str]:
        """What Chromium wrote into the console: errors, and what the content policy stopped."""
        return [
            json.dumps(event["params"])
            for event in self._pipe.events
            if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")
            and event.get("sessionId") == self._session
        ]


@contextmanager
def browser() -> Iterator[Opens]:
    """Start Chromium until the block ends; yields what opens a page."""
    assert CHROMIUM is not None
    # Chromium reads its calls from descriptor 3, and writes to descriptor 4.
    calls, writes = os.pipe()
    reads, answers = os.pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        options = f"--headless --no-sandbox --disable-gpu --user-data-dir={folder}"
        script = f'exec "{CHROMIUM}" {options} --remote-debugging-pipe 3<&{calls} 4>&{answers}'
        process = subprocess.Popen(
            ["bash", "-c", script],
            pass_fds=(calls, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(calls)
        os.close(answers)
        pipe = _Pipe(process, reads, writes)

        def open_page(url: str, *, width: int = 1280, dark: bool = False) -> Page:
            target = pipe.send("Target.createTarget", url="about:blank")["targetId"]
            attached = pipe.send("Target.attachToTarget", targetId=target, flatten=True)
            page = Page(pipe, attached["sessionId"])
            for domain in ("Page", "Runtime", "Log", "DOM"):
                page.send(f"{domain}.enable")
            page.send(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=900,
                deviceScaleFactor=1,
                mobile=width < 700,
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            page.send("Emulation.setEmulatedMedia", features=[scheme])
            page.send("Page.navigate", url=url)
            # A page may put what it shows behind a # of its own.
            place = json.dumps(url.partition("#")[0])
            there = f"location.href.split('#')[0] === {place}"
            page.wait(f"{there} && document.readyState === 'complete'")
            return page

        try:
            yield open_page
        finally:
            process.terminate()
            process.wait(30)
            os.close(reads)
            os.close(writes)
