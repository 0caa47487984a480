"""Headless Chromium, started once, that prints pages of this machine as PDF and reaches no network.

It is spoken to through a pair of pipes (``--remote-debugging-pipe``): no port is opened that another user could connect
to. Its profile is a temporary folder that is removed with it.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from clinragen.errors import UserError

VARIABLE = "CLINRAGEN_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 120.0  # seconds for one answer: a page takes less than one, the start a few
_LONGEST_FOLDER = 40  # characters; the name of a socket, which Chromium makes below it, has at most 107
_FLAGS = (
    "--headless", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
    "--disable-sync", "--metrics-recording-only", "--no-default-browser-check",
    # names are not resolved, and what needs none, this machine included, goes to a proxy that does not exist
    "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>",
)  # fmt: skip
# Chromium reads commands from descriptor 3 and answers on 4: the shell moves the standard ones there
_MOVED = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
_PRINTING = {
    "printBackground": True,
    "preferCSSPageSize": True,
    "displayHeaderFooter": False,
    "generateTaggedPDF": True,
    "generateDocumentOutline": True,
}


def program() -> str:
    """The browser: the one that ``CLINRAGEN_CHROMIUM`` names, or the first on the path.

    Raises:
        UserError: there is none.
    """
    if named := os.environ.get(VARIABLE):
        if path := shutil.which(named):
            return path
        raise UserError(f"{VARIABLE}={named} is no program: name the Chromium to print with, or unset it")
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    raise UserError(
        f"--form pdf needs Chromium, and none of {', '.join(_NAMES)} is on PATH: install it, or name it in {VARIABLE}"
    )


class Browser:
    """A running browser with one page."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._commands: IO[bytes] = process.stdin
        self._answers: IO[bytes] = process.stdout
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._answers, selectors.EVENT_READ)
        self._unread = b""
        self._count = 0
        page = self._call("Target.createTarget", {"url": "about:blank"}, session=None)["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": page, "flatten": True}, session=None)
        self._session: str = attached["sessionId"]
        self._call("Page.enable", {}, self._session)

    def pdf(self, page: Path) -> bytes:
        """A file as PDF, by its print style.

        Raises:
            UserError: the browser ended, does not answer, or cannot open the file.
        """
        number = self._send("Page.navigate", {"url": page.resolve().as_uri()}, self._session)
        navigated: Mapping[str, Any] = {}
        loaded = False
        while not (navigated and loaded):
            message = self._next()
            navigated = _result(message) if message.get("id") == number else navigated
            loaded = loaded or message.get("method") == "Page.loadEventFired"
            if "errorText" in navigated:
                raise _trouble(str(navigated["errorText"]))
        return base64.b64decode(self._call("Page.printToPDF", _PRINTING, self._session)["data"])

    def _call(self, method: str, parameters: Mapping[str, Any], session: str | None) -> Mapping[str, Any]:
        number = self._send(method, parameters, session)
        while (message := self._next()).get("id") != number:
            pass  # events, which nothing waits for
        return _result(message)

    def _send(self, method: str, parameters: Mapping[str, Any], session: str | None) -> int:
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        with _ended():
            self._commands.write(json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
            self._commands.flush()
        return self._count

    def _next(self) -> Mapping[str, Any]:
        """The next message; they end with NUL."""
        until = time.monotonic() + _PATIENCE
        parts = [self._unread]
        while b"\0" not in parts[-1]:
            if not self._waiting.select(max(until - time.monotonic(), 0.0)):
                raise _trouble(f"it has not answered for {_PATIENCE:.0f} s")
            parts.append(os.read(self._answers.fileno(), 1 << 20))
            if not parts[-1]:
                raise _trouble("it ended")
        message, _, self._unread = b"".join(parts).partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that is ended, and whose profile is removed, whatever happens.

    Raises:
        UserError: there is none, or it does not start.
    """
    executable = program()
    usual = tempfile.gettempdir()
    short = usual if len(usual) < _LONGEST_FOLDER else "/tmp"
    with tempfile.TemporaryDirectory(prefix="clinragen-chromium-", dir=short, ignore_cleanup_errors=True) as profile:
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # which Chromium refuses to use as root
        command = ["/bin/sh", "-c", _MOVED, "sh", executable, *_FLAGS, *sandbox, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"TMPDIR": profile, "XDG_CONFIG_HOME": profile, "XDG_CACHE_HOME": profile},
            start_new_session=True,  # Ctrl-C ends this program, which ends the browser in order
        )
        try:
            yield Browser(process)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the browser: it ends when its pipe is closed; after five seconds it and its helpers are killed."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


@contextmanager
def _ended() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise _trouble("it ended") from None


def _result(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if "error" in message:
        raise _trouble(str(message["error"].get("message")))
    return message["result"]


def _trouble(why: str) -> UserError:
    return UserError(
        f"Chromium ({program()}) cannot print: {why}; try `{Path(program()).name} --headless --dump-dom about:blank`, "
        f"or name another one in {VARIABLE}"
    )
