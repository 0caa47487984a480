"""A private file of lines that only grows, and holds whole lines whatever interrupts its writer."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import lock_descriptor

from clinragen.artifacts import PRIVATE_FILE, PRIVATE_FOLDER, flush
from clinragen.errors import UserError


class LineFile:
    """Reads and appends to a file of lines. A writable one holds a lock until it is closed, so it has one writer.

    The owner reads the file by its path, and then tells ``keep`` how much of it is sound.

    Args:
        path: the file. A writable one is made if it does not exist, and its folder with it; both are private.
        writable: whether lines are appended.
        option: the option that names another file; part of the error.

    Attributes:
        path: the file.
        handle: descriptor of the open file.
        size: bytes of the sound lines, after which the next is appended.

    Raises:
        UserError: another run writes here.
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, writable: bool, option: str = "--out") -> None:
        self.path = path
        new = not path.exists()
        if writable:
            path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND if writable else os.O_RDONLY
        self.handle = os.open(path, flags, PRIVATE_FILE)
        try:
            if writable:
                if not lock_descriptor(self.handle, blocking=False):
                    raise UserError(f"{path} is in use by another run: wait for it, or choose another {option}")
                os.fchmod(self.handle, PRIVATE_FILE)  # also for a file that was copied here
                if new:
                    flush(path.parent)  # otherwise a power failure may lose its name, and with it what was appended
            self.size = os.fstat(self.handle).st_size
        except BaseException:
            self.close()
            raise

    def keep(self, size: int) -> None:
        """Cut off what follows the first ``size`` bytes: the line that a killed run did not finish."""
        os.ftruncate(self.handle, size)
        self.size = size

    def append(self, lines: bytes) -> int:
        """Append whole lines; they are on the disk when this returns. Returns the offset of the first.

        Raises:
            OSError: the disk is full or unavailable; nothing of the lines is left in the file.
        """
        start, left = self.size, memoryview(lines)
        try:
            while left:
                left = left[os.write(self.handle, left) :]
            os.fsync(self.handle)
        except BaseException:
            self.keep(start)  # otherwise the next line would follow a partial one
            raise
        self.size += len(lines)
        return start

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file."""
        return os.pread(self.handle, length, offset)

    def close(self) -> None:
        """Close the file, which releases the lock."""
        os.close(self.handle)
