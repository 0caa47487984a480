"""What a stay's chart says at the prediction time that is of concern to the choice of drugs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import polars as pl

from clinragen.chart.measurements import Measurements, SeriesChart, cells_by_stay, measurements
from clinragen.chart.note_mentions import standing
from clinragen.cohort.folder import Cohort
from clinragen.cohort.orders import PRESCRIBED, readable
from clinragen.errors import UserError
from clinragen.knowledge import graph
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.readable import readable as without_unreadable
from clinragen.safety.allergies import AllergyList, read_allergies
from clinragen.safety.cautions import DrugOrder, NotePhrase

_HOUR = 3_600_000  # milliseconds
_ALLERGIES = "allergies"
#: Concepts of the graph that mean that the kidneys are replaced, and sections that are not about this patient today.
_DIALYSIS = frozenset({"procedure:hemodialysis", "procedure:crrt", "disease:esrd"})
_NOT_READ = frozenset({_ALLERGIES, "family_history"})
_DIALYSIS_CLASS = "dialysis_fluid"
#: A note without any of these words cannot name dialysis; the linker, which is slower, decides the others.
_DIALYSIS_WORDS = (
    r"(?i)dialy|renal|kidney|\bHD\b|\bPD\b|\bESR[DF]\b|\bCKD|\bC[RV]VH|\bCRRT|\bRRT\b|filtrat|fistula|\bAV[FG]\b"
)


@dataclass(frozen=True, eq=False)
class PatientContext:
    """What is known of a stay before its prediction time.

    Attributes:
        stay_id: of the cohort.
        age: years.
        sex: F, M or None.
        allergies: what its allergy lists say; None if it has none.
        series: measurements before the prediction time, canonical units.
        in_force: drugs of the hospital that had not ended, sorted, each order once.
        earlier: drugs that had ended, or were taken before admission, likewise.
        orders_read: whether the cohort has orders of drugs at all.
        unnamed_orders: orders in force whose drug is not known.
        dialysis: where notes or orders name dialysis or end-stage renal disease, if they do.
    """

    stay_id: int
    age: float
    sex: str | None
    allergies: AllergyList | None = None
    series: SeriesChart = field(default_factory=dict)
    in_force: tuple[DrugOrder, ...] = ()
    earlier: tuple[DrugOrder, ...] = ()
    orders_read: bool = True
    unnamed_orders: int = 0
    dialysis: NotePhrase | DrugOrder | None = None


def context_of(cohort: Cohort, stay_id: int, linker: Linker | None = None) -> PatientContext:
    """What is known of one stay before its prediction time; see ``contexts_of``.

    Args:
        cohort: with or without orders of drugs.
        stay_id: of the cohort.
        linker: as of ``contexts_of``.

    Raises:
        UserError: the cohort has no such stay.
    """
    return contexts_of(cohort, [stay_id], linker)[stay_id]


def contexts_of(
    cohort: Cohort, stay_ids: Iterable[int] | None = None, linker: Linker | None = None
) -> dict[int, PatientContext]:
    """What is known of stays before their prediction times.

    Notes are those of the cohort, which its protocol chose; measurements and orders end at the prediction time whatever
    the protocol.

    Args:
        cohort: with or without orders of drugs.
        stay_ids: of the cohort; all by default.
        linker: finds dialysis in the notes; that of the graph as it ships by default, which takes seconds to build.

    Returns:
        stay_id -> context, in the order of the cohort's stays.

    Raises:
        UserError: a stay that the cohort does not have.
    """
    stays = cohort.stays
    if stay_ids is not None:
        requested = pl.Series(list(stay_ids), dtype=pl.Int64)
        stays = stays.filter(pl.col("stay_id").is_in(requested.implode()))
        if len(stays) < requested.n_unique():
            raise UserError(f"{cohort.paths.stays} does not have all of the stays that were asked for")
    stays = stays.with_columns(
        hours=(pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds() / _HOUR,
    )
    series = _series(cohort, stays)
    allergies = _allergies(cohort, stays)
    orders = _orders(cohort, stays) if cohort.ordered else {}
    dialysis = _dialysis_in_notes(cohort, stays, linker)
    contexts = {}
    for stay_id, age, sex in stays.select("stay_id", "age", "sex").iter_rows():
        in_force, earlier, unnamed = orders.get(stay_id, ((), (), 0))
        fluid = next((order for order in in_force if order.drug_class == _DIALYSIS_CLASS), None)
        contexts[stay_id] = PatientContext(
            stay_id=stay_id,
            age=age,
            sex=sex,
            allergies=allergies.get(stay_id),
            series=series.get(stay_id, {}),
            in_force=in_force,
            earlier=earlier,
            orders_read=cohort.ordered,
            unnamed_orders=unnamed,
            dialysis=dialysis.get(stay_id, fluid),
        )
    return contexts


def _series(cohort: Cohort, stays: pl.DataFrame) -> dict[int, dict[str, Measurements]]:
    rows = cohort.series.join(stays.select("stay_id", "hours"), on="stay_id").filter(pl.col("hour") < pl.col("hours"))
    return {stay: measurements(cells) for stay, cells in cells_by_stay(rows).items()}


def _allergies(cohort: Cohort, stays: pl.DataFrame) -> dict[int, AllergyList]:
    texts: dict[int, list[tuple[str, str]]] = defaultdict(list)
    notes = cohort.notes.filter(pl.col("section") == _ALLERGIES).join(stays, on="stay_id", how="semi")
    for stay_id, note_id, text in notes.select("stay_id", "note_id", "text").sort("stay_id", "note_id").iter_rows():
        if text.strip():
            texts[stay_id].append((note_id, text))
    return {stay_id: read_allergies(lists) for stay_id, lists in texts.items()}


def _orders(cohort: Cohort, stays: pl.DataFrame) -> dict[int, tuple[tuple[DrugOrder, ...], tuple[DrugOrder, ...], int]]:
    """stay -> drugs in force, drugs that were before, and the number of orders in force without a known drug."""
    rows = readable(cohort).join(stays.select("stay_id", "intime"), on="stay_id")
    hour = (pl.col("start") - pl.col("intime")).dt.total_milliseconds() / _HOUR
    ends = pl.col("kind").is_in(PRESCRIBED) & pl.col("stop").is_null()
    rows = rows.select("stay_id", "ingredient", "drug_class", "kind", hour=hour, in_force=ends)
    orders: dict[int, tuple[set[DrugOrder], set[DrugOrder]]] = defaultdict(lambda: (set(), set()))
    unnamed: dict[int, int] = defaultdict(int)
    for stay_id, ingredient, drug_class, kind, start, in_force in rows.iter_rows():
        if ingredient is None:
            unnamed[stay_id] += in_force
        else:
            orders[stay_id][0 if in_force else 1].add(DrugOrder(ingredient, drug_class, kind, round(start, 2)))
    return {
        stay_id: (_sorted(orders[stay_id][0]), _sorted(orders[stay_id][1]), unnamed[stay_id])
        for stay_id in {*orders, *unnamed}
    }


def _sorted(orders: set[DrugOrder]) -> tuple[DrugOrder, ...]:
    return tuple(sorted(orders, key=lambda order: (order.ingredient, order.hour, order.kind, order.drug_class)))


@cache
def _linker() -> Linker:
    return Linker(graph.build())


def _dialysis_in_notes(cohort: Cohort, stays: pl.DataFrame, linker: Linker | None) -> dict[int, NotePhrase]:
    """stay -> where its notes affirm dialysis or end-stage renal disease, now or in the past."""
    notes = cohort.notes.filter(~pl.col("section").is_in(_NOT_READ) & pl.col("text").str.contains(_DIALYSIS_WORDS))
    notes = notes.join(stays, on="stay_id", how="semi").sort("stay_id", "section", "note_id")
    phrases: dict[int, NotePhrase] = {}
    for stay_id, note_id, section, text in notes.select("stay_id", "note_id", "section", "text").iter_rows():
        if stay_id in phrases:
            continue
        for mention in (linker or _linker()).link(without_unreadable(text, section), section):
            if mention.concept in _DIALYSIS and standing(mention) == "affirmed":
                start, end = mention.start, mention.end
                phrases[stay_id] = NotePhrase(note_id, section, start, end, text[start:end])
                break
    return phrases
