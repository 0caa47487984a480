"""Which tokens are read of a note that does not fit."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from clinragen.cohort.sections import written, written_places
from clinragen.data.mentions import MentionEncoder
from clinragen.data.passages import LONGEST, NoteReader, first_tokens, read_tokens
from clinragen.knowledge.graph import build

MANY = "Lives with family. " * 30


@pytest.fixture(scope="module")
def link():
    graph = build()
    return MentionEncoder(graph, sorted(node for node in graph.nodes if node.startswith(("drug:", "phenotype:"))))


def words(sections) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are words with the blanks before them."""
    vocabulary = sorted({word for name, text in sections for word in re.findall(r"\s*\S+|\s+", written(name, text))})
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token=vocabulary[0]))
    tokenizer.pre_tokenizer = Split(Regex(r"\s*\S+|\s+"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def read(sections, link, budget, passages="named") -> str:
    tokenizer = words(sections)
    note = NoteReader(tokenizer, link, budget, passages)(sections)
    assert len(note.ids) <= budget
    assert note.places is not None
    for token, section, (start, end) in zip(note.ids, note.sections, note.places, strict=True):
        assert tokenizer.convert_ids_to_tokens(token) == written(*sections[section])[start:end]
    return "".join(tokenizer.convert_ids_to_tokens(note.ids))


def test_a_note_that_fits_is_read_whole(link):
    sections = [("medications", "aspirin; warfarin."), ("social_history", MANY)]
    assert read(sections, link, 500) == "".join(written(*each) for each in sections).rstrip("\n") + "\n"


def test_what_names_concepts_is_read_first_and_in_reading_order(link):
    sections = [
        ("history_of_present_illness", f"{MANY}Has been given warfarin. {MANY}"),
        ("medications", "aspirin 81 mg daily; aspirin 81 mg once more; insulin glargine"),
        ("social_history", MANY),
    ]
    assert read(sections, link, 17) == (
        "History of present illness: Has been given warfarin.\nMedications: aspirin 81 mg daily; insulin glargine\n"
    )
    more = read(sections, link, 40)
    assert "aspirin 81 mg once more;" in more  # named again: before what names nothing
    assert more.startswith("History of present illness: Lives with family.")
    assert "warfarin" not in read(sections, link, 40, "first")


def test_a_title_is_not_read_alone(link):
    sections = [("medications", "aspirin; warfarin; insulin glargine")]
    assert read(sections, link, 2) == ""
    assert read(sections, link, 3) == "Medications: aspirin;\n"


def test_text_without_an_end_is_read_in_pieces(link):
    sections = [("medications", "word " * 500 + "aspirin " + "word " * 500)]
    assert "aspirin" in read(sections, link, 2 * LONGEST)


def test_the_time_grows_with_the_length_of_a_note(link):
    def seconds(times: int) -> float:
        sections = [("medications", "aspirin 81 mg, and a word; " * times)]
        reader = NoteReader(words(sections), link, 100)
        began = time.process_time()
        reader(sections)
        return time.process_time() - began

    assert min(seconds(4000) for _ in range(3)) < 12 * max(min(seconds(1000) for _ in range(3)), 0.02)


@given(st.text(alphabet=" \n\t\u00a0abc.;", max_size=60))
def test_every_character_is_traced_to_where_it_is_read(text):
    places = written_places("plan", text)
    shown = written("plan", text)
    for character, place in zip(text, places, strict=True):
        if not character.isspace():
            assert shown[place] == character


@given(st.lists(st.integers(0, 100), max_size=11), st.integers(0, 300))
def test_no_section_is_cut_while_a_later_one_is_read(counts, budget):
    lengths = [len(each) for each in first_tokens(counts, budget)]
    assert sum(lengths) == min(budget, sum(counts))
    full = [length == count for length, count in zip(lengths, counts, strict=True)]
    assert all(whole or not any(lengths[position + 1 :]) for position, whole in enumerate(full))


@settings(max_examples=60)
@given(st.lists(st.text(alphabet="ab;. ", min_size=1, max_size=80), max_size=5), st.integers(1, 60))
def test_no_more_is_read_than_fits_and_nothing_twice(texts, budget):
    texts = [f"Title:{text}" for text in texts]
    offsets = [np.array([(i, i + 1) for i in range(len(text))]) for text in texts]
    chosen = read_tokens(texts, offsets, [6] * len(texts), [[] for _ in texts], budget)
    assert sum(map(len, chosen)) <= budget
    assert all((np.diff(tokens) > 0).all() for tokens in chosen)
    assert all(not len(tokens) or tokens[-1] >= 6 for tokens in chosen)  # never a title alone
