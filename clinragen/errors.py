"""The one exception a user's mistake raises, and the wrapper that turns it into one line and exit code 2.

A message names the file, row or key, what was expected and what to do. It never quotes patient text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

EXIT_USER_ERROR = 2


class UserError(Exception):
    """Something the user can mend. ``str(error)`` is the single line that is shown."""


def unknown_choice(what: str, given: object, choices: Iterable[str]) -> UserError:
    """An error that lists the valid choices, the nearest first.

    >>> str(unknown_choice("protocol", "admision", ["admission", "paper"]))
    "unknown protocol 'admision': did you mean 'admission'? Choose from: admission, paper"
    """
    names = sorted(choices)
    near = get_close_matches(str(given), names, n=1)
    hint = f" did you mean '{near[0]}'?" if near else ""
    return UserError(f"unknown {what} '{given}':{hint} Choose from: {', '.join(names)}".replace(":  ", ": "))


def exit_code(command: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    """Run a console command: 0 on success, 2 and one line on standard error for a user's mistake, 130 for Ctrl-C."""
    try:
        return command(argv) or 0
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `clinragen ... | head`
        sys.stderr.close()
        return 141
    except OSError as error:  # full disk, read-only output, vanished folder: the user's to mend, not a crash
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or type(error).__name__}{where}", file=sys.stderr)
        return EXIT_USER_ERROR
