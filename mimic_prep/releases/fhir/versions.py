"""The newest version of each resource: what to leave out of the parts of an export, and the account of every row.

A resource may be in an export several times, in one file or many. The newest ``meta.lastUpdated`` counts; among equal
ones the content decides, so that neither names nor order of files matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.artifacts import read_json
from clinragen.catalog import variables
from mimic_prep.accounting import Ledger, RowFilter
from mimic_prep.releases.fhir.columns import as_arrow, as_numpy, has_text
from mimic_prep.releases.fhir.convert import ACCOUNT, LINE, OBSERVATIONS
from mimic_prep.releases.fhir.numbers import entries_of
from mimic_prep.releases.fhir.observations import ROWS
from mimic_prep.releases.fhir.resources import SCHEMAS
from mimic_prep.releases.fhir.vocabulary import ODD_UNIT

ENTRIES_AT_ONCE = 1 << 22  # observations whose versions are compared at once
OLDER, REPEATED, DELETED = "older version of a resource", "repeated resource", "deleted, as the export says"
_ROWS_AT_ONCE = 1 << 17
_MOST_LINES = 1_000_000  # quarantined lines of a file that are listed


class Parts:
    """The parts of an export, and the account of their rows by file.

    Args:
        of_file: name of a file -> its part.
    """

    def __init__(self, of_file: Mapping[str, Path]) -> None:
        self.names = list(of_file)
        self._folders = list(of_file.values())
        self.accounts = [read_json(folder / ACCOUNT, "the account of a file") for folder in self._folders]
        self._skipped: list[Counter[str]] = [Counter(account["not_read"]) for account in self.accounts]
        self._bad: list[dict[str, list[int]]] = [dict(account["bad"]) for account in self.accounts]
        self._deleted = self._all("Deleted").group_by("key").agg(deleted=pl.col("version").max())

    def _all(self, table: str) -> pl.DataFrame:
        frames = [pl.DataFrame(schema={**SCHEMAS[table], "file": pl.Int32})]
        for number, folder in enumerate(self._folders):
            if (path := folder / f"{table}.parquet").exists():
                frames.append(pl.read_parquet(path).with_columns(file=pl.lit(number, dtype=pl.Int32)))
        return pl.concat(frames)

    def table(self, table: str, *, counted: bool = True) -> pl.DataFrame:
        """The usable rows of a table, newest versions only, sorted by key; the others enter the account.

        Args:
            table: a key of ``resources.SCHEMAS``.
            counted: whether they do; not where another table counts the same resources.
        """
        rows = self._all(table).join(self._deleted, on="key", how="left", maintain_order="left")
        content = [name for name in SCHEMAS[table] if name != "line"]
        rows = rows.with_columns(content=pl.struct(content).hash(seed=0)).sort(
            "key", "version", "content", "file", "line"
        )
        last = pl.col("version") == pl.col("version").last().over("key")
        same = last & (pl.col("content") == pl.col("content").last().over("key"))
        newest = pl.int_range(pl.len()).over("key") == pl.len().over("key") - 1
        why = pl.when(_is_deleted()).then(pl.lit(DELETED)).when(~newest & same).then(pl.lit(REPEATED))
        why = why.when(~newest).then(pl.lit(OLDER)).otherwise("skip")
        rows = rows.with_columns(skip=why)
        if not counted:
            rows = rows.filter(pl.col("skip").is_null() & pl.col("bad").is_null())
        for file, skip, count in rows.drop_nulls("skip").group_by("file", "skip").len().iter_rows():
            self._skipped[file][skip] += count
        rows = rows.filter(pl.col("skip").is_null())
        for file, bad, lines in rows.drop_nulls("bad").group_by("file", "bad").agg("line").iter_rows():
            self._bad[file].setdefault(bad, []).extend(lines[:_MOST_LINES])
        return rows.filter(pl.col("bad").is_null()).drop("skip", "bad", "content", "deleted")

    def table_again(self, table: str) -> pl.DataFrame:
        """All rows of a table, without entering the account again."""
        return self._all(table)

    def skip(self, rows: pl.DataFrame, why: str) -> None:
        """Enter rows that are out of scope into the account, by their file; several of one line count once."""
        if rows.height:
            for file, count in rows.unique(["file", "line"]).group_by("file").len().iter_rows():
                self._skipped[file][why] += count

    def reject(self, rows: pl.DataFrame, why: str) -> None:
        """Quarantine rows."""
        if rows.height:
            for file, lines in rows.group_by("file").agg(pl.col("line").unique()).iter_rows():
                self._bad[file].setdefault(why, []).extend(lines)

    def odd_units(self) -> Counter[tuple[str, str]]:
        """Rows by variable and unit, of units that cannot be converted."""
        keys = {item: key for key, one in variables().items() for item in one.items["loinc"]["observations"]}
        counts: Counter[tuple[str, str]] = Counter()
        for folder in self._folders:
            if (path := folder / OBSERVATIONS).exists():
                odd = pl.scan_parquet(path).filter(pl.col("bad") == ODD_UNIT).group_by("item", "unit").len().collect()
                for item, unit, rows in odd.iter_rows():
                    counts[keys.get(item, ""), unit or ""] += rows
        return counts

    def aliases(self) -> dict[str, str]:
        """Other names of resources -> their keys; a name of two resources means none."""
        rows = self._all("Alias").group_by("key").agg(pl.col("target").unique())
        targets = {key: target[0] for key, target in rows.iter_rows() if len(target) == 1 and target[0] != key}
        resolved = {}
        for key, target in targets.items():
            seen = {key}
            while target in targets and target not in seen:  # a merged patient may have been merged again
                seen.add(target)
                target = targets[target]
            resolved[key] = target
        return resolved

    def observations(self, batch: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The usable rows of the newest Observations, some at a time; the others enter the account.

        Yields:
            Number of the file, and columns of ``observations.ROWS``, with texts as dictionaries.
        """
        left_out = self._left_out()
        for number, path in self._of_observations():
            mine = left_out.filter(pl.col("file") == number).select("line", "why")
            for rows in _batches(path, batch):
                left = has_text(rows["skip"]) | has_text(rows["bad"])
                if mine.height:
                    left |= np.isin(as_numpy(rows["line"]), mine["line"].to_numpy())
                if not left.any():
                    yield number, rows
                    continue
                others = cast(pl.DataFrame, pl.from_arrow(rows.select(["line", "skip", "bad"]).filter(as_arrow(left))))
                others = others.with_columns(pl.col("skip", "bad").cast(pl.String))
                others = others.join(mine, on="line", how="left", maintain_order="left")
                usable = rows.filter(as_arrow(~left))
                self._enter(number, others.with_columns(skip=pl.coalesce("why", "skip")), as_numpy(usable["line"]))
                yield number, usable

    def _of_observations(self) -> list[tuple[int, Path]]:
        """Number of each file with Observations, and their rows."""
        paths = [folder / OBSERVATIONS for folder in self._folders]
        return [(number, path) for number, path in enumerate(paths) if path.exists()]

    def _enter(self, number: int, others: pl.DataFrame, usable: np.ndarray) -> None:
        """Enter the lines of rows into the account that have no usable row; several rows of a line count once."""
        others = others.unique("line", keep="first", maintain_order=True)
        others = others.filter(pl.Series(~np.isin(others["line"].to_numpy(), usable)))
        for why, count in others["skip"].drop_nulls().value_counts().iter_rows():
            self._skipped[number][why] += count
        for why, lines in others.filter(pl.col("skip").is_null()).group_by("bad").agg("line").iter_rows():
            self._bad[number].setdefault(why, []).extend(lines)

    def _left_out(self) -> pl.DataFrame:
        """file, line, why of Observations that are not the newest version of theirs, or deleted."""
        paths = self._of_observations()
        deleted = self._deleted.filter(pl.col("key").str.starts_with("Observation/"))
        deleted = deleted.select(
            entry=entries_of(deleted["key"].str.slice(len("Observation/")).to_list()), deleted="deleted"
        )
        frames = [pl.DataFrame(schema={"file": pl.Int32, "line": pl.Int64, "why": pl.String})]
        pieces = 1 << (sum(pq.read_metadata(path).num_rows for _, path in paths) // ENTRIES_AT_ONCE).bit_length()
        for piece in range(pieces) if paths else ():
            entries = np.concatenate([_entries(path, piece, pieces) for _, path in paths])
            entries.sort()
            several = np.unique(entries[1:][entries[1:] == entries[:-1]])
            doubtful = pl.concat([pl.Series(several), deleted["entry"]]).implode()
            if not len(doubtful[0]):
                continue
            scans = [pl.scan_parquet(path).with_columns(file=pl.lit(number, dtype=pl.Int32)) for number, path in paths]
            mine = (pl.col("entry") % pieces == piece) & pl.col("entry").is_in(doubtful)
            frames.append(_not_newest(pl.concat([scan.filter(mine) for scan in scans]).collect(), deleted))
        return pl.concat(frames)

    def ledger(self, more: Mapping[str, Counter[str]] | None = None) -> Ledger:
        """The account of every file."""
        ledger = Ledger()
        for number, name in enumerate(self.names):
            account = self.accounts[number]
            lines = {why: np.sort(np.array(at, dtype=np.int64) & LINE) for why, at in sorted(self._bad[number].items())}
            bad, skipped = sum(map(len, lines.values())), sum(self._skipped[number].values())
            usable_rows = account["read"] - bad - skipped
            rows = RowFilter(pl.DataFrame({"line": np.zeros(max(usable_rows, 0), dtype=np.int8)}), read=account["read"])
            rows.out_of_scope = +self._skipped[number]
            rows.quarantined = list(lines.items())
            rows.remarks = Counter(account["remarks"])
            ledger.add(name, rows)
        return ledger

    def unmapped(self) -> Counter[tuple[str, str, str]]:
        """Rows by system, code and display, of codes without a meaning."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for account in self.accounts:
            for system, code, display, rows in account["unmapped"]:
                counts[system, code, display] += rows
        return counts

    def offsets(self) -> Counter[int | None]:
        """How often each offset from UTC was read, in minutes."""
        counts: Counter[int | None] = Counter()
        for account in self.accounts:
            counts.update(dict(account["offsets"]))
        return counts


def _is_deleted() -> pl.Expr:
    dated = (pl.col("version") >= 0) & (pl.col("deleted") >= 0)
    return pl.col("deleted").is_not_null() & ~(dated & (pl.col("version") > pl.col("deleted")))


def _not_newest(rows: pl.DataFrame, deleted: pl.DataFrame) -> pl.DataFrame:
    content = [name for name in rows.columns if name not in ("line", "file", "version")]
    each = (
        rows.with_columns(content=pl.struct(content).hash(seed=0))
        .group_by("entry", "file", "line")
        .agg(pl.col("version").first(), (pl.col("content") // 256).sum())
    )
    each = each.join(deleted, on="entry", how="left").sort("entry", "version", "content", "file", "line")
    last = pl.col("version") == pl.col("version").last().over("entry")
    same = last & (pl.col("content") == pl.col("content").last().over("entry"))
    newest = pl.int_range(pl.len()).over("entry") == pl.len().over("entry") - 1
    why = pl.when(_is_deleted()).then(pl.lit(DELETED)).when(newest).then(None)
    each = each.with_columns(why=why.when(same).then(pl.lit(REPEATED)).otherwise(pl.lit(OLDER)))
    return each.drop_nulls("why").select("file", "line", "why")


def _batches(path: Path, batch: int) -> Iterator[pa.RecordBatch]:
    texts = [name for name, kind in ROWS.items() if kind == pl.String]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        yield from file.iter_batches(batch)


def _entries(path: Path, piece: int, pieces: int) -> np.ndarray:
    """The entries of one piece; once for each line, whose rows, which are neighbours, are of one resource."""
    chosen = [np.empty(0, np.uint64)]
    last = -1
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(_ROWS_AT_ONCE, columns=["entry", "line"]):
            entry, line = as_numpy(rows["entry"]), as_numpy(rows["line"])
            first = np.diff(line, prepend=last) != 0
            chosen.append(entry[first & (entry % pieces == piece) if pieces > 1 else first])
            last = line[-1]
    return np.concatenate(chosen)
