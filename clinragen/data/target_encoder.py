"""Encode a teacher's rationales and the labels of a stay as the token ids that the student learns to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from clinragen.cohort.folder import Cohort
from clinragen.data.soft_targets import Alignment, Place, TeacherTokens
from clinragen.data.targets import TargetFormat
from clinragen.errors import UserError


class EncodedTarget(NamedTuple):
    """One target of a stay: its token ids, and the teacher's probabilities at some positions."""

    ids: list[int]
    soft: list[Place]


@dataclass
class TargetEncoder:
    """Encodes the targets of stays, one stay at a time.

    Attributes:
        cohort: holds the rationales.
        teacher: name of the rationale set.
        target: spelling and sections of a target.
        budget: most tokens of a target (``model.max_target_tokens``).
        separate: whether rationales and labels are targets of their own.
        with_soft_targets: whether the teacher's token probabilities are aligned, where it has them.
        shortened: number of truncated rationales so far.
    """

    cohort: Cohort
    teacher: str
    target: TargetFormat
    budget: int
    separate: bool = False
    with_soft_targets: bool = False
    shortened: int = 0
    _texts: dict[str, dict[int, list[str]]] = field(init=False)
    _formats: list[TargetFormat] = field(init=False)
    _tokens: TeacherTokens | None = field(init=False)

    def __post_init__(self) -> None:
        self._texts = {"note": {}, "series": {}}
        if self._kinds:  # the list of labels needs none
            for stay, kind, text in self.cohort.rationales(self.teacher).select("stay_id", "kind", "text").iter_rows():
                self._texts[kind].setdefault(stay, []).append(text)
        self._formats = [self.target]
        if self.separate and self._kinds and "diagnoses" in self.target.sections:
            self._formats = [replace(self.target, sections=sections) for sections in (self._kinds, ("diagnoses",))]
        tokenizer = self.target.tokenizer
        self._tokens = TeacherTokens(self.cohort.logprobs(self.teacher), tokenizer) if self.with_soft_targets else None

    @property
    def alignment(self) -> Alignment:
        """Alignment counts of the targets so far."""
        return self._tokens.alignment if self._tokens else Alignment()

    @property
    def _kinds(self) -> tuple[str, ...]:
        """The rationales to write, in order: note, series."""
        return tuple(kind for kind in ("note", "series") if kind in self.target.sections)

    def encode(self, stay: int, present: Sequence[bool], *, eligible: bool) -> list[EncodedTarget]:
        """The targets of a stay: one for each rationale of the kind with the most, cycling through the other kind.

        Args:
            stay: id of the stay.
            present: whether each label applies, [L].
            eligible: whether the labels are known; if not, their list is left out.

        Raises:
            UserError: a rationale is missing, or nothing of a target fits.
        """
        self._check(stay)
        rationales = {kind: texts.get(stay, [""]) for kind, texts in self._texts.items()}
        turns = max((len(rationales[kind]) for kind in self._kinds), default=1)
        targets = []
        for turn in range(turns):
            texts = {kind: choices[turn % len(choices)] for kind, choices in rationales.items()}
            for target in self._formats:
                if eligible or target.sections != ("diagnoses",):
                    targets.append(self._encode(target, stay, texts, present, eligible))
        return targets

    def _check(self, stay: int) -> None:
        """Refuse a stay without a rationale of each kind to write."""
        for kind in self._kinds:
            if stay not in self._texts[kind]:
                raise UserError(
                    f"{self.cohort.paths.rationales(self.teacher)}: stay {stay} has no {kind} rationale: "
                    f"run `clinragen teach --teacher {self.teacher}` on this cohort again"
                )

    def _encode(
        self, target: TargetFormat, stay: int, texts: dict[str, str], present: Sequence[bool], eligible: bool
    ) -> EncodedTarget:
        ids, shortened, places = target.encode(texts["note"], texts["series"], present, self.budget, eligible=eligible)
        if len(ids) <= target.fixed:
            raise UserError(
                f"stay {stay}: nothing of its target fits into model.max_target_tokens {self.budget}: raise it"
            )
        self.shortened += shortened
        return EncodedTarget(ids, self._tokens.places(stay, texts, places) if self._tokens else [])
