"""From what a question says to the queries that are meant; what it leaves out is taken from the question before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from clinragen.catalog import variables
from clinragen.dialogue import cues
from clinragen.dialogue.names import Name
from clinragen.dialogue.reading import Reading
from clinragen.errors import UserError
from clinragen.knowledge.graph import ConceptGraph
from clinragen.questions.query import Kind, Query, Window

#: Variables that one question may ask about.
MOST_SUBJECTS = 6
_CONCEPTS = ("finding", "disease", "symptom", "drug", "procedure")
_EXTREMES = ("highest", "lowest")


@dataclass(frozen=True)
class Subjects:
    """What can be asked about in one stay.

    Attributes:
        graph: concepts and labels.
        measured: keys of the variables that were measured; of a name of several, the first of them is meant.
    """

    graph: ConceptGraph
    measured: Collection[str]

    def queries(self, reading: Reading, last: Query | None = None, hour: float | None = None) -> list[Query]:
        """The queries of a question, in reading order; none where it cannot be told what is meant.

        Args:
            reading: of the question.
            last: the query that was answered before.
            hour: of the measurement that its answer rests on.
        """
        if reading.hours_unread:
            return []  # an answer of other hours would be taken for that of those that were meant
        if reading.that_hour and hour is not None and reading.hour is None and reading.names:
            reading = replace(reading, hour=hour, kind="", extreme="", side="", moment="")
        subjects = self._named(reading)
        says_all = bool(reading.names or reading.strange or reading.grouped)
        if last is not None and not says_all and (reading.asks or reading.follows):
            subjects = [self._again(last)]
        carried = last if last is not None and (reading.follows or not reading.names) else None
        queries: list[Query] = []
        for subject in self._each(subjects)[:MOST_SUBJECTS]:
            try:
                query = self._query(reading, subject, carried)
            except UserError:  # hours that make no window, or a part that the kind does not have
                query = None
            if query is not None:
                queries += [query, *_other_side(query, reading)]
        return list(dict.fromkeys(queries))

    def _each(self, subjects: list[Name]) -> list[Name]:
        """The subjects with each panel's variables in its place, those measured; none where others are named."""
        single = [name for name in subjects if not name.all]
        if single:
            return single
        keys = [key for name in subjects for key in name.variables]
        return [Name(0, 0, "variable", (key,)) for key in [key for key in keys if key in self.measured] or keys[:1]]

    def _named(self, reading: Reading) -> list[Name]:
        """What the question is about: what it names for its kind, or else the variables, or else the concepts."""
        concepts = [name for name in reading.names if name.group in _CONCEPTS]
        if reading.kind in ("note", "why"):
            if concepts:
                return concepts
            return [name for name in reading.names if name.group == "variable"]
        return [name for name in reading.names if name.group == "variable"] or concepts

    def _again(self, last: Query) -> Name:
        """The subject of a query, as if the question had named it."""
        if last.kind == "note":
            kind = last.subject.partition(":")[0]
            group = "finding" if kind == "finding" else "drug" if kind == "drug" else "disease"
            parts = last.subject.split(":")
            if kind == "finding" and len(parts) == 3 and parts[1] in variables():
                return Name(0, 0, group, (parts[1],), last.subject, "below" if parts[2] == "low" else "above")
            return Name(0, 0, group, (), last.subject)
        if last.kind == "why":
            return Name(0, 0, "disease", (), f"phenotype:{last.subject}")
        return Name(0, 0, "variable", (last.subject,))

    def _query(self, reading: Reading, subject: Name, carried: Query | None) -> Query | None:
        carries = carried.kind if carried is not None and not _says_kind(reading) else ""
        if reading.kind == "why" or (carries == "why" and not subject.variables):
            label = self._label(subject)
            return Query("why", label) if label else self._of_variable(reading, subject, carried)
        if reading.kind == "note" or not subject.variables or (carries == "note" and not _measures(subject)):
            concept = self._concept(subject, reading, carried)
            if concept:
                return Query("note", concept)
            return None if reading.kind == "note" else self._of_variable(reading, subject, carried)
        return self._of_variable(reading, subject, carried)

    def _label(self, subject: Name) -> str:
        """The label that a name is of: itself, or what it is a kind of."""
        labels = self.graph.labels
        key = subject.concept.partition(":")[2]
        if subject.concept.startswith("phenotype:") and key in labels:
            return key
        if subject.concept in self.graph.nodes:
            for link in self.graph.out_of(subject.concept, ("is_a",)):
                kind, _, key = link.node.partition(":")
                if kind == "phenotype" and key in labels:
                    return key
        return ""

    def _concept(self, subject: Name, reading: Reading, carried: Query | None) -> str:
        """The concept that the note may mention; of a variable the finding on the side that was last asked about."""
        if subject.concept:
            return subject.concept if subject.concept in self.graph.nodes else ""
        side = reading.side or (carried.which if carried is not None and carried.kind == "range" else "") or ""
        low = carried is not None and (carried.kind == "lowest" or carried.which in ("lowest", "first_below"))
        sides = ("low", "high") if side == "below" or low else ("high", "low")
        for key in subject.variables:
            for each in sides:
                if (concept := f"finding:{key}:{each}") in self.graph.nodes:
                    return concept
        return ""

    def _of_variable(self, reading: Reading, subject: Name, carried: Query | None) -> Query | None:
        if not subject.variables:
            return None
        key = next((key for key in subject.variables if key in self.measured), subject.variables[0])
        window = self._window(reading, carried)
        if reading.kind == "compare" and len(reading.windows) == 1 and carried is not None and not carried.window.whole:
            return Query("compare", key, window=carried.window, other=window)
        if len(reading.windows) > 1 and reading.kind in ("compare", "", "trend", "mean", "highest", "lowest"):
            return Query("compare", key, window=reading.windows[0], other=reading.windows[1])
        if not _says_kind(reading) and carried is not None and carried.kind not in ("note", "why"):
            return _moved(carried, key, reading, window)
        if reading.kind == "count" and reading.extreme:
            return None  # how often beyond a number: a count of all measurements would be taken for it
        if reading.hour is not None and reading.kind in _EXTREMES and not (reading.extreme or reading.windows):
            return Query("value", key, "at", reading.hour)  # "how high was it at hour 6?"
        kind, which = _asked(reading, subject, key, carried)
        if reading.hour is not None and not reading.windows and which != "first":
            # "high at hour 6?" asks for the value there; a highest of one hour is of hours that were not understood
            return Query("value", key, "at", reading.hour) if kind in ("value", "range") else None
        return Query(kind, key, which, window=window)

    def _window(self, reading: Reading, carried: Query | None) -> Window:
        if reading.windows:
            return reading.windows[0]
        if reading.timed or carried is None or (reading.kind == "time" and reading.moment and reading.measuring):
            return Window()
        return carried.window


def _measures(subject: Name) -> bool:
    """Whether a name is that of what is measured, and of nothing that a note states."""
    return bool(subject.variables) and not subject.concept and not subject.side


def _says_kind(reading: Reading) -> bool:
    """Whether any word tells the kind of the query, beside hours."""
    return bool(reading.kind not in ("", "compare") or reading.extreme or reading.side or reading.moment)


def _moved(carried: Query, key: str, reading: Reading, window: Window) -> Query:
    """The query before, of another variable or other hours."""
    if reading.hour is not None:
        return Query("value", key, "at", reading.hour)
    if carried.kind == "compare":
        return replace(carried, subject=key)
    if carried.which == "at" and reading.windows:
        return Query("value", key, "last", window=window)
    return replace(carried, subject=key, window=window)


def _asked(reading: Reading, subject: Name, key: str, carried: Query | None) -> tuple[Kind, str | None]:
    """The kind of query that the words of a question ask for, and its ``which``."""
    extreme = _extreme(reading.extreme, key)
    side = _side(reading.side, key)
    if reading.kind == "time":
        return "time", _which_time(reading, extreme, subject.side, carried)
    if reading.kind == "count" and side:
        return "range", side
    beyond = bool(side) and reading.side not in ("either", subject.side)  # "fall below the range" asks of the range
    if reading.kind in ("count", "trend", "mean", *_EXTREMES) and not (reading.kind == "trend" and (extreme or beyond)):
        return reading.kind, None  # type: ignore[return-value]
    if extreme:
        return extreme, None  # type: ignore[return-value]
    if side and not (reading.moment and reading.side != subject.side):
        return "range", side
    if reading.moment:
        return "value", reading.moment
    if subject.side:
        return "range", subject.side
    return "value", "last"


def _other_side(query: Query, reading: Reading) -> list[Query]:
    """Whether a value is normal asks of both sides of the reference range, where it has both."""
    spec = variables().get(query.subject)
    if query.kind != "range" or reading.side != "either" or spec is None or spec.low is None or spec.high is None:
        return []
    return [replace(query, which="below" if query.which == "above" else "above")]


def _extreme(word: str, key: str) -> str:
    """``highest`` or ``lowest``; the worst and the best value depend on the variable."""
    if word not in ("worst", "best"):
        return word
    return "lowest" if (word == "worst") == (key in cues.words("worse_when_low")) else "highest"


def _side(word: str, key: str) -> str:
    """``above`` or ``below``. Whether a value is normal is asked of the side on which the variable is worse."""
    if word != "either":
        return word
    spec = variables()[key]
    if spec.high is None or (key in cues.words("worse_when_low") and spec.low is not None):
        return "below"
    return "above"


def _which_time(reading: Reading, extreme: str, side: str, carried: Query | None) -> str:
    """Which time is asked for; of a question that does not say it, that of the answer before."""
    if extreme:
        return extreme
    if side or reading.side in ("above", "below"):
        return f"first_{side or reading.side}"
    beyond = carried is not None and (carried.kind == "range" or (carried.which or "").startswith("first_"))
    if reading.moment and not (beyond and reading.moment == "first" and not reading.names and not reading.measuring):
        return reading.moment
    if carried is not None:
        if carried.kind in _EXTREMES:
            return carried.kind
        if carried.kind == "range":
            return f"first_{carried.which}"
        if carried.kind == "value" and carried.which in ("first", "last"):
            return carried.which
        if carried.kind == "time" and carried.which:
            return carried.which
    return "last"
