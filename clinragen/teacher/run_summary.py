"""Counts and a readable summary of a run of an LLM teacher, without patient text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from clinragen.cohort.rationale_authors import MOST_DROPPED
from clinragen.schema import RATIONALE_KINDS
from clinragen.teacher.answers import REMEDIES
from clinragen.teacher.rationale_set import Coverage

#: How a rationale was obtained, best first. ``missing``: no answer arrived, so another run may still get one.
Way = Literal["as written", "regenerated", "edited", "dropped", "missing"]
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass
class Tally:
    """Counts of a run.

    Attributes:
        ways: (kind, way) -> number of rationales.
        rejected: counts of rejected answers by reason.
        missing: counts of missing rationales by reason.
        verdicts: (kind, verdict) -> number of claims in first drafts.
        taught: the same for the accepted rationales.
        coverage: listed diagnoses, and those with a ground in an accepted rationale.
        requests, reused: requests sent, and answers that were already in the journal.
        tokens: prompt and completion tokens of the requests sent.
        served_by: the server's name of its model, with the number of answers.
    """

    ways: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    taught: Counter[tuple[str, str]] = field(default_factory=Counter)
    coverage: Coverage = field(default_factory=Coverage)
    requests: int = 0
    reused: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    served_by: Counter[str] = field(default_factory=Counter)


@dataclass
class RunSummary(Tally):
    """Results of a run, and what to do next.

    Attributes:
        stays: number of requested stays.
        retried: counts of retries by reason.
        most_dropped: allowed share of rationales that fall back to the evidence teacher.
    """

    stays: int = 0
    retried: Counter[str] = field(default_factory=Counter)
    most_dropped: float = MOST_DROPPED

    @property
    def fallen_back(self) -> int:
        """Number of rationales that are not the teacher's, once all are settled or abandoned."""
        return self._count("dropped") + self._count("missing")

    @property
    def dropped_share(self) -> float:
        """Share of fallbacks among all rationales."""
        return self.fallen_back / max(1, self.ways.total())

    @property
    def too_many_dropped(self) -> bool:
        """Whether this share exceeds the allowed one."""
        return self.dropped_share > self.most_dropped

    @property
    def complete(self) -> bool:
        """Whether every rationale is settled."""
        return not self._count("missing")

    def lines(self) -> list[str]:
        """The summary as text."""
        return [*self._counts_lines(), *self._outcome_lines()]

    def _counts_lines(self) -> list[str]:
        lines = [f"{self.stays} stays; {self.requests} answers received, {self.reused} taken from the journal"]
        for kind in RATIONALE_KINDS:
            ways = ", ".join(f"{self.ways[kind, way]} {way}" for way in WAYS if self.ways[kind, way])
            claims = {verdict: count for (about, verdict), count in sorted(self.verdicts.items()) if about == kind}
            lines += [f"{kind:<6}  {ways}", f"        claims of first drafts: {_listed(claims) or 'none'}"]
        titled = {"sent again": self.retried, "not in form": self.rejected, "without answer": self.missing}
        lines += [f"{title}: {_listed(counts)}" for title, counts in titled.items() if counts]
        lines += [f"{reason}: {remedy}" for reason, remedy in REMEDIES.items() if self.rejected[reason]]
        if self.tokens:
            lines.append(f"tokens: {self.tokens['prompt_tokens']} read, {self.tokens['completion_tokens']} written")
        return lines

    def _outcome_lines(self) -> list[str]:
        """Lines that say what to do next, if anything."""
        if not self.complete:
            return [
                f"{self._count('missing')} rationales are still missing. Answers so far are kept: run the same command "
                "again for the rest, or `clinragen teach export` to write the table without them"
            ]
        if self.too_many_dropped:
            return [
                f"{self.fallen_back} of {self.ways.total()} rationales fell back to the evidence teacher "
                f"({100 * self.dropped_share:.1f} %, more than most_dropped={self.most_dropped:g}): the table is "
                "hardly the model's; the reasons are above"
            ]
        return []

    def _count(self, way: Way) -> int:
        return sum(self.ways[kind, way] for kind in RATIONALE_KINDS)


def _listed(counts: Mapping[str, int]) -> str:
    """Counts as text, largest first."""
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
