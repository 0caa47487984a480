"""A chart that is in no cohort: a note as text, and a series as a CSV file; and as a cohort of one stay for a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa

from clinragen.catalog import variables
from clinragen.cohort.folder import Cohort, frame
from clinragen.cohort.scratch import StayTables, scratch_cohort
from clinragen.cohort.window import LONGEST
from clinragen.errors import UserError, unknown_choice
from clinragen.inference.finished import FinishedRun
from clinragen.knowledge.readable import readable
from clinragen.label_sets import LabelSet, Phenotype
from clinragen.schema import NOTES, SERIES, STAYS

_COLUMNS = {"hour": pl.Float64, "variable": pl.String, "value": pl.Float64}
_SECTION = "note"
_BEGIN = datetime(2000, 1, 1)  # of a stay that has no date


def read_note(text: str | Path, labels: Mapping[str, Phenotype]) -> list[tuple[str, str]]:
    """A note as (section, text), without what no model reads; nothing of an empty one.

    Args:
        text: the note, or the file that it is in: a single word is the name of a file.
        labels: by which lists of diagnoses are recognised.

    Raises:
        UserError: the file is missing, or is no text.
    """
    content = text
    if isinstance(text, Path) or len(text.split()) == 1:
        try:
            content = Path(str(text).strip()).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"--text {text} cannot be read ({type(error).__name__}): give a file of UTF-8 text, or the note itself"
            ) from None
    passage = readable(str(content), _SECTION, labels)
    return [(_SECTION, passage)] if passage.strip() else []


def read_series(path: str | Path | None) -> pl.DataFrame:
    """Measurements of one stay: hour, variable, value.

    Args:
        path: a CSV file with these columns, hours from the start of the stay and values in canonical units; None: none.

    Raises:
        UserError: the file is missing, a column is, or a row has an unknown variable or no finite number.
    """
    if path is None:
        return pl.DataFrame(schema=_COLUMNS)
    expected = f"expected a CSV file with the columns {', '.join(_COLUMNS)}"
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError):
        raise UserError(f"--series {path} cannot be read: {expected}") from None
    if missing := [name for name in _COLUMNS if name not in table.columns]:
        raise UserError(f"--series {path}: column '{missing[0]}' is missing: {expected}")
    rows = table.select(pl.col(name).str.strip_chars().cast(kind, strict=False) for name, kind in _COLUMNS.items())
    sound = pl.col("hour").is_finite() & (pl.col("hour") >= 0) & pl.col("value").is_finite()
    for number, (is_sound, variable) in enumerate(rows.select(sound.fill_null(False), "variable").iter_rows(), 2):
        if not is_sound:
            raise UserError(f"--series {path}, line {number}: hour and value must be numbers, and no hour negative")
        if variable not in variables():
            raise unknown_choice(f"variable in line {number} of --series {path}", str(variable), variables())
    return rows


@contextmanager
def given_cohort(
    sections: Sequence[tuple[str, str]], rows: pl.DataFrame, run: FinishedRun, labels: LabelSet
) -> Iterator[Cohort]:
    """A chart as a cohort of one stay, as long as it is read.

    Args:
        sections: (section, text) of the note.
        rows: of the series, as ``read_series`` gives them; of an hour with several values the mean is read.
        run: the model that is to read it: its window and its variables are the cohort's.
        labels: by which lists of diagnoses are recognised.
    """
    hours = min(LONGEST - 1, int(rows["hour"].max()) + 1 if len(rows) else run.window.hours)  # type: ignore[arg-type]
    end = _BEGIN + timedelta(hours=hours)
    stay = {"stay_id": 0, "subject_id": 0, "hadm_id": 0, "intime": _BEGIN, "outtime": end, "prediction_time": end}
    stay |= {"age": 0.0, "sex": None, "split": "test"}  # no model reads them
    notes = [
        {"stay_id": 0, "note_id": _SECTION, "kind": _SECTION, "section": section, "time": None, "text": text}
        for section, text in sections
    ]
    means = rows.filter(pl.col("hour") < hours).group_by(pl.col("hour").floor(), "variable").agg(pl.mean("value"))
    hourly = means.sort("hour", "variable").with_columns(stay_id=pl.lit(0, dtype=pl.Int64))
    stays, written = (frame(pa.Table.from_pylist(part, schema)) for part, schema in (([stay], STAYS), (notes, NOTES)))
    tables = StayTables(stays, hourly.select(SERIES.names), written)
    with scratch_cohort(tables, run.window, prefix="clinragen-chart-", labels=labels, added=run.added) as root:
        yield Cohort.load(root / "cohort")
