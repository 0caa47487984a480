"""The reader of an OMOP CDM: stays by the units of visits, values by concepts, labels by ICD codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import polars as pl

from mimic_prep import structured_summary
from mimic_prep.accounting import RowFilter
from mimic_prep.codes_to_fill import Unmapped, template, told
from mimic_prep.dates_as_times import are_dates
from mimic_prep.inclusion import Attrition, Population
from mimic_prep.ingest import RawTables
from mimic_prep.note_markup import plain_html, plain_rtf
from mimic_prep.note_selection import read_notes
from mimic_prep.orders import OrderTable, orders_of
from mimic_prep.protocol import Protocol
from mimic_prep.reader import Reader
from mimic_prep.releases.omop import tables as omop
from mimic_prep.releases.omop.diagnoses import read_diagnoses
from mimic_prep.releases.omop.settings import OmopSettings, load_settings, treatments
from mimic_prep.releases.omop.stays import read_stays
from mimic_prep.releases.omop.treatments import treatment_tables
from mimic_prep.releases.omop.values import CONCEPT, SOURCE, time_of, with_values
from mimic_prep.releases.omop.vocabulary import names_of, of_catalogue, read_vocabulary
from mimic_prep.tables import Derivation, EventTable, MimicLayout, NoteTable, Table

TO_FILL = "concepts_to_fill.yaml"
_MOST_SHOWN = 30
_HEAD = """\
Concepts of the export that no variable has, and source values without a standard concept, most frequent first.
Delete what does not matter; in the rest replace null by a variable, and give the unit of values that have none, as in
{variable: heart_rate, unit: bpm}. Then: mimic-prep omop ... --concepts THIS_FILE
If you have such a file already, move the lines there."""
#: forms of notes: name, how they begin, and what reads them
_MARKUP: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("RTF", r"^\s*\{\\rtf", plain_rtf),
    ("HTML", r"(?i)^\s*<(!doctype html|html|head|body|div|p|span|pre|table)\b[^>]*>", plain_html),
    ("one line with \\n", r"^[^\n]*\\n[^\n]*\\n[^\n]*$", lambda text: _unescaped(text)),
)
_DATED = (
    "the visits have dates without times: stays begin at midnight, and a value with a date alone counts at the end of "
    "its day; ask for the columns *_datetime"
)


class OmopReader(Reader):
    """Reads an OMOP CDM 5.3 or 5.4."""

    name = "OMOP"
    version = 2
    items = omop.ITEMS
    diagnosis_table = omop.CONDITIONS
    clock = "absolute"

    def __init__(self, settings: OmopSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or load_settings()
        self.inputs = {"settings of OMOP": self.settings.digest()}
        self._dated: dict[str, bool] = {}
        self._vocabulary = of_catalogue(self.settings)
        self.events = self._events()

    def _events(self) -> tuple[EventTable, ...]:
        values = (
            EventTable(
                with_values(table, self._vocabulary, self.settings, dated=self._dated.get(table.name, False)),
                key="subject_id",
            )
            for table in (omop.MEASUREMENTS, omop.OBSERVATIONS)
        )
        return *values, *treatment_tables(self._vocabulary, self.settings, self._dated)

    def tables(self) -> list[Table]:
        """All tables that a preparation may read."""
        return [
            omop.PERSON, omop.VISITS, omop.VISIT_DETAILS, omop.CARE_SITES, omop.DEATHS, omop.MEASUREMENTS,
            omop.OBSERVATIONS, omop.CONDITIONS, omop.DRUGS, omop.NOTE, *omop.CONCEPTS, *omop.RELATIONS,
            *((omop.PROCEDURES, omop.DEVICES, omop.ANCESTORS) if treatments() else ()),
        ]  # fmt: skip

    def population(self, raw: RawTables, attrition: Attrition) -> Population:
        """Runs of rows in intensive care; their events depend on the vocabulary, which is read here, too."""
        self._vocabulary = read_vocabulary(raw, self.settings)
        population, dated = read_stays(raw, self.settings, attrition)
        if dated:
            self.warnings.append(_DATED)
        timed = [omop.MEASUREMENTS, omop.OBSERVATIONS, omop.DRUGS, omop.NOTE]
        timed += [omop.PROCEDURES, omop.DEVICES] if treatments() else []
        self._dated = {
            table.name: dated or are_dates(raw, table, "time" if "time" in table.columns else "moment")
            for table in timed
        }
        if not dated and (names := [name for name, is_so in self._dated.items() if is_so]):
            self.warnings.append(
                f"the times of {', '.join(names)} are midnight: dates that became times, so rows count at the end of "
                "their day; ask for the columns *_datetime with the time of day"
            )
        if not raw.locate(omop.VISIT_DETAILS):
            self.warnings.append("there is no table visit_detail: visits of an intensive care concept count as stays")
        self.events = self._events()
        return population

    def diagnoses(self, raw: RawTables, stays: pl.DataFrame, population: Population) -> pl.DataFrame:
        """The ICD codes of the cohort's patients."""
        subjects = stays["subject_id"].unique().implode()
        return read_diagnoses(raw, self.settings, self._vocabulary, population.admissions, subjects)

    def texts(self, raw: RawTables, stays: pl.DataFrame, diagnoses: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
        """Sections of notes, and digests as configured by the protocol."""
        layout = self._layout()
        notes = read_notes(raw, layout, stays, protocol)
        if protocol.notes.digest == "never":
            return notes
        lacking = stays if protocol.notes.digest == "always" else stays.join(notes, on="stay_id", how="anti")
        if not lacking.height:
            return notes
        return pl.concat([notes, structured_summary.build(raw, layout, lacking, diagnoses)])

    def order_tables(self) -> tuple[OrderTable, ...]:
        """Exposures to drugs."""
        return orders_of(self._layout())

    def conclude(self, raw: RawTables) -> None:
        """List concepts and source values that no variable has."""
        counts: dict[str, Counter[tuple[str, str]]] = {CONCEPT: Counter(), SOURCE: Counter()}
        for source in self.events:
            for (kind, code), rows in raw.unused(source.table).items():
                counts[kind][code, source.table.name] += rows
        listed = {int(code) for code, _ in counts[CONCEPT] if code.isdecimal()}
        concepts = Unmapped("concepts", counts[CONCEPT], names_of(raw, listed) if listed else {}, numeric=True)
        sources = Unmapped("source_values", counts[SOURCE])
        self.files[TO_FILL] = template(_HEAD, [concepts, sources])
        self.account["omop"] = {
            "unused_concepts": len(listed),
            "most_frequent": concepts.most_frequent(_MOST_SHOWN),
            "unused_source_values": len({code for code, _ in sources.rows}),
        }
        self.warnings += told("concepts", concepts, TO_FILL, "--concepts")
        if sources.rows:  # source values may hold anything: only the file of the cohort has them
            self.warnings.append(
                f"{len({code for code, _ in sources.rows}):,} source values of {sources.rows.total():,} rows without a "
                f"standard concept are no variable here: {TO_FILL} of the cohort lists them, too"
            )

    def _layout(self) -> MimicLayout:
        """Notes and drugs in the columns of MIMIC, for the steps that compose text."""
        note = replace(omop.NOTE, derived=Derivation(self._complete_note, ""))
        drugs = replace(omop.DRUGS, derived=Derivation(self._complete_drug, ""))
        return MimicLayout(
            name=self.name, items=self.items, stays=omop.VISIT_DETAILS, patients=omop.PERSON, admissions=omop.VISITS,
            diagnoses=omop.CONDITIONS, events=self.events, prescriptions=drugs,
            notes=tuple(NoteTable(note, kind=kind, categories=(kind,)) for kind in self.settings.notes),
        )  # fmt: skip

    def _complete_note(self, row_filter: RowFilter) -> None:
        """``category``: the first kind whose concepts or words fit."""
        title = pl.concat_str([pl.col("title").fill_null(""), pl.col("source").fill_null("")], separator=" ")
        category = pl.lit("other")
        for kind, rule in reversed(self.settings.notes.items()):
            fits = pl.col("type").is_in(rule.concepts) | pl.col("class").is_in(rule.concepts)
            fits = fits.fill_null(False)
            for pattern in rule.words:
                fits |= title.str.contains("(?i)" + pattern)
            category = pl.when(fits).then(pl.lit(kind)).otherwise(category)
        time = time_of("time", "date", dated=self._dated.get(omop.NOTE.name, False))
        _read_markup(row_filter)
        row_filter.frame = row_filter.frame.with_columns(
            category=category, time=time.cast(pl.Datetime("ms")), available=pl.lit(None, dtype=pl.Datetime("ms"))
        )

    def _complete_drug(self, row_filter: RowFilter) -> None:
        """``drug``: the source value if it is a name, else the name of the concept."""
        named = pl.col("source").str.strip_chars()
        named = pl.when(named.str.contains(r"[A-Za-z]{3}")).then(named)
        drugs = self._vocabulary.drugs
        if drugs:
            concept = pl.coalesce(
                pl.col(name).replace_strict(drugs, default=None, return_dtype=pl.String)
                for name in ("concept", "source_concept")
            )
            named = pl.coalesce(named, concept)
        row_filter.frame = row_filter.frame.with_columns(
            drug=named, drug_type=pl.lit(None, dtype=pl.String),
            time=time_of("moment", "date", dated=self._dated.get(omop.DRUGS.name, False)).cast(pl.Datetime("ms")),
        )  # fmt: skip
        row_filter.skip(pl.col("drug").is_null(), "drug without a name")
        row_filter.skip(pl.col("hadm_id").is_null(), "drug outside a visit")


def _read_markup(row_filter: RowFilter) -> None:
    """The text of notes that are RTF, HTML, or one line with ``\\n`` for its line breaks."""
    text = row_filter.frame["text"]
    for name, pattern, read in _MARKUP:
        rows = text.str.contains(pattern).fill_null(False).arg_true()
        if len(rows):
            row_filter.remarks[f"note in {name}: read as text"] += len(rows)
            text = text.scatter(rows, pl.Series(map(read, text.gather(rows)), dtype=pl.String))
    row_filter.frame = row_filter.frame.with_columns(text)


def _unescaped(text: str) -> str:
    return text.replace("\\r\\n", "\n").replace("\\n", "\n")
