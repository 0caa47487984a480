"""Repair diagnosis codes that were damaged by a spreadsheet, a number column or a swapped version column.

ICD-9 codes are text: 0389 is septicemia, and a number column turns it into 389, hearing loss. A code is repaired if
only one original is possible; if two are possible with different labels, the table is refused. Every repair is
reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from clinragen.errors import UserError
from clinragen.icd import code_map, normalise
from clinragen.label_sets import Phenotype
from mimic_prep.labels import owners

_KEYS = ["code", "version"]
_NUMBER, _FRACTION = r"^\d+(\.\d+)?$", r"^\d+\.0$"
_LONGEST = {9: 5, 10: 7}  # most characters of a code
_CAUSE = re.compile(r"E(?:[89]\d\d|0[0-2]\d|030)\d?")
_MUCH_UNKNOWN = 0.1  # share of rows; unknown codes of real releases are far below


def repaired(
    diagnoses: pl.DataFrame, labels: Mapping[str, Phenotype], table: str, *, as_written: bool = False
) -> tuple[pl.DataFrame, list[str]]:
    """``diagnoses`` with repaired codes, in upper case without dot, and warnings about the repairs.

    Args:
        diagnoses: has code, version and possibly other columns.
        labels: the labels of the codes: two meanings with the same labels are accepted.
        table: its name in errors and warnings.
        as_written: if two codes are possible, take the one as written.

    Raises:
        UserError: two codes are possible, with different labels.
    """
    rows = diagnoses.drop_nulls("code").group_by(_KEYS).len().sort(_KEYS)
    if not rows.height:
        return diagnoses.with_columns(normalise(pl.col("code"))), []
    work = _Repair(rows, table)
    work.fractions()
    work.short_wholes()
    work.versions()
    work.zeros(labels, as_written)
    work.unknown()
    new = work.rows.select(*_KEYS, "new_code", "new_version")
    repaired_codes = diagnoses.join(new, on=_KEYS, how="left", maintain_order="left", nulls_equal=True)
    repaired_codes = repaired_codes.with_columns(code="new_code", version="new_version").select(diagnoses.columns)
    return repaired_codes, work.warnings


class _Repair:
    """The distinct codes of a table with ``new_code`` and ``new_version``, and how many rows (``len``) bear each."""

    def __init__(self, rows: pl.DataFrame, table: str) -> None:
        plain = pl.col("code").str.to_uppercase().str.replace_all(r"[^0-9A-Z.]", "").str.strip_chars(".")
        self.rows = rows.with_columns(new_code=plain, new_version=pl.col("version").cast(pl.Int64))
        self.table = table
        self.warnings: list[str] = []

    def _count(self, condition: pl.Expr) -> int:
        return int(self.rows.filter(condition)["len"].sum())

    def fractions(self) -> None:
        """A float column writes 4280.0 or 486.0: all numbers end in .0, which is no valid code for some of them."""
        code = pl.col("new_code")
        numbers = self.rows.filter(code.str.contains(_NUMBER))
        dotted = numbers.filter(code.str.contains(r"\."))
        all_zero = dotted.height and dotted.select(code.str.contains(_FRACTION).all()).item()
        if not all_zero or not any(map(_no_fraction, dotted["new_code"])):
            return
        count = self._count(code.str.contains(_FRACTION))
        self.rows = self.rows.with_columns(new_code=code.str.replace(r"^(\d+)\.0$", "$1"))
        self.warnings.append(f"{self.table}: {count:,} codes had become fractions (such as 4280.0) and were repaired")

    def short_wholes(self) -> None:
        """An ICD-9 code has three digits before the dot, so 38.9 was 038.9."""
        short = pl.col("new_code").str.contains(r"^\d{1,2}\.\d{1,2}$")
        if count := self._count(short):
            whole = pl.col("new_code").str.extract(r"^(\d+)\.", 1).str.zfill(3)
            decimals = pl.col("new_code").str.extract(r"\.(\d+)$", 1)
            padded = pl.when(short).then(pl.concat_str(whole, decimals)).otherwise("new_code")
            self.rows = self.rows.with_columns(new_code=padded)
            self._lost(count, "38.9 for 038.9")
        self.rows = self.rows.with_columns(new_code=pl.col("new_code").str.replace_all(".", "", literal=True))

    def _lost(self, count: int, such: str) -> None:
        self.warnings.append(
            f"{self.table}: {count:,} ICD-9 codes had lost their leading zeros (such as {such}) and were repaired"
        )

    def versions(self) -> None:
        """ICD-10 codes begin with a letter; ICD-9 codes with a digit, V or E. The maps decide about V and E."""
        code, version = pl.col("new_code"), pl.col("new_version")
        wrong = (code.str.contains(r"^\d{3,5}$") & (version == 10)) | (
            code.str.contains("^[A-DF-UW-Z]") & (version == 9)
        )
        right = (code.str.contains(r"^\d") & (version == 9)) | (code.str.contains("^[A-DF-UW-Z]") & (version == 10))
        swapped = bool(self._count(wrong)) and not self._count(right)  # the whole column
        either = self.rows.filter(code.str.contains("^[EV]")).select("new_code", "new_version").unique()
        versions = {row: _version_of(*row, swapped=swapped) for row in either.iter_rows()}
        meant = pl.DataFrame(
            [(code, version, new) for (code, version), new in versions.items()],
            schema={"new_code": pl.String, "new_version": pl.Int64, "meant": pl.Int64}, orient="row",
        )  # fmt: skip
        self.rows = self.rows.join(meant, on=["new_code", "new_version"], how="left", maintain_order="left")
        letter = pl.when(wrong).then(19 - version).otherwise(pl.coalesce("meant", "new_version"))
        self.rows = self.rows.with_columns(final=letter)
        if count := self._count(pl.col("final") != version):
            self.warnings.append(
                f"{self.table}: {count:,} codes stood under the other version of ICD (such as I50 under 9) and count "
                "under their own"
            )
        self.rows = self.rows.with_columns(new_version="final").drop("meant", "final")

    def zeros(self, labels: Mapping[str, Phenotype], as_written: bool) -> None:
        """Invalid codes that are valid with a leading zero, in a table where no code has a leading zero."""
        digits = self.rows.filter((pl.col("new_version") == 9) & pl.col("new_code").str.contains(r"^\d+$"))
        meanings = {code: _Meanings(code) for code in digits["new_code"].unique().sort()}
        keeps_zeros = any(code.startswith("0") for code in meanings)
        lost = {
            code: read for code, read in meanings.items() if read.impossible or (read.padded_only and not keeps_zeros)
        }
        if not lost:
            return
        if not keeps_zeros:
            lost |= {code: read for code, read in meanings.items() if read.known and read.padded}
        categories = not keeps_zeros and any(read.category for read in meanings.values())
        options = {code: read.options(categories) for code, read in lost.items()}
        unsure = sorted(code for code, possible in options.items() if not _same_labels(possible, labels))
        count = int(digits.filter(pl.col("new_code").is_in(unsure))["len"].sum())
        if unsure and not as_written:
            raise UserError(
                f"{self.table}: ICD-9 codes have lost their leading zeros, and {count:,} rows could mean two codes "
                f"({unsure[0]} may be {' or '.join(options[unsure[0]][:2])}): read and write the codes as text "
                "(pandas: dtype=str), or pass --set rules.ambiguous_codes=as_written"
            )
        new = {code: possible[0] if code not in unsure else code for code, possible in options.items()}
        changed = {code: meant for code, meant in new.items() if meant != code}
        self.rows = self.rows.with_columns(
            new_code=pl.when(pl.col("new_version") == 9)
            .then(pl.col("new_code").replace(changed))
            .otherwise(pl.col("new_code"))
        )
        if changed:
            first = min(changed, key=lambda code: (len(meanings[code].padded), code))
            self._lost(int(digits.filter(pl.col("new_code").is_in(list(changed)))["len"].sum()),
                       f"{first} for {changed[first]}")  # fmt: skip
        if unsure:
            self.warnings.append(
                f"{self.table}: {count:,} rows with codes that may have lost a leading zero (such as {unsure[0]}) "
                "count as written"
            )

    def unknown(self) -> None:
        """Codes of another coding system."""
        pairs = self.rows.select("new_code", "new_version").unique().iter_rows()
        recognised = {(code, version) for code, version in pairs if _knows(code, version) or _is_cause(code, version)}
        rows = self.rows.select("new_code", "new_version", "len").iter_rows()
        unknown = sum(count for code, version, count in rows if (code, version) not in recognised)
        total = int(self.rows["len"].sum())
        if unknown > _MUCH_UNKNOWN * total:
            self.warnings.append(
                f"{self.table}: {unknown:,} of {total:,} codes are neither ICD-9 nor ICD-10 codes that are known: "
                "they give no label"
            )


def _no_fraction(code: str) -> bool:
    """Whether ddd.0 is no code nor a prefix of one: 486, for example, has no subdivision."""
    mapping = code_map(9)
    assert mapping is not None  # shipped
    return len(code) > 5 or (len(code) == 5 and not mapping.begins(code.replace(".", "")))


def _knows(code: str, version: int | None) -> bool:
    """Whether the map has the code, or codes that it begins with or that begin with it."""
    mapping = code_map(version or 0)
    return mapping is not None and len(code) <= _LONGEST[version or 0] and mapping.has_any(code)


def _exists(code: str, version: int) -> bool:
    """Whether it is a code of that version. The map of ICD-9 lacks external causes, which are recognised by form."""
    mapping = code_map(version)
    assert mapping is not None  # shipped
    return _is_cause(code, version) or mapping.has(code) or mapping.name(code) is not None


def _is_cause(code: str, version: int | None) -> bool:
    return version == 9 and _CAUSE.fullmatch(code) is not None


def _version_of(code: str, version: int | None, *, swapped: bool) -> int | None:
    """The version of a code that begins with V or E: the other one if only that has it, or if all codes have it."""
    if version not in (9, 10):
        return version
    here, there = _exists(code, version), _exists(code, 19 - version)
    return 19 - version if there and (swapped or not here) else version


def _same_labels(codes: list[str], labels: Mapping[str, Phenotype]) -> bool:
    pairs = pl.DataFrame({"code": codes, "version": [9] * len(codes)})
    given = owners(pairs, labels)
    return len({tuple(sorted(given.filter(pl.col("code") == code)["label"])) for code in codes}) == 1


class _Meanings:
    """Possible meanings of a digit string: a code as written, a category of codes, or a code that lost its zeros."""

    def __init__(self, code: str) -> None:
        mapping = code_map(9)
        assert mapping is not None  # shipped
        self.code = code
        self.impossible = len(code) < 3
        self.known = mapping.has(code)
        padded = [code.zfill(length) for length in range(len(code) + 1, 6) if length >= 3]
        self.padded = [other for other in padded if mapping.has(other)]
        is_group = not self.known and not self.impossible and mapping.has_any(code)
        self.padded_only = not self.known and bool(self.padded)
        self.category = is_group and not self.padded

    def options(self, categories: bool) -> list[str]:
        """The possible codes, most likely first; includes itself if categories are used as codes."""
        itself = [self.code] if self.known or (categories and not self.impossible) else []
        return [*itself, *self.padded] or [self.code]
