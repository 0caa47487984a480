"""What a note says is absent, past, somebody else's or only feared: a test for each of ``context_sentences.yaml``."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.knowledge.graph import build
from clinragen.knowledge.linker import Linker

DATA = yaml.safe_load((Path(__file__).parent / "context_sentences.yaml").read_text(encoding="utf-8"))
LINKER = Linker(build())
CONTEXTS = {"a": "affirmed", "n": "negated", "f": "family", "h": "historical", "y": "hypothetical"}


def read_rightly(row: dict) -> bool:
    wanted = {DATA["names"][name]: CONTEXTS[letter] for name, letter in row["m"].items()}
    read = {mention.concept: mention.context for mention in LINKER.link(row["s"]) if mention.concept in wanted}
    return read == wanted


@pytest.mark.parametrize("row", [row for row in DATA["sentences"] if "open" not in row], ids=lambda row: row["s"][:60])
def test_the_sentence_is_read_as_it_was_written(row):
    assert read_rightly(row)


def test_the_sentences_that_are_misread_are_known():
    misread = [row for row in DATA["sentences"] if not read_rightly(row)]
    assert misread == [row for row in DATA["sentences"] if "open" in row]


WORDS = ["fever", "cough", "no", "yes", "n", "y", ":", "?", "-", "+", "[x]", "[ ]", "(-)", ",", "\n", "|", "/", "and"]
WORDS += ["he", "....", "☐", "✓", "denies", "has", "."]


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=60), st.booleans())
def test_any_form_is_read_in_order_and_within_the_text(parts, apart):
    text = (" " if apart else "").join(parts)
    end = 0
    for mention in LINKER.link(text):
        assert end <= mention.start < mention.end <= len(text)
        assert mention.sentence[0] <= mention.start < mention.end <= mention.sentence[1]
        assert mention.negated == (mention.context == "negated")
        end = mention.end


#: Whatever is repeated, and however long it is without the end of a sentence, twice as much takes about twice as long.
ENDLESS = ["-", "- ", "+fever ", "-fever ", "fever no ", "fever: no ", "fever, ", "no ", "? ", "fever? ", "n/", "[ ] "]
ENDLESS += [
    " ",
    "\n",
    "\n- ",
    "\n-fever",
    "\n+cough",
    "\n\t",
    ".",
    ". ",
    "..",
    "fever | ",
    "no, ",
    "not ",
    "y ",
    "fever/",
]
ENDLESS += [
    "cough: no, no fever ",
    "? a ",
    "fever yes no ",
    "without ",
    "fever [x] yes [ ] no ",
    "[x] fever ",
    "(",
    "\u00a0",
]


@pytest.mark.parametrize("piece", ENDLESS, ids=repr)
def test_time_grows_with_the_text_and_no_faster(piece):
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        took = []
        for _ in range(2):
            began = time.process_time()
            LINKER.link(text)
            took.append(time.process_time() - began)
        return min(took)

    assert seconds(40_000) < 24 * max(seconds(5_000), 0.004)  # eight times the text; quadratic would be 64 times
