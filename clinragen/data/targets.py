"""The text the student writes: two rationales and the diagnoses, as token ids.

Targets are joined from separately tokenised pieces, never tokenised as one string, so that constrained decoding uses
the same token boundaries as training, for any tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from clinragen.choices import Target as Section
from clinragen.choices import TargetOrder
from clinragen.errors import unknown_choice
from clinragen.tasks import ListWording

MARKERS: dict[Section, str] = {
    "note": " Note rationale:",
    "series": " Series rationale:",
    "diagnoses": ListWording().marker,
}
NO_DIAGNOSIS = ListWording().nothing
ORDERS: dict[TargetOrder, tuple[Section, ...]] = {
    "rationales_first": ("note", "series", "diagnoses"),
    "diagnoses_first": ("diagnoses", "note", "series"),  # the paper's order, eq. 4
}


class Target(NamedTuple):
    """Token ids, whether a rationale was truncated, and the position of each rationale in ``ids``."""

    ids: list[int]
    shortened: bool
    rationales: dict[str, range]


@dataclass(frozen=True)
class TargetFormat:
    """How a target is spelled for one tokenizer and one closed list of label names.

    ``sections`` is a subset of note, series and diagnoses in the order of writing; ``wording`` is the task's, of the
    list, which is called diagnoses for every task.
    """

    tokenizer: Any
    label_names: tuple[str, ...]
    sections: tuple[Section, ...]
    wording: ListWording = field(default_factory=ListWording)
    markers: dict[str, list[int]] = field(init=False)
    labels: list[list[int]] = field(init=False)
    none: list[int] = field(init=False)
    separator: list[int] = field(init=False)
    end: list[int] = field(init=False)

    def __post_init__(self) -> None:
        def ids(text: str) -> list[int]:
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]

        object.__setattr__(self, "markers", {name: ids(text) for name, text in markers_of(self.wording).items()})
        object.__setattr__(self, "labels", [ids(" " + name) for name in self.label_names])
        object.__setattr__(self, "none", ids(" " + self.wording.nothing))
        object.__setattr__(self, "separator", ids(";"))
        object.__setattr__(self, "end", ids("."))

    def opening(self, section: int) -> list[int]:
        """The ids that open a section (by its index); the end of sequence after the last."""
        if section < len(self.sections):
            return list(self.markers[self.sections[section]])
        return [self.tokenizer.eos_token_id]

    @property
    def fixed(self) -> int:
        """Number of tokens in every target: the markers and the end of sequence."""
        return sum(len(self.markers[name]) for name in self.sections) + 1

    def diagnoses(self, present: Sequence[bool]) -> list[int]:
        """Ids of the diagnosis list, closed by a full stop."""
        items = [ids for ids, flag in zip(self.labels, present, strict=True) if flag] or [self.none]
        joined: list[int] = []
        for position, ids in enumerate(items):
            joined += (self.separator if position else []) + ids
        return joined + self.end

    def encode(self, note: str, series: str, present: Sequence[bool], budget: int, *, eligible: bool = True) -> Target:
        """The target with the end-of-sequence token; rationales are truncated if needed to fit ``budget``.

        The diagnoses are never truncated; rationales are, the longer one first.

        Args:
            note: the rationale of the note.
            series: the rationale of the series.
            present: whether each label applies, [L], in the order of ``labels``.
            budget: most tokens of the target.
            eligible: whether the list is known; if not, the target is the rationales without an end of sequence, so
                that nothing is learned about what follows them.
        """
        if not eligible:
            rationales_alone = replace(self, sections=tuple(name for name in self.sections if name != "diagnoses"))
            target = rationales_alone.encode(note, series, present, budget)
            return target if rationales_alone.sections == self.sections else target._replace(ids=target.ids[:-1])
        texts = {"note": note, "series": series}
        pieces = {
            name: self.diagnoses(present)
            if name == "diagnoses"
            else self.tokenizer(" " + texts[name], add_special_tokens=False)["input_ids"]
            for name in self.sections
        }
        rationales = [name for name in self.sections if name != "diagnoses"]
        excess = self.fixed + sum(map(len, pieces.values())) - budget
        shortened = excess > 0
        while excess > 0 and rationales:
            longest = max(rationales, key=lambda name: len(pieces[name]))
            if not pieces[longest]:
                break
            pieces[longest] = pieces[longest][:-1]
            excess -= 1
        joined: list[int] = []
        places: dict[str, range] = {}
        for name in self.sections:
            joined += self.markers[name] + pieces[name]
            if name != "diagnoses":
                places[name] = range(len(joined) - len(pieces[name]), len(joined))
        return Target([*joined, self.tokenizer.eos_token_id], shortened, places)


def markers_of(wording: ListWording) -> dict[Section, str]:
    """The marker that opens each section of a target, by section."""
    return {**MARKERS, "diagnoses": wording.marker}


def sections_for(targets: Sequence[Section], order: TargetOrder) -> tuple[Section, ...]:
    """The target sections of a stage in the order of writing.

    Raises:
        UserError: an unknown order or target.
    """
    if order not in ORDERS:
        raise unknown_choice("target order", order, ORDERS)
    for target in targets:
        if target not in MARKERS:
            raise unknown_choice("target", target, MARKERS)
    return tuple(name for name in ORDERS[order] if name in targets)
