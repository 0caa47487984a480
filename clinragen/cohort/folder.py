"""Read a cohort folder and check that its files belong together. Independent of models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinragen import added_variables, label_sets, versions
from clinragen.artifacts import read_json, read_table, sha256_file
from clinragen.catalog import variables
from clinragen.cohort.manifest import Clock, CohortManifest
from clinragen.errors import UserError, unknown_choice
from clinragen.integrity import complete, hold_output
from clinragen.manifests import RationalesManifest
from clinragen.schema import (
    CARE_UNIT,
    LOGPROBS,
    NOTES,
    NOTES_KEYS,
    ORDERS,
    OUTCOMES,
    RATIONALE_KINDS,
    RATIONALES,
    SERIES,
    SITES,
    SPLITS,
    STAYS,
    CohortPaths,
    labels_schema,
)

_CALENDAR = datetime.min, datetime.max
_TIMES = ("intime", "outtime", "prediction_time")


@dataclass(frozen=True)
class Cohort:
    """A validated cohort folder. ``stays`` is sorted by stay_id; every other table refers to it.

    With ``partial`` it is a part of one: of every table only the rows of these stays are read.
    """

    paths: CohortPaths
    manifest: CohortManifest
    stays: pl.DataFrame
    partial: bool = False

    @classmethod
    def load(cls, root: str | Path, *, undated: bool = False) -> Cohort:
        """Open a cohort folder written by ``mimic-prep``.

        Args:
            root: the folder.
            undated: stays may lack times, as an audit tells.

        Raises:
            UserError: a file is missing, damaged, or of another schema version.
        """
        paths = CohortPaths(Path(root))
        if not paths.root.is_dir():
            raise UserError(f"{paths.root} is not a folder: expected a cohort made by mimic-prep")
        manifest = read_json(paths.manifest, "the manifest of a cohort made by mimic-prep")
        versions.COHORT.check(manifest, paths.manifest)
        manifest = cast(CohortManifest, manifest)
        added_variables.opened(manifest, paths.manifest)
        stays = complete(frame(read_recorded(paths.stays, STAYS, manifest)), ("stay_id",), paths.stays).sort("stay_id")
        if stays.is_empty():
            raise UserError(f"{paths.stays} has no stays")
        if stays["stay_id"].n_unique() != len(stays):
            raise UserError(f"{paths.stays}: stay_id is not unique")
        if alien := set(stays["split"].unique()) - set(SPLITS):
            raise UserError(f"{paths.stays}: unknown split {sorted(map(str, alien))}; expected {', '.join(SPLITS)}")
        if not _finite(stays["age"]):
            raise UserError(f"{paths.stays}: age is missing or not finite for some stays")
        _dated(stays if undated else complete(stays, _TIMES, paths.stays), paths.stays)
        return cls(paths, manifest, stays)

    def of_stays(self, stay_ids: np.ndarray) -> Cohort:
        """The part of the cohort with some of its stays. It reads its own rows anew, and no others."""
        chosen = pl.col("stay_id").is_in(pl.Series(stay_ids).implode())
        return replace(self, stays=self.stays.filter(chosen), partial=True)

    def _table(self, path: Path, schema: pa.Schema) -> pl.DataFrame:
        """A table of the cohort whose rows belong to its stays.

        Raises:
            UserError: it is missing or damaged, or rows belong to no stay.
        """
        rows = None
        if self.partial:  # a range, by which whole groups of rows are passed over, and then the very stays
            rows = (pc.field("stay_id") >= self.stays["stay_id"].min()) & (
                pc.field("stay_id") <= self.stays["stay_id"].max()
            )
        return self._owned(frame(read_recorded(path, schema, self.manifest, rows)), path)

    @cached_property
    def series(self) -> pl.DataFrame:
        """Measurement bins: stay_id, hour, variable, value (canonical unit, always finite).

        Raises:
            UserError: the file is missing or damaged, a value or hour is none, or a variable not in the catalogue.
        """
        table = self._table(self.paths.series, SERIES)
        complete(table, ("stay_id", "variable"), self.paths.series)
        if alien := set(table["variable"].unique()) - set(variables()):
            raise UserError(f"{self.paths.series}: {unknown_choice('variable', min(alien), variables())}")
        if not _finite(table["value"]) or not _finite(table["hour"]):
            raise UserError(f"{self.paths.series}: value or hour is not finite in some rows: prepare the cohort anew")
        if len(table) and table["hour"].min() < 0:  # type: ignore[operator]
            raise UserError(f"{self.paths.series}: some hours lie before the stay: prepare the cohort anew")
        return table

    @cached_property
    def notes_as_written(self) -> pl.DataFrame:
        """Note sections without checks for missing values, for the audit."""
        return _dated(self._table(self.paths.notes, NOTES), self.paths.notes)

    @cached_property
    def notes(self) -> pl.DataFrame:
        """Note sections: stay_id, note_id, kind, section, time, text; of these only the time may be null."""
        table = self.notes_as_written.with_columns(pl.col("text").fill_null(""))
        return complete(table, NOTES_KEYS, self.paths.notes)

    @cached_property
    def label_set(self) -> label_sets.LabelSet:
        """The labels of this cohort, in the order of ``labels``."""
        return label_sets.of_manifest(self.manifest)

    @cached_property
    def added(self) -> added_variables.AddedVariables:
        """The variables that the cohort has beside those of the catalogue."""
        return added_variables.of_manifest(self.manifest, str(self.paths.manifest))

    @property
    def labelled(self) -> bool:
        """Whether the cohort has labels: none if no stay had a coded diagnosis when it was prepared."""
        return self.paths.labels.exists() or self.paths.labels.name in self.manifest.get("outputs", {})

    @cached_property
    def labels(self) -> pl.DataFrame:
        """One row per stay in the order of ``stays``: stay_id and one boolean per phenotype.

        Raises:
            UserError: the cohort has no labels, or the file is missing or damaged.
        """
        if not self.labelled:
            raise without_labels(self.paths)
        keys = list(self.label_set)
        table = self._table(self.paths.labels, labels_schema(keys))
        table = self.stays.select("stay_id").join(table, on="stay_id", how="left", maintain_order="left")
        if len(table) != len(self.stays) or table.select(keys).null_count().sum_horizontal().item():
            raise UserError(f"{self.paths.labels}: expected exactly one row of labels for each stay")
        return table.select("stay_id", *keys)

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        """Outcomes in the order of ``stays``: stay_id, died_in_hospital, death_time, hospital_outtime.

        All of it lies after the prediction time, so it is used for labels and never as input. Each value is null if the
        source does not state it.

        Raises:
            UserError: the cohort has no outcomes, or the file is missing or damaged.
        """
        path = self.paths.outcomes
        if not path.exists() and path.name not in self.manifest.get("outputs", {}):
            raise UserError(
                f"{self.paths.root} has no outcomes ({path.name}): it was prepared before clinragen read them: prepare "
                "it anew"
            )
        table = _dated(self._table(path, OUTCOMES), path)
        table = self.stays.select("stay_id").join(table, on="stay_id", how="left", maintain_order="left")
        if len(table) != len(self.stays):
            raise UserError(f"{path}: expected exactly one row of outcomes for each stay: prepare the cohort anew")
        return table.select(OUTCOMES.names)

    @cached_property
    def sites(self) -> pl.DataFrame:
        """Where and when stays were, in the order of ``stays``: stay_id, hospital, network, period.

        Each is null where the source does not say it, and all are in a cohort from before sites were read. No model
        reads them.

        Raises:
            UserError: the file is missing though the manifest lists it, or damaged.
        """
        path = self.paths.sites
        if not path.exists() and path.name not in self.manifest.get("outputs", {}):
            unknown = (pl.lit(None, dtype=pl.String).alias(name) for name in SITES.names[1:])
            return self.stays.select("stay_id", *unknown)
        table = self.stays.select("stay_id").join(
            self._table(path, SITES), on="stay_id", how="left", maintain_order="left"
        )
        if len(table) != len(self.stays):
            raise UserError(f"{path}: expected exactly one row of sites for each stay: prepare the cohort anew")
        return table.select(SITES.names)

    @cached_property
    def care_units(self) -> pl.Series:
        """The first care unit of each stay, in the order of ``stays``.

        Null where the source does not say it, and in a cohort from before units were read. No model reads it here, but
        a note may name it.

        Raises:
            UserError: as ``sites``.
        """
        stays, path = self.sites.select("stay_id"), self.paths.sites
        if not path.exists() or CARE_UNIT.name not in pq.read_schema(path).names:
            return pl.Series(CARE_UNIT.name, [None] * len(stays), dtype=pl.String)
        units = self._table(path, SITES.append(CARE_UNIT))
        return stays.join(units, on="stay_id", how="left", maintain_order="left")[CARE_UNIT.name]

    @property
    def ordered(self) -> bool:
        """Whether the cohort has orders of drugs: not every source has any, nor does a cohort of an older version."""
        return self.paths.orders.exists() or self.paths.orders.name in self.manifest.get("outputs", {})

    @cached_property
    def orders(self) -> pl.DataFrame:
        """Drugs of the stays' admissions, in the columns of ``schema.ORDERS``, also after the prediction time.

        What a model may read of them is in ``cohort.orders``.

        Raises:
            UserError: the cohort has none, or the file is missing or damaged.
        """
        if not self.ordered:
            raise UserError(
                f"{self.paths.root} has no orders of drugs ({self.paths.orders.name}): its source has none, or it was "
                "prepared before clinragen read them: prepare it anew from tables with prescriptions"
            )
        table = _dated(self._table(self.paths.orders, ORDERS), self.paths.orders)
        return complete(table, ("stay_id", "kind", "start"), self.paths.orders)

    @property
    def clock(self) -> Clock:
        """What the periods of ``sites`` are; none in a cohort from before sites were read."""
        return self.manifest.get("clock", "none")

    def label_matrix(self, stay_ids: np.ndarray) -> np.ndarray:
        """Labels of the given stays, bool [n, phenotypes], in catalogue order."""
        rows = np.searchsorted(self.stays["stay_id"].to_numpy(), stay_ids)
        return self.labels.drop("stay_id").to_numpy()[rows].astype(bool)

    def rationales(self, teacher: str) -> pl.DataFrame:
        """Teacher rationales: stay_id, kind (note, series), text, verdicts, teacher, prompt_hash."""
        path = self.paths.rationales(teacher)
        if not path.exists():
            have = sorted(p.stem for p in path.parent.glob("*.parquet") if not p.stem.endswith(".logprobs"))
            others = f"; this cohort has: {', '.join(have)}" if have else ""
            raise UserError(f"{path} not found{others}: make it with `clinragen teach --teacher {teacher}`")
        described = self.paths.rationale_manifest(teacher)
        if described.exists():
            RationalesManifest.read(described)
        table = self._owned(frame(read_table(path, RATIONALES)), path)
        if alien := set(table["kind"].unique()) - set(RATIONALE_KINDS):
            raise UserError(f"{path}: unknown kind {sorted(alien)}; expected {', '.join(RATIONALE_KINDS)}")
        return table

    def logprobs(self, teacher: str) -> pl.DataFrame:
        """A teacher's log-probabilities (``schema.LOGPROBS``), for the rationales that have them.

        Raises:
            UserError: there are none, or the file is damaged.
        """
        path = self.paths.logprobs(teacher)
        if not path.exists():
            raise UserError(
                f"{path} not found: teacher '{teacher}' has no log-probabilities: run `clinragen teach` with "
                "sampling.logprobs=true on a server that returns them, or set stage.token_weight=0"
            )
        table = read_table(path, LOGPROBS)
        if not all(map(_sound, table.select(LOGPROBS.names[2:]).to_batches())):
            raise UserError(
                f"{path} is damaged (tokens and log-probabilities do not belong together): run `clinragen teach` "
                f"again for teacher '{teacher}'"
            )
        return self._owned(frame(table), path)

    def split(self, name: str) -> np.ndarray:
        """Stay ids of a split, ascending, int64 [n].

        Raises:
            UserError: unknown split, or one without stays.
        """
        if name not in SPLITS:
            raise unknown_choice("split", name, SPLITS)
        ids = self.stays.filter(pl.col("split") == name)["stay_id"].to_numpy()
        if len(ids) == 0:
            raise UserError(
                f"{self.paths.stays}: split '{name}' has no stays: prepare the cohort again with a larger share of "
                f"patients (--set splits.{name}=SHARE, the three sum to 1) or another draw (--set splits.salt=WORD)"
            )
        return ids

    def hold_patients_apart(self) -> None:
        """Check that no patient has stays in two splits.

        Raises:
            UserError: one has: what is learned of their training stays would be scored on their others.
        """
        splits = self.stays.drop_nulls("subject_id").group_by("subject_id").agg(pl.col("split").n_unique())
        if shared := splits.filter(pl.col("split") > 1).height:
            raise UserError(
                f"{self.paths.stays}: {shared:,} of {len(splits):,} patients have stays in more than one split, so "
                f"figures would flatter: draw the splits by patient; `mimic-prep audit {self.paths.root}` tells more"
            )

    @cached_property
    def sha256(self) -> str:
        """Hash of the manifest, which itself holds the hashes of all files."""
        return sha256_file(self.paths.manifest)

    def _owned(self, table: pl.DataFrame, path: Path) -> pl.DataFrame:
        if self.partial:
            return table.join(self.stays.select("stay_id"), on="stay_id", how="semi", maintain_order="left")
        alien = table.join(self.stays.select("stay_id"), on="stay_id", how="anti")
        if len(alien):
            raise UserError(
                f"{path}: {len(alien)} rows belong to stays not in stays.parquet (the first to {alien['stay_id'][0]})"
            )
        return table


def without_labels(paths: CohortPaths) -> UserError:
    """The error of commands that need labels, for a cohort without coded diagnoses."""
    return UserError(
        f"{paths.root} has no labels ({paths.labels.name}): none of its stays had a coded diagnosis when it was "
        "prepared: prepare it anew with the table of diagnoses; predict and report work without"
    )


def read_recorded(
    path: Path, schema: pa.Schema, manifest: CohortManifest, rows: pc.Expression | None = None
) -> pa.Table:
    """A table of a cohort, or some of its rows, checked against the manifest's hash.

    Raises:
        UserError: it is missing, damaged, or changed since the cohort was prepared.
    """
    if path.exists():  # a missing file is reported by the reader
        hold_output(path, manifest, remedy="prepare the cohort anew")
    return read_table(path, schema, rows=rows)


def _dated(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The table, if all of its times are dates of the calendar: others cannot be converted."""
    for name, kind in table.schema.items():
        if isinstance(kind, pl.Datetime) and not table[name].drop_nulls().is_between(*_CALENDAR).all():
            raise UserError(f"{path}: {name} is no date of the years 1 to 9999 in some rows: prepare the cohort anew")
    return table


def _finite(column: pl.Series) -> bool:
    return not column.null_count() and bool(column.is_finite().all())


def _sound(batch: pa.RecordBatch) -> bool:
    """Whether each token has a log-probability, and each of its alternatives."""
    tokens, logprobs, top_tokens, top_logprobs = batch.columns
    words, scores = top_tokens.flatten(), top_logprobs.flatten()
    values = [tokens.flatten(), logprobs.flatten(), words.flatten(), scores.flatten()]
    pairs = [(tokens, logprobs), (tokens, top_tokens), (tokens, top_logprobs), (words, scores)]
    return (
        not any(one.null_count for one in (*batch.columns, words, scores, *values))
        and all(one.value_lengths().equals(other.value_lengths()) for one, other in pairs)
        and all((one.to_numpy(zero_copy_only=False) <= 1e-3).all() for one in values[1::2])  # this also refuses NaN
    )


def frame(table: pa.Table) -> pl.DataFrame:
    """An Arrow table as a polars frame."""
    converted = pl.from_arrow(table)
    assert isinstance(converted, pl.DataFrame)
    return converted
