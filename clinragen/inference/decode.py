"""Constrained decoding: restrict a language model to the report grammar, and parse reports.

The grammar is ``marker text ... Diagnoses: label; label.``: free text between the markers, and after the diagnoses
marker only names of the closed list, each at most once and in catalogue order. Nothing is matched by similarity. The
text of a grounded section follows its own grammar (``grounded``) of statements that the stay's chart supports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from clinragen.data.targets import TargetFormat
from clinragen.inference.grounded import Grounded

#: Weight (exponent) of the head's probability relative to the language model's, since small language models are
#: overconfident. On validation stays of the synthetic hospital, when a branch was scored by the sum of its
#: continuations, the micro F1 of the written list was .695 at 1, .726 at 3 and .736 at 8.
HEAD_WEIGHT = 8.0


@dataclass(frozen=True)
class DecodedReport:
    """A parsed report. ``parsed`` is false if a section is missing or the list is not closed."""

    rationales: dict[str, str]
    diagnoses: list[int]
    parsed: bool


@dataclass
class _State:
    """State of one sequence: the section (index), its tokens so far, tokens still to be forced."""

    section: int = -1
    tokens: list[int] | None = None
    forced: list[int] | None = None


class ReportGrammar(LogitsProcessor):
    """Masks every token that would leave the report grammar.

    Args:
        target: markers, labels and their order.
        text_budget: most tokens of each free-text section.
        skip: tokens at the start of a sequence that were given to the model.
        beliefs: probability of each label for each sequence, [B, L], above 0.5 if the label is predicted; or None.
            Probabilities of 0 and 1 determine the list. Otherwise the head's probability, to the power of
            ``HEAD_WEIGHT``, is multiplied with the language model's wherever the list branches (a product of experts),
            so that the written diagnoses agree with the probabilities.
        grounded: the grammar of each sequence by section; other sections are unconstrained.
        beams: sequences of each stay, one after the other, which beam search reorders at each step; not for grounded
            sections.
    """

    def __init__(
        self,
        target: TargetFormat,
        text_budget: int,
        skip: int,
        beliefs: np.ndarray | None = None,
        grounded: Mapping[str, Sequence[Grounded[Any]]] | None = None,
        beams: int = 1,
    ):
        assert beams == 1 or not grounded, "a grounded text is tracked along one sequence"
        self.target = target
        self.text_budget = text_budget
        self.skip = skip
        self.grounded = grounded or {}
        self.eos: int = target.tokenizer.eos_token_id
        self.states: list[_State] = []
        self.beams = beams
        self._rows: list[list[int]] = []  # the sequences of the states, where beams may reorder them
        self.beliefs = None if beliefs is None else beliefs.repeat(beams, axis=0).tolist()

    def of_row(self, row: int) -> Callable[[], ReportGrammar]:
        """What makes the grammar of one sequence alone, in its initial state; not for grounded text."""
        beliefs = None if self.beliefs is None else np.array([self.beliefs[row]])
        return partial(ReportGrammar, self.target, self.text_budget, 0, beliefs)

    @property
    def longest(self) -> int:
        """Tokens of the longest report that the grammar allows: every section full and every label listed."""
        target = self.target
        listed = sum(len(label) + len(target.separator) for label in target.labels) + len(target.end)
        texts = {name: max(text.limit.tokens for text in options) for name, options in self.grounded.items()}
        bodies = sum(listed if name == "diagnoses" else texts.get(name, self.text_budget) for name in target.sections)
        return bodies + sum(len(target.markers[name]) for name in target.sections) + 1

    def begin(self, texts: int) -> None:
        """Stand before the first token of so many texts."""
        self.states = [_State(tokens=[], forced=self.target.opening(0)) for _ in range(texts)]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores of the next tokens [B, vocabulary] after ids [B, S], -inf where the grammar forbids a token."""
        rows = input_ids[:, self.skip :].tolist()
        if not rows[0]:
            self.begin(len(rows))
        else:
            if self.beams > 1:
                self.states = self._followed(rows)
            for position, row in enumerate(rows):
                self._move(position, row[-1])
        self._rows = rows if self.beams > 1 else []
        for position in range(len(self.states)):
            allowed = self._options(position)
            if allowed is None:
                if self._must_go_on(position):
                    scores[position, self.eos] = -torch.inf
                continue
            ids = list(allowed) or [self.eos]  # nothing can follow what a beam without any probability holds
            if len(ids) == 1:
                scores[position] = -torch.inf
                scores[position, ids[0]] = 0.0
                continue
            log_probs = self._weighed(position, scores[position], allowed)
            scores[position] = -torch.inf
            scores[position, ids] = log_probs.to(scores.dtype)
        return scores

    def certain(self, text: int) -> list[int]:
        """Move a text on by the tokens that have to follow, up to the next choice or the end of sequence."""
        tokens: list[int] = []
        while tokens[-1:] != [self.eos] and (allowed := self._options(text)) is not None and len(allowed) == 1:
            tokens += allowed
            self._move(text, tokens[-1])
        return tokens

    def choose(self, text: int, logits: Tensor) -> int:
        """Move a text on by the token that is best by logits [vocabulary], where there is a choice."""
        allowed = self._options(text)
        if allowed is None:
            if self._must_go_on(text):
                logits[self.eos] = -torch.inf
            token = int(logits.argmax())
        else:
            ids = sorted(allowed)  # of equals the first of the vocabulary
            token = ids[int(self._weighed(text, logits, {each: allowed[each] for each in ids}).argmax())]
        self._move(text, token)
        return token

    def _options(self, position: int) -> dict[int, float] | None:
        """Ids that may follow in a sequence, each with the probability of its best completion; None for any."""
        state = self.states[position]
        grounded = self._grounded(position, state)
        return grounded.allowed() if grounded is not None else self._allowed(state, position)

    def _must_go_on(self, position: int) -> bool:
        """Whether a free text may not end the sequence: sections are missing."""
        return self.states[position].section + 1 < len(self.target.sections)

    def _weighed(self, position: int, logits: Tensor, allowed: Mapping[int, float]) -> Tensor:
        """Log-probabilities of the allowed ids by logits [vocabulary], times what is believed of each."""
        log_probs = logits[[*allowed]].float().log_softmax(0).nan_to_num(nan=0.0, neginf=-1e4)
        masses = [math.log(max(mass, 1e-30)) for mass in allowed.values()]
        weight = HEAD_WEIGHT if self._grounded(position, self.states[position]) is None else 1.0
        return log_probs + weight * torch.tensor(masses, device=log_probs.device)

    def _move(self, position: int, token: int) -> None:
        """Move a sequence on by a token."""
        state = self.states[position]
        grounded = self._grounded(position, state)
        self._advance(position, token, None if grounded else self.text_budget)
        if grounded is not None and grounded is self._grounded(position, state):
            grounded.advance(token)

    def _followed(self, rows: list[list[int]]) -> list[_State]:
        """The state of the sequence that each row continues, a copy for each."""
        before = {
            (at // self.beams, *row): state for at, (row, state) in enumerate(zip(self._rows, self.states, strict=True))
        }
        parents = [before[position // self.beams, *row[:-1]] for position, row in enumerate(rows)]
        return [_State(each.section, [*(each.tokens or ())], [*(each.forced or ())]) for each in parents]

    def _grounded(self, position: int, state: _State) -> Grounded[Any] | None:
        """The grammar of the current section, if it has one."""
        if state.forced or not 0 <= state.section < len(self.target.sections):
            return None
        texts = self.grounded.get(self.target.sections[state.section])
        return texts[position] if texts else None

    def _advance(self, position: int, token: int, budget: int | None) -> None:
        """Advance by a token; ``budget`` is the limit of free text, None if a grammar ends it."""
        state = self.states[position]
        assert state.tokens is not None
        if state.forced:
            state.forced.pop(0)
            if not state.forced:
                state.section, state.tokens = state.section + 1, []
                state.forced = self._sure_list(position)
            return
        if state.section >= len(self.target.sections):
            return
        state.tokens.append(token)
        if self.target.sections[state.section] == "diagnoses":
            if self._list_closed(state.tokens):
                state.forced = self.target.opening(state.section + 1)
            return
        following = self.target.opening(state.section + 1)
        if len(state.tokens) >= len(following) and state.tokens[-len(following) :] == following:
            state.section, state.tokens = state.section + 1, []
            state.forced = self._sure_list(position)
        elif budget is not None and (token == self.eos or len(state.tokens) >= budget):
            state.forced = following

    def _sure_list(self, position: int) -> list[int] | None:
        """The rest of a list of diagnoses that begins and that probabilities of 0 and 1 determine, and what follows."""
        section, beliefs = self.states[position].section, self.beliefs[position] if self.beliefs else [0.5]
        if self.target.sections[section : section + 1] != ("diagnoses",) or not {0.0, 1.0}.issuperset(beliefs):
            return None
        return self.target.diagnoses([belief == 1 for belief in beliefs]) + self.target.opening(section + 1)

    def _allowed(self, state: _State, position: int) -> dict[int, float] | None:
        """Allowed ids with the head's probability of each; None for free text (which may end in the last section)."""
        beliefs = self.beliefs[position] if self.beliefs else None
        assert state.tokens is not None
        if state.forced:
            return {state.forced[0]: 1.0}
        if state.section >= len(self.target.sections):
            return {self.eos: 1.0}
        if self.target.sections[state.section] == "diagnoses":
            allowed = self._continuations(state.tokens, beliefs or [0.5] * len(self.target.labels))
            return {token: mass for token, mass in allowed.items() if mass} if beliefs else dict.fromkeys(allowed, 1.0)
        return None

    def _list_closed(self, tokens: list[int]) -> bool:
        return read_list(self.target, tokens) is not None

    def _continuations(self, tokens: list[int], beliefs: list[float]) -> dict[int, float]:
        """Ids that continue ``tokens`` to a prefix of a valid list, each with the probability of its best completion.

        The probability that label j follows label i is ``p_j * prod(1 - p_k for i < k < j)``.
        """
        allowed: dict[int, float] = {}
        separator, end = self.target.separator, self.target.end
        count = len(self.target.labels)
        none = [1.0] * (count + 1)  # none[i]: the probability that no label from i on is present
        for index in reversed(range(count)):
            none[index] = none[index + 1] * (1 - beliefs[index])

        def offer(whole: list[int], tail: list[int], mass: float) -> None:
            if len(tail) < len(whole) and whole[: len(tail)] == tail:
                allowed[whole[len(tail)]] = max(allowed.get(whole[len(tail)], 0.0), mass)

        offer(self.target.none + end, tokens, none[0])
        for start, last in _starts(self.target, tokens):
            tail = tokens[start:]
            skipped = 1.0
            for index in range(last + 1, count):
                label, mass = self.target.labels[index], skipped * beliefs[index]
                offer(label + end, tail, mass * none[index + 1])
                if index + 1 < count:  # nothing can follow the last label
                    offer(label + separator, tail, mass * (1 - none[index + 1]))
                skipped *= 1 - beliefs[index]
        return allowed


def _starts(target: TargetFormat, tokens: list[int]) -> list[tuple[int, int]]:
    """Positions at which a label may start, each with the previous label (-1 for none)."""
    starts = [(0, -1)]
    for start, last in starts:
        for index in range(last + 1, len(target.labels)):
            whole = target.labels[index] + target.separator
            if tokens[start : start + len(whole)] == whole:
                starts.append((start + len(whole), index))
    return starts


def read_list(target: TargetFormat, tokens: list[int]) -> list[int] | None:
    """Label indices of a closed diagnosis list, or None if the ids are not one."""
    if tokens == target.none + target.end:
        return []
    path: dict[int, list[int]] = {0: []}
    for start, _ in _starts(target, tokens):
        indices = path.get(start)
        if indices is None:
            continue
        first = indices[-1] + 1 if indices else 0
        for index in range(first, len(target.labels)):
            label = target.labels[index]
            if tokens[start:] == label + target.end:
                return [*indices, index]
            whole = label + target.separator
            if tokens[start : start + len(whole)] == whole:
                path[start + len(whole)] = [*indices, index]
    return None


def read_report(target: TargetFormat, tokens: list[int]) -> DecodedReport:
    """Split generated ids at the markers and read the diagnosis list."""
    eos = target.tokenizer.eos_token_id
    if eos in tokens:
        tokens = tokens[: tokens.index(eos)]
    bounds = []
    position = 0
    for name in target.sections:
        offset = _find(tokens, target.markers[name], position)
        if offset < 0:
            return DecodedReport({}, [], parsed=False)
        bounds.append((name, offset, offset + len(target.markers[name])))
        position = bounds[-1][2]
    rationales: dict[str, str] = {}
    diagnoses: list[int] | None = [] if "diagnoses" not in target.sections else None
    for number, (name, _, start) in enumerate(bounds):
        stop = bounds[number + 1][1] if number + 1 < len(bounds) else len(tokens)
        if name == "diagnoses":
            diagnoses = read_list(target, tokens[start:stop])
        else:
            rationales[name] = " ".join(target.tokenizer.decode(tokens[start:stop], skip_special_tokens=True).split())
    parsed = diagnoses is not None and all(rationales.values())
    return DecodedReport(rationales, diagnoses or [], parsed)


def _find(tokens: list[int], piece: list[int], start: int) -> int:
    for position in range(start, len(tokens) - len(piece) + 1):
        if tokens[position : position + len(piece)] == piece:
            return position
    return -1
