"""Estimate the prompts, tokens, time and cost of a run; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clinragen.teacher.prompts import MOST_WORDS, Prompts
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.stays import StayRecord
from clinragen.teacher.tokens import least_tokens

#: Tokens per word or sign of clinical English, over common tokenizers; ``least_tokens`` counts 0.8 of these.
_TOKENS_PER_PIECE = 1.25
_TOKENS_PER_WORD = 1.5


@dataclass
class Estimate:
    """Totals over a cohort, for one answer per rationale; tokens are estimates to about a fifth."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    longest_prompt: int = 0

    def lines(self, settings: TeacherSettings) -> list[str]:
        """The estimate as text."""
        lines = [
            f"{self.requests} requests, about {self.prompt_tokens} tokens to read (the longest prompt "
            f"{self.longest_prompt}) and at most about {self.completion_tokens} to write",
        ]
        if settings.rate > 0:
            lines.append(f"time at {settings.rate:g} answers/s: {self.requests / settings.rate / 3600:.1f} h")
        else:
            lines.append("time: set rate to the answers per second that your server gives (see benchmarks)")
        cost = (self.prompt_tokens * settings.price_prompt + self.completion_tokens * settings.price_completion) / 1e6
        lines.append(f"cost: {cost:.2f} USD" if cost else "cost: none set (price_prompt, price_completion)")
        retries = settings.samples if settings.mode == "reason" else 1 + settings.regenerate
        lines.append(f"at worst {retries} times as much, if every answer has to be asked for again")
        return lines


def estimate(
    stays: Iterable[StayRecord], prompts: Prompts, *, structured: bool, show: int = 0
) -> tuple[Estimate, list[str]]:
    """Totals, and the first ``show`` stays' prompts as text."""
    total, rendered = Estimate(), []
    for number, stay in enumerate(stays):
        for kind in ("note", "series"):
            messages = prompts.messages(stay, kind, structured=structured)
            tokens = int(least_tokens(messages) / 0.8 * _TOKENS_PER_PIECE)
            if kind == "series":  # the prompt will also contain R_m
                tokens += int(MOST_WORDS["note"] * _TOKENS_PER_WORD)
            total.requests += 1
            total.prompt_tokens += tokens
            total.completion_tokens += int(MOST_WORDS[kind] * _TOKENS_PER_WORD)
            total.longest_prompt = max(total.longest_prompt, tokens)
            if number < show:
                body = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
                rendered.append(f"===== stay {stay.stay_id}, {kind} =====\n{body}")
    return total, rendered
