"""The cue data: every example has its expected reading, and every word is found with its meaning."""

import pytest
from whole_graph import GRAPH

from clinragen.errors import UserError
from clinragen.verification import cues
from clinragen.verification.cue_phrases import CuePhrases
from clinragen.verification.cues import examples, patterns, words
from clinragen.verification.figures import FORMS, SPOKEN
from clinragen.verification.reader import SeriesReader

READER = SeriesReader(GRAPH)
PHRASES = CuePhrases(GRAPH)
EXAMPLES = [
    *examples(),
    *((f"figures: {form.name}", *example) for form in (SPOKEN, *FORMS) for example in form.examples.items()),
]
SECTIONS = ("names", "terms", "absent", "bounded", "mirrored", "extremes", "others", "states", "trends", "often",
            "severity", "numbers", "about", "denied", "linking")  # fmt: skip


@pytest.mark.parametrize(("entry", "sentence", "reading"), EXAMPLES, ids=[f"{e[0]}: {e[1]}" for e in EXAMPLES])
def test_an_example_is_read_as_its_entry_says(entry, sentence, reading):
    assert ("; ".join(map(str, READER.read(sentence))) or "nothing") == reading


@pytest.mark.parametrize("section", SECTIONS)
def test_every_word_is_found_whole_and_with_its_meaning(section):
    for entry in words(section):
        for word in entry.words:
            written = word.removeprefix("=") if word[1:2].isalpha() else word
            [cue] = PHRASES.scan(written)
            assert cue.end - cue.start >= len(written) - 1, word  # a last full stop is no part of a phrase
            meaning = {
                "names": lambda cue=cue: ", ".join(cue.value.variables),
                "terms": lambda cue=cue: f"{', '.join(cue.value.variables)} {' '.join(cue.value.sides)}",
                "others": lambda cue=cue, entry=entry: entry.means if not cue.value.variables else "a variable",
            }.get(section, lambda cue=cue, entry=entry: entry.means if cue.kind == "head" else cue.value)
            assert meaning() == entry.means, word


def test_every_entry_has_an_example():
    for section in (*SECTIONS, "elsewhere", "fillers"):
        assert all(entry.examples and entry.words for entry in words(section)), section
    assert all(form.examples for form in (SPOKEN, *FORMS))


def broken(monkeypatch, file, contents):
    monkeypatch.setattr(cues, "_file", lambda name: contents if name == file else {})
    cues.words.cache_clear()


def test_an_entry_with_other_keys_is_refused_with_its_file_and_section(monkeypatch):
    broken(monkeypatch, "words", {"states": [{"means": "high", "word": ["high"], "examples": {}}]})
    with pytest.raises(UserError, match=r"words\.yaml: states: an entry has means, word, examples: expected"):
        words("states")
    cues.words.cache_clear()


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "is no pattern"), ("{hour} ago", "no part 'hour'")], ids=["unclosed", "unknown part"]
)
def test_a_pattern_that_cannot_be_read_is_refused_with_its_file(monkeypatch, pattern, message):
    entry = {"means": "hour", "pattern": pattern, "examples": {}}
    broken(monkeypatch, "times", {"parts": {}, "times": [entry]})
    with pytest.raises(UserError, match=rf"times\.yaml.*{message}"):
        patterns("times", "times")
    cues.words.cache_clear()
