"""A trie of token phrases with longest match, for names in notes and cue words of claims.

A phrase is written in any case, or only in exactly one ("=PE" is pulmonary embolism, "pe" is no word). British spelling
is derived from American.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_END = ""  # trie key of a phrase's end; no token is empty
_BRITISH = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(?<!a)emi(a|c)(?=\b|s\b)", r"aemi\1"),
        (r"\bhem(?=[ao])", "haem"),
        (r"\bedema", "oedema"),
        (r"rrhea\b", "rrhoea"),
        (r"pnea\b", "pnoea"),
        (r"pneic\b", "pnoeic"),
        (r"ischem", "ischaem"),
        (r"\besophag", "oesophag"),
        (r"leuko", "leuco"),
        (r"\banemi", "anaemi"),
        (r"labored", "laboured"),
        (r"ionized", "ionised"),
    )
]
_AMERICAN = re.compile("|".join(pattern.pattern for pattern, _ in _BRITISH), re.IGNORECASE)


class Meanings[M]:
    """The meanings of a phrase: in any case, or in exactly one."""

    __slots__ = ("any_case", "exact")

    def __init__(self) -> None:
        self.any_case: M | None = None
        self.exact: dict[str, M] | None = None


class PhraseTrie[M]:
    """A trie of phrases, each a sequence of tokens, with their meanings.

    >>> words = PhraseTrie[str]()
    >>> words.at(["heart", "rate"]).any_case = "pulse"
    >>> words.at(["heart"]).any_case = "organ"
    >>> words.longest(["the", "heart", "rate"], 1, "the heart rate", [0, 4, 10])
    (3, 'pulse')
    """

    def __init__(self) -> None:
        self._trie: dict[str, Any] = {}

    def at(self, tokens: Sequence[str]) -> Meanings[M]:
        """The meanings of a phrase, to read or to set; a new phrase has none yet."""
        node = self._trie
        for token in tokens:
            node = node.setdefault(token, {})
        meanings = node.get(_END)
        if meanings is None:
            meanings = node[_END] = Meanings()
        return meanings

    def longest(self, tokens: Sequence[str], position: int, text: str, starts: Sequence[int]) -> tuple[int, M] | None:
        """The longest phrase that begins at a token, as (index after its last token, meaning); None without one.

        Args:
            tokens: tokens of a text, in the form in which phrases are added.
            position: index of the first token of the phrase.
            text: the original text.
            starts: the offset in the text at which each token starts.
        """
        node = self._trie.get(tokens[position])
        if node is None:
            return None
        match, ahead, count = None, position + 1, len(tokens)
        while True:
            meanings = node.get(_END)
            if meanings is not None:
                meaning = meanings.any_case
                if meanings.exact:
                    written = text[starts[position] : starts[ahead - 1] + len(tokens[ahead - 1])]
                    meaning = meanings.exact.get(squeezed(written), meaning)
                if meaning is not None:
                    match = ahead, meaning
            if ahead == count:
                return match
            node = node.get(tokens[ahead])
            if node is None:
                return match
            ahead += 1


def squeezed(form: str) -> str:
    """A form with one blank for each run of blanks or hyphens, for the comparison of exact forms."""
    return " ".join(form.replace("-", " ").split())


def british(form: str) -> set[str]:
    """British spellings of an American form; none if the spelling is the same.

    For a form with several such words, each replaced alone and all together, since writers mix spellings.

    >>> sorted(british("hyperkalemia")), sorted(british("leukocytosis")), sorted(british("low sodium"))
    (['hyperkalaemia'], ['leucocytosis'], [])
    >>> sorted(british("ischemic edema"))
    ['ischaemic edema', 'ischaemic oedema', 'ischemic oedema']
    """
    if _AMERICAN.search(form) is None:
        return set()
    every = form
    spellings = set()
    for pattern, replacement in _BRITISH:
        if pattern.search(form) is not None:
            spellings.add(pattern.sub(replacement, form))
            every = pattern.sub(replacement, every)
    return spellings | {every}
