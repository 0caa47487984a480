"""The exception for user errors, and the wrapper that turns it into one line and exit code 2.

A message names the file, row or key, what was expected and what to do. It never quotes patient text.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import FrameType

EXIT_USER_ERROR = 2
EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
DEBUG = "CLINRAGEN_DEBUG"
#: import names of the packages of extra `train`; preparation needs none of them
TRAINING_PACKAGES = frozenset(
    [
        "lightning_fabric",
        "matplotlib",
        "pandas",
        "pytorch_lightning",
        "safetensors",
        "scipy",
        "sentencepiece",
        "sklearn",
        "tokenizers",
        "torch",
        "transformers",
    ]
)


class UserError(Exception):
    """An error that the user can fix. ``str(error)`` is the single line that is shown."""


def unknown_choice(what: str, given: object, choices: Iterable[str]) -> UserError:
    """An error that lists the valid choices, the nearest first.

    >>> str(unknown_choice("protocol", "admision", ["admission", "paper"]))
    "unknown protocol 'admision': did you mean 'admission'? Choose from: admission, paper"
    """
    names = sorted(choices)
    return UserError(f"unknown {what} '{given}'{near_name(str(given), names) or ':'} Choose from: {', '.join(names)}")


def near_name(given: str, names: Iterable[str]) -> str:
    """The end of an error that suggests the nearest name; empty if none is near.

    >>> near_name("--limt", ["--limit", "--split"])
    ": did you mean '--limit'?"
    """
    near = get_close_matches(given, sorted(names), n=1)
    return f": did you mean '{near[0]}'?" if near else ""


def missing_extra(what: str, extra: str) -> UserError:
    """An error for packages that are not installed.

    Args:
        what: the feature that needs them.
        extra: the extra of ``pyproject.toml`` that contains them. The package itself is on no registry, so the message
            names the path of a checkout.
    """
    return UserError(
        f"{what} needs packages that are not installed: in the checkout type make setup EXTRA={extra}, elsewhere "
        f"pip install 'PATH/TO/CHECKOUT[{extra}]'"
    )


def hint(text: str) -> None:
    """Print a note about a spelling that works until the next release, on standard error."""
    print(f"note: {text}; the old spelling works until the next release", file=sys.stderr)


def exit_code(command: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    """Run a console command and turn any error into an exit code and at most one line on standard error.

    Returns:
        0 on success; 2 for a user error; 70 for an internal error, whose details go into a private file; 130 after
        Ctrl-C, 143 after SIGTERM; 141 when the reader of the output closed it. Files that the command creates are
        readable by their owner only, since they may contain patient text.
    """
    os.umask(0o077)
    with _termination_as_interrupt() as terminated:
        try:
            _check_encoding(argv)
            return command(argv) or 0
        except UserError as error:
            return _refuse(" ".join(str(error).split()))
        except KeyboardInterrupt:
            _print("stopped")
            return EXIT_TERMINATED if terminated else EXIT_INTERRUPTED
        except BrokenPipeError:  # `clinragen ... | head`
            sys.stderr.close()
            return 141
        except OSError as error:  # full disk, read-only output, missing folder: user errors, no crash
            where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
            return _refuse(f"{error.strerror or type(error).__name__}{where}")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in TRAINING_PACKAGES:
                return _report_fault(error)
            return _refuse(str(missing_extra("this command", "train")))
        except MemoryError:
            return _refuse("memory ran out: close other programs, or take less at a time")
        except Exception as error:  # noqa: BLE001 (the last resort: no traceback, which may quote patient text)
            return _report_fault(error)


@contextmanager
def _termination_as_interrupt() -> Iterator[list[int]]:
    """Make SIGTERM and SIGHUP end a command like Ctrl-C, so that partial output is removed.

    They go to whoever handles Ctrl-C at that moment: while an event loop runs, that is the loop, which cancels its
    tasks in order. An exception raised in the middle of one of them would be printed as that task's own fault.

    Yields a list that contains the signal after one arrived.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield received
        return
    owner = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a worker process that inherited the handler: it only has to end
            os._exit(128 + number)
        received.append(number)
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # Ctrl-C is ignored, as in a job of the background
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_encoding(argv: Sequence[str]) -> None:
    for number, word in enumerate(argv, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            printable = word.encode(errors="backslashreplace").decode()
            raise UserError(f"argument {number} ('{printable}') is not UTF-8 text: rename the file or folder") from None


def _refuse(line: str) -> int:
    _print(f"error: {line}")
    return EXIT_USER_ERROR


def _print(line: str) -> None:
    print(line.encode(errors="backslashreplace").decode(), file=sys.stderr)


def _report_fault(error: Exception) -> int:
    """Write the traceback to a private file and print its path; ``CLINRAGEN_DEBUG=1`` prints it instead."""
    if os.environ.get(DEBUG) == "1":
        traceback.print_exception(error)
        return EXIT_FAULT
    text = "".join(traceback.format_exception(error))
    try:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "clinragen"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home folder, or not writable
        folder = Path(tempfile.mkdtemp(prefix="clinragen-"))
    handle, name = tempfile.mkstemp(prefix=time.strftime("fault-%Y%m%d-%H%M%S-"), suffix=".log", dir=folder)
    with open(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
        log.write(text)
    _print(
        f"error: a fault of the program ({type(error).__name__}), not of yours; the details, which may quote patient "
        f"text, are in {name} ({DEBUG}=1 shows them here)"
    )
    return EXIT_FAULT
