"""Treatments of an OMOP CDM: administrations in ``drug_exposure``, and what lasts in ``procedure_occurrence``.

``drug_exposure`` has no column for a rate. One is read where the unit of the dose is a rate, where ``sig`` states one,
or where an amount ran in over a time. A bag, a vial or a tablet tells none, nor does an order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl

from clinragen.catalog import Variable, variables
from mimic_prep.accounting import RowFilter
from mimic_prep.dates_as_times import MIDNIGHT
from mimic_prep.doses import average_rates, charted_rates, is_rate
from mimic_prep.drug_names import named
from mimic_prep.releases.omop.settings import OmopSettings
from mimic_prep.releases.omop.tables import ADMINISTRATIONS, DEVICES, PROCEDURES
from mimic_prep.releases.omop.vocabulary import Vocabulary, number_of
from mimic_prep.site_settings import matches
from mimic_prep.tables import Derivation, EventTable, Table

_ORDER = "an order, a prescription or a dispensing, not an administration"
_ELSEWHERE = "not given by vein"
_NO_CLOCK = "date without a time of day: when it ran is unknown"
_NO_END = "no time of its end: how long it lasted is unknown"
_OF_POINT = "rate at a point in time: read as that"
_NOT_OF_POINT = "not a rate at a point in time: read as an infusion"
_FROM_SIG = "rate read from sig"
_WRITTEN_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([^\W\d_]+(?:\s*/\s*[^\W\d_]+){1,2})")


def treatment_tables(
    vocabulary: Vocabulary, settings: OmopSettings, dated: Mapping[str, bool]
) -> tuple[EventTable, ...]:
    """The tables of treatments; none unless variables of the kind ``treatment`` are in use.

    Args:
        vocabulary: of the export.
        settings: of the hospital.
        dated: whether the times of a table are dates, by its name.
    """
    if not vocabulary.treatments:
        return ()
    reader = _Treatments(vocabulary, settings, dated)
    key = f"1 {settings.digest()} {vocabulary.digest()} {sorted(dated.items())}"

    def events(table: Table, rule: Callable[[RowFilter], None], listed: str, part: str = "") -> EventTable:
        derived = replace(table, part=part or table.part, derived=Derivation(rule, f"{part} {key}"))
        return EventTable(
            derived, key="subject_id", items="loinc", beside=True, listed=listed,
            interval=listed == "infusions",
        )  # fmt: skip

    return (
        events(ADMINISTRATIONS, reader.infusions, "infusions", "infusions"),
        events(ADMINISTRATIONS, reader.rates, "rates", "rates"),
        events(PROCEDURES, reader.procedures, "infusions", "treatments"),
        events(DEVICES, reader.devices, "infusions", "treatments"),
    )


class _Treatments:
    """The rules of the tables: ``item``, ``time``, ``end``, and of drugs ``rate``, ``amount`` and their units."""

    def __init__(self, vocabulary: Vocabulary, settings: OmopSettings, dated: Mapping[str, bool]) -> None:
        self._vocabulary = vocabulary
        self._settings = settings
        self._dated = dated
        self._rates = charted_rates("loinc", "rates").rule
        self._no_infusion = re.compile("|".join(settings.not_infusions) or r"(?!)", re.IGNORECASE)

    def procedures(self, row_filter: RowFilter) -> None:
        """Procedures that last, such as ventilation."""
        self._lasting(row_filter, PROCEDURES)

    def devices(self, row_filter: RowFilter) -> None:
        """Devices in use from a time to another one."""
        self._lasting(row_filter, DEVICES)

    def infusions(self, row_filter: RowFilter) -> None:
        """Administrations that last, and volumes given at once."""
        self._administered(row_filter)
        row_filter.skip(_of_point(), _OF_POINT)
        row_filter.skip(pl.col("end").is_null(), _NO_END)
        average_rates(row_filter)

    def rates(self, row_filter: RowFilter) -> None:
        """Rates that were charted when they were changed: their rows end when they begin."""
        self._administered(row_filter)
        row_filter.skip(~_of_point(), _NOT_OF_POINT)
        self._rates(row_filter)

    def _administered(self, row_filter: RowFilter) -> None:
        self._find_items(row_filter, ADMINISTRATIONS.name)
        row_filter.skip(pl.col("item").is_null(), "drug not used")
        row_filter.skip(~pl.col("type").is_in(self._settings.administration_types).fill_null(False), _ORDER)
        of_concept = pl.col("route").is_in(self._settings.intravenous_routes).fill_null(False)
        stated = (pl.col("route").fill_null(0) != 0) | pl.col("route_source").is_not_null()
        by_vein = of_concept | matches("route_source", self._settings.intravenous_words)
        row_filter.skip(stated & ~by_vein, _ELSEWHERE)
        self._find_times(row_filter, ADMINISTRATIONS.name)
        self._find_rates(row_filter)

    def _lasting(self, row_filter: RowFilter, table: Table) -> None:
        self._find_items(row_filter, table.name)
        row_filter.skip(pl.col("item").is_null(), "concept not used")
        self._find_times(row_filter, table.name)
        if self._settings.procedure_minutes and table is PROCEDURES:
            length = pl.duration(seconds=(pl.col("quantity") * 60).round().cast(pl.Int64))
            by_quantity = pl.when(pl.col("quantity") > 0).then(pl.col("time") + length)
            row_filter.frame = row_filter.frame.with_columns(end=pl.coalesce("end", by_quantity))
        row_filter.skip(pl.col("end").is_null(), _NO_END)

    def _find_items(self, row_filter: RowFilter, table: str) -> None:
        """By the standard concept, the source concept, the hospital's own source values, and the name of a drug."""
        items, frame = self._vocabulary.treatments[table], row_filter.frame
        by_concept = [
            pl.col(name).replace_strict(items, default=None, return_dtype=pl.Int64)
            for name in ("concept", "source_concept")
        ]
        sources = frame["source"].unique().drop_nulls().to_list()
        meant = {source: number_of(one) for source in sources if (one := self._of_source(source, table)) is not None}
        by_source = pl.col("source").replace_strict(meant, default=None, return_dtype=pl.Int64)
        row_filter.frame = frame.with_columns(item=pl.coalesce(*by_concept, by_source))

    def _of_source(self, source: str, table: str) -> Variable | None:
        listed = self._settings.source_values.get(source.strip())
        key = listed.variable if listed else named(source, self._no_infusion) if table == ADMINISTRATIONS.name else None
        meant = variables().get(key or "")
        return meant if meant is not None and meant.kind == "treatment" else None

    def _find_times(self, row_filter: RowFilter, table: str) -> None:
        """``time`` and ``end``: a date alone tells no time, nor does midnight where all times are dates."""
        sides = {"time": pl.col("moment"), "end": pl.col("end_moment")}
        if self._dated.get(table):
            sides = {name: pl.when(side.dt.time() != MIDNIGHT).then(side) for name, side in sides.items()}
        row_filter.frame = row_filter.frame.with_columns(**sides)
        row_filter.skip(pl.col("time").is_null(), _NO_CLOCK)

    def _find_rates(self, row_filter: RowFilter) -> None:
        """``rate`` from the unit of the dose, if that is one of a rate, else from ``sig``; the rest are amounts."""
        frame = row_filter.frame
        units = frame["dose_unit"].cast(pl.String).unique().drop_nulls().to_list()
        is_of_rate = pl.col("dose_unit").cast(pl.String).is_in([unit for unit in units if is_rate(unit)])
        is_of_rate = is_of_rate.fill_null(False)
        signed = [(sig, *rate) for sig in frame["sig"].unique().drop_nulls().to_list() if (rate := _written(sig))]
        schema = {"sig": pl.String, "sig_rate": pl.Float64, "sig_unit": pl.String}
        frame = frame.join(
            pl.DataFrame(signed, schema=schema, orient="row"), on="sig", how="left", maintain_order="left"
        )
        from_sig = ~is_of_rate & pl.col("sig_rate").is_not_null()
        row_filter.frame = frame.with_columns(
            rate=pl.when(is_of_rate).then("quantity").otherwise("sig_rate"),
            rate_unit=pl.when(is_of_rate).then(pl.col("dose_unit").cast(pl.String)).otherwise("sig_unit"),
            amount=pl.when(~is_of_rate).then("quantity"),
            amount_unit=pl.when(~is_of_rate).then(pl.col("dose_unit").cast(pl.String)),
        )
        row_filter.remarks[_FROM_SIG] += int(row_filter.frame.select(from_sig.sum()).item())


def _of_point() -> pl.Expr:
    return (pl.col("rate").is_not_null() & (pl.col("end") == pl.col("time"))).fill_null(False)


def _written(sig: str) -> tuple[float, str] | None:
    """The only rate in a text.

    >>> _written("titrate: 0.05 mcg/kg/min IV"), _written("50 mg every 8 hours"), _written("5-10 mg/h")
    ((0.05, 'mcg/kg/min'), None, None)
    """
    written = [match for match in _WRITTEN_RATE.finditer(sig) if is_rate(match[2])]
    if any(sig[: match.start()].rstrip().endswith(("-", "–", "to", "/")) for match in written):
        return None  # from one rate to another
    rates = {(float(match[1]), match[2]) for match in written}
    return rates.pop() if len(rates) == 1 else None
