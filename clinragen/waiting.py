"""Nothing takes long in silence: where a command prints nothing for some seconds, it says that it is still at work.

Commands announce their phases (``clinragen.quiet``) and show bars where they can count. This is for what lies between:
a thread looks when the process last wrote to standard output or error, and prints a line once that was long ago.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

SILENCE = 8.0  # seconds; a wait of ten is felt
LONGEST = 60.0  # between two lines in a file
#: set while the command waits for its user or for requests, and not they for it
_idle = threading.Event()


class _Watched:
    """A stream that remembers when something was last written; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.last = stream, time.monotonic()

    def write(self, text: str) -> int:
        self.last = time.monotonic()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def idle() -> Iterator[None]:
    """The body waits for the user, or for requests: its silence needs no word."""
    _idle.set()
    try:
        yield
    finally:
        _idle.clear()


@contextmanager
def no_silence(seconds: float = SILENCE) -> Iterator[None]:
    """While the body runs, print a line to standard error whenever nothing was printed for so long.

    The time between two such lines doubles, up to a minute, in files of batch jobs; on a terminal it stays the same.

    Args:
        seconds: of silence.
    """
    before, done = (sys.stdout, sys.stderr), threading.Event()
    streams = [_Watched(stream) for stream in before]
    sys.stdout, sys.stderr = streams  # type: ignore[assignment]
    thread = threading.Thread(target=_watch, args=(streams, before[1], seconds, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        sys.stdout, sys.stderr = before


def _watch(streams: list[_Watched], out: TextIO, seconds: float, done: threading.Event) -> None:
    """Print the lines, until the body is done or nobody reads them."""
    began, reported, pause = time.monotonic(), 0.0, seconds
    while not done.wait(seconds / 8):
        now, last = time.monotonic(), max(stream.last for stream in streams)
        if _idle.is_set():
            last = now
        if last > began:
            began, reported, pause = last, 0.0, seconds
        if now - max(began, reported) < pause:
            continue
        try:
            out.write(f"  still at work, {now - began:.0f} s after the last line\n")
            out.flush()
        except (OSError, ValueError):
            return
        reported = now
        if not out.isatty():
            pause = min(2 * pause, max(seconds, LONGEST))
