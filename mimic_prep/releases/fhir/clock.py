"""Times of FHIR as wall clock: ``dateTime`` and ``instant``, with offsets, fractions and missing parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl

from clinragen.errors import UserError

WRITTEN = "written"
PARTIAL = "time without an hour"
UNREADABLE = "time that cannot be read"
_TIME = re.compile(
    r"\s*(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([Zz]|[+-]\d{2}:?\d{2})?\s*"
)
_DATE = re.compile(r"\s*(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?\s*")
#: where the usual form has which marks, digits, and digits of the offset
_MARKS, _MARK = [4, 7, 10, 13, 16], np.frombuffer(b"--T::", np.uint8)
_DIGITS, _OFFSET, _ZERO = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18], [20, 21, 23, 24], np.uint8(ord("0"))
_EPOCH = datetime(1970, 1, 1)
_SECOND, _QUARTER = timedelta(seconds=1), 900  # seconds


class Clock:
    """Reads times as the clock of one site.

    Attributes:
        offsets: how often each offset from UTC was read, in minutes; None for times without one.
    """

    def __init__(self, zone: str) -> None:
        """With the name of a time zone, or ``written`` for the clock that each time states.

        Raises:
            UserError: no such time zone.
        """
        self._zone: ZoneInfo | None = None
        self.offsets: Counter[int | None] = Counter()
        if zone not in (WRITTEN, "default"):
            try:
                self._zone = ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise UserError(
                    f"--zone {zone}: no such time zone; expected a name such as America/New_York, or {WRITTEN}"
                ) from None

    def read(self, text: object) -> tuple[datetime | None, str | None]:
        """The clock time, and why there is none; both None for an absent value."""
        return self._read(text, 1)

    def _read(self, text: object, rows: int) -> tuple[datetime | None, str | None]:
        if text is None:
            return None, None
        match = _TIME.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            return None, PARTIAL if isinstance(text, str) and _DATE.fullmatch(text) else UNREADABLE
        year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
        try:
            moment = datetime(year, month, day) + _of_day(hour, minute, int(match[6] or 0))
            offset = _minutes(match[8])
            moment = self._here(moment, offset)
        except (ValueError, OverflowError):
            return None, UNREADABLE
        self.offsets[offset] += rows
        return moment, None

    def day(self, text: object) -> date | None:
        """The day of a date or time; the middle of a year or the first of a month, if no more is stated."""
        match = _DATE.match(text) if isinstance(text, str) else None
        if match is None:
            return None
        try:
            return date(int(match[1]), int(match[2] or 7), int(match[3] or 1))
        except ValueError:
            return None

    def _here(self, moment: datetime, offset: int | None) -> datetime:
        if self._zone is None or offset is None:
            return moment
        return (moment - timedelta(minutes=offset)).replace(tzinfo=UTC).astimezone(self._zone).replace(tzinfo=None)

    def column(self, texts: Sequence[object], counts: Sequence[int]) -> tuple[pl.Series, pl.Series]:
        """Clock times of many texts in whole milliseconds, and why there is none.

        Args:
            texts: what is stated.
            counts: rows that state each.
        """
        instant, minutes, usual = _usual(texts)
        times = pl.Series(instant).cast(pl.Datetime("ms"))
        for offset in np.unique(minutes[usual]).tolist():
            self.offsets[offset] += int(np.asarray(counts)[usual & (minutes == offset)].sum())
        odd = np.flatnonzero(~usual).tolist()
        if self._zone is not None:
            times = self._brought_here(times, pl.Series(minutes).scatter(odd, None))
        problems = pl.Series([None], dtype=pl.String).new_from_index(0, len(texts))
        if not odd:
            return times, problems
        read = [self._read(texts[row] if isinstance(texts[row], str) else None, counts[row]) for row in odd]
        times = times.scatter(odd, pl.Series([time for time, _ in read], dtype=pl.Datetime("ms")))
        return times, problems.scatter(odd, pl.Series([why for _, why in read], dtype=pl.String))

    def _brought_here(self, times: pl.Series, stated: pl.Series) -> pl.Series:
        """Times with an offset on the clock of the zone; a quarter of an hour has one offset.

        Not by polars, which knows of no summer time from 2038 on, where shifted times lie.
        """
        instants = times.dt.epoch("s") - stated * 60
        quarters = (instants // _QUARTER).unique().drop_nulls()
        here = [self._offset(quarter * _QUARTER) for quarter in quarters]
        shift = (instants // _QUARTER).replace_strict(quarters, here, default=None, return_dtype=pl.Int64)
        local = pl.from_epoch(instants + shift, time_unit="s").cast(pl.Datetime("ms"))
        return local.fill_null(times)

    def _offset(self, instant: int) -> int:
        """Seconds from UTC at an instant, in seconds since 1970."""
        moment = (_EPOCH + timedelta(seconds=instant)).replace(tzinfo=UTC).astimezone(self._zone)
        return (moment.utcoffset() or timedelta()) // _SECOND

    def check(self, origin: object) -> None:
        """Refuse times of different zones that would be mixed.

        Raises:
            UserError: the offsets lie further apart than summer time, and no zone was given.
        """
        check_offsets(self.offsets, self._zone is not None, origin)


def check_offsets(offsets: Counter[int | None], zoned: bool, origin: object) -> None:
    """See ``Clock.check``.

    Args:
        offsets: how often each was read, in minutes.
        zoned: whether times were brought to one zone.
        origin: what errors name.
    """
    stated = sorted(offset for offset in offsets if offset is not None and offsets[offset])
    if not zoned and stated and stated[-1] - stated[0] > 60:
        shown = ", ".join(_shown(offset) for offset in stated[:6])
        raise UserError(
            f"{origin}: its times carry different offsets ({shown}): say which clock the hospital goes by, such as "
            "--zone America/New_York"
        )


def only_utc(offsets: Counter[int | None]) -> bool:
    """Whether all times with an offset are in UTC, which few hospitals go by."""
    return [offset for offset in offsets if offset is not None and offsets[offset]] == [0]


def _usual(texts: Sequence[object]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times of the usual form, such as 2030-01-05T12:00:00Z or 2030-01-05T12:00:00-05:00.

    Returns:
        Milliseconds since 1970 on the clock that each time states, minutes of its offset, and whether a text is such a
        time.
    """
    in_form = [text if isinstance(text, str) and len(text) in (20, 25) and text.isascii() else "" for text in texts]
    content = np.frombuffer("".join([text.ljust(25) for text in in_form]).encode(), np.uint8)
    letters = content.reshape(len(texts), 25).T.copy()  # a row for each place in the texts
    digits = letters - _ZERO  # others than digits become larger than 9
    usual = (letters[_MARKS] == _MARK[:, None]).all(axis=0) & (digits[_DIGITS] <= 9).all(axis=0)
    zulu, ahead, behind = (letters[19] == ord(sign) for sign in "Z+-")
    stated = (ahead | behind) & (digits[_OFFSET] <= 9).all(axis=0) & (letters[22] == ord(":"))
    usual &= (zulu & (letters[20] == ord(" "))) | stated
    digits = digits.astype(np.int32)
    year = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3]
    month, day, hour, minute, second, east, more = (
        digits[at] * 10 + digits[at + 1] for at in (5, 8, 11, 14, 17, 20, 23)
    )
    first = ((year - 1970) * np.int64(12) + month - 1).astype("datetime64[M]")
    begin, end = (moment.astype("datetime64[D]").astype(np.int64) for moment in (first, first + 1))
    usual &= (year > 0) & (month > 0) & (month <= 12) & (day > 0) & (day <= end - begin)
    usual &= (hour < 24) & (minute < 60) & (second < 60)
    instant = (((begin + day - 1) * 24 + hour) * 60 + minute) * 60 + second
    minutes = np.where(zulu, 0, np.where(behind, -1, 1) * (east * 60 + more))
    return np.where(usual, instant * 1000, 0), minutes, usual


def version_of(text: object) -> int:
    """Microseconds since 1970 of ``meta.lastUpdated``; -1 if it is absent or cannot be read."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return -1
    try:
        moment = datetime.fromisoformat(f"{match[1]}-{match[2]}-{match[3]}")
        moment += _of_day(int(match[4]), int(match[5]), int(match[6] or 0)) - timedelta(minutes=_minutes(match[8]) or 0)
        fraction = int((match[7] or "0")[:6].ljust(6, "0"))
        return (moment - _EPOCH) // timedelta(microseconds=1) + fraction
    except (ValueError, OverflowError):
        return -1


def _of_day(hour: int, minute: int, second: int) -> timedelta:
    """A time of day; 24:00 and a leap second are the next minute.

    Raises:
        ValueError: there is no such time.
    """
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second)):
        raise ValueError
    return timedelta(hours=hour, minutes=minute, seconds=second)


def _minutes(offset: str | None) -> int | None:
    """
    >>> _minutes("-05:00"), _minutes("Z"), _minutes("+0530")
    (-300, 0, 330)
    """
    if not offset:
        return None
    if offset in "Zz":
        return 0
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return -minutes if offset[0] == "-" else minutes


def _shown(offset: int) -> str:
    return "Z" if offset == 0 else f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
