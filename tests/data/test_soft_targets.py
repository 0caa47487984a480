"""A teacher's probabilities on a student's tokens: exact where tokenizers are equal, and never at another character."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from clinragen.data.soft_targets import Aligner, SoftTargets, Step, steps_of
from clinragen.model.language_model import train_tokenizer

WORDS = ["fever", "hypoxia", "hypotension", "chills", "no", "SpO2", "88", "%,", "1.25", "mg/dL;", 'a "soft" belly', "≥"]
CORPUS = [" Lab test shows " + " ".join(WORDS[place:] + WORDS[:place]) for place in range(len(WORDS))]


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def like_t5() -> PreTrainedTokenizerFast:
    """Blanks are no part of a token's span, and what is unknown has one token."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False, max_piece_length=8
    )
    tokenizer.train_from_iterator([text.replace("≥", "") for text in CORPUS], trainer)
    return wrapped(tokenizer)


def like_llama() -> PreTrainedTokenizerFast:
    """What is unknown is spelt in bytes, several of which share a character."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    special = ["<unk>", "<pad>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=special, show_progress=False, limit_alphabet=50)
    tokenizer.train_from_iterator([text.replace("≥", "") for text in CORPUS], trainer)
    return wrapped(tokenizer)


STUDENTS = {"words": train_tokenizer(CORPUS, 400), "letters": train_tokenizer(CORPUS, 262)}
STUDENTS |= {"t5": like_t5(), "llama": like_llama()}
ALIGNERS = {name: Aligner(tokenizer) for name, tokenizer in STUDENTS.items()}
TEXT = st.lists(st.sampled_from([*WORDS, "rigors,", "(x)", "<5>"]), min_size=1, max_size=12).map(
    lambda words: " ".join(["Lab test shows", *words])
)


def spellings(name: str) -> list[str]:
    """The text of each token of one of our byte-level tokenizers."""
    tokenizer = STUDENTS[name]
    return [tokenizer.decode([token]) for token in range(len(tokenizer))]


#: What a teacher may name as an alternative: any token that is text, and does not end the answer.
PLAIN = {
    name: [text for text in spellings(name)[2:] if "�" not in text and not set('"\\\n') & set(text)]
    for name in ("words", "letters")
}


def taught(name: str, text: str, seed: int) -> dict[str, Any]:
    """A row of log-probabilities as a teacher with that tokenizer would give them for ``" " + text``."""
    random, tokenizer = np.random.default_rng(seed), STUDENTS[name]
    spans = tokenizer(" " + text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    spans = [(start, end) for start, end in dict.fromkeys(spans)]  # the bytes of a character as one token
    tokens = [(" " + text)[start:end] for start, end in spans]
    row: dict[str, Any] = {"tokens": tokens, "logprobs": [], "top_tokens": [], "top_logprobs": []}
    for token in tokens:
        drawn = [PLAIN[name][number] for number in random.choice(len(PLAIN[name]), 3, replace=False)]
        others = [other for other in drawn if other != token]
        probs = random.dirichlet(np.ones(len(others) + 2))  # the last are those that are not named
        row["logprobs"].append(math.log(probs[0]))
        shown = dict(zip([token, *others], np.log(probs[:-1]).tolist(), strict=True))
        row["top_tokens"].append([*shown][seed % 2 :])  # some servers list the token itself, others do not
        row["top_logprobs"].append([*shown.values()][seed % 2 :])
    return row


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["words", "letters"]), TEXT.filter(lambda text: "≥" not in text), st.integers(0, 2**32))
def test_with_equal_tokenizers_it_is_exact_token_by_token(name, text, seed):
    row = taught(name, text, seed)
    ids = STUDENTS[name](" " + text, add_special_tokens=False)["input_ids"]
    number = {spelt: token for token, spelt in enumerate(spellings(name))}
    found = ALIGNERS[name](text, steps_of(text, row))
    assert [place for place, _ in found] == [*range(len(ids))]
    for place, probs in found:
        named = zip(row["top_tokens"][place], row["top_logprobs"][place], strict=True)
        expected = {number[token]: math.exp(logprob) for token, logprob in named}
        assert probs == pytest.approx(expected | {ids[place]: math.exp(row["logprobs"][place])})


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["words", "letters"]), st.sampled_from([*STUDENTS]), TEXT, st.integers(0, 2**32))
def test_with_other_tokenizers_each_is_at_its_character_and_says_what_the_teacher_said(teacher, student, text, seed):
    row, tokenizer = taught(teacher, text, seed), STUDENTS[student]
    steps = steps_of(text, row)
    encoded = tokenizer(" " + text, add_special_tokens=False, return_offsets_mapping=True)
    ids, spans = encoded["input_ids"], encoded["offset_mapping"]
    # characters but blanks, which some tokenizers leave out of their spans
    before = [len((" " + text)[:start].replace(" ", "")) for start, _ in spans]
    begins = {len((" " + text)[: step.begin].replace(" ", "")): step for step in steps}
    found = ALIGNERS[student](text, steps)
    assert found
    for place, probs in found:
        assert before[place] in begins
        assert probs[ids[place]] > 0
        assert 0 < sum(probs.values()) <= 1 + 1e-6
    if student == teacher:
        assert len(found) >= len({*spans})


def test_a_text_is_found_in_the_answer_around_it_and_no_other_text_is():
    row = {
        "tokens": ['{"', 'rationale": "', "Lab", " test", ' clear."', "}"],
        "logprobs": [0.0] * 6,
        "top_tokens": [[]] * 6,
        "top_logprobs": [[]] * 6,
    }
    steps = steps_of("Lab test clear.", row)
    assert [(step.begin, step.end) for step in steps[2:5]] == [(1, 4), (4, 9), (9, 17)]
    assert all(step.begin < 0 for step in steps[:2])
    assert steps_of("Lab test normal.", row) is None
    spoken = steps_of("test", row)  # a part of it, with the blank before
    assert [step.begin for step in spoken][3] == 0


def by_hand(pieces: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with just those pieces, the longer the likelier."""
    scored = [("<unk>", -99.0), ("<pad>", 0.0), ("</s>", 0.0), *((piece, -10.0 / len(piece)) for piece in pieces)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return wrapped(tokenizer)


def step(begin: int, token: str, prob: float, *others: tuple[str, float]) -> Step:
    return Step(begin, begin + len(token), prob, [*others])


def named(tokenizer: Any, probs: dict[int, float]) -> dict[str, float]:
    return {tokenizer.convert_ids_to_tokens(token): prob for token, prob in probs.items()}


def test_a_token_of_several_of_the_teacher_has_the_product_and_each_branch_its_own():
    tokenizer = by_hand(["▁fever", "▁fe", "▁chills", "▁", *"fevrchilsdaw"])
    steps = [
        step(0, " fe", 0.8, (" chills", 0.1)),
        step(3, "ver", 0.5, ("vers", 0.25), ("d", 0.125)),
    ]
    ((place, probs),) = Aligner(tokenizer)("fever", steps)
    assert place == 0
    expected = {"▁fever": 0.8 * 0.5 + 0.8 * 0.25, "▁fe": 0.8 * 0.125, "▁chills": 0.1}
    assert named(tokenizer, probs) == pytest.approx(expected)


def test_a_long_token_of_the_teacher_counts_for_the_first_of_the_students_alone():
    tokenizer = by_hand(["▁fe", "ver", "▁chi", *"lsdaw"])
    ((place, probs),) = Aligner(tokenizer)("fever", [step(0, " fever", 0.75, (" chills", 0.125), (" fed", 0.0625))])
    assert place == 0  # "ver" begins within the teacher's token
    assert named(tokenizer, probs) == pytest.approx({"▁fe": 0.75 + 0.0625, "▁chi": 0.125})


def test_what_ends_the_answer_or_would_be_joined_to_the_word_before_is_left_to_the_rest():
    tokenizer = by_hand(["▁fever", "▁fe", "ver", "▁fevers", ",", ".", "▁no", *'"}<|>eosim\\n'])
    ends = [('"}', 0.01), ("<|im_end|>", 0.01), ("</s>", 0.01), ("", 0.01), ("\n\n", 0.01), ("\\n", 0.01)]
    steps = [step(0, " fever", 1.0), step(6, " no", 0.5, *ends, ('."}', 0.02), (",.", 0.125), ("so", 0.03))]
    found = Aligner(tokenizer)("fever no", steps)
    assert [place for place, _ in found] == [0, 1]
    assert named(tokenizer, found[1][1]) == pytest.approx({"▁no": 0.5, ".": 0.02, ",": 0.125})


def test_probabilities_that_a_server_rounded_up_sum_to_one():
    tokenizer = by_hand(["▁fever", "▁chills"])
    ((_, probs),) = Aligner(tokenizer)("fever", [step(0, " fever", 0.75, (" chills", 0.2501))])
    assert sum(probs.values()) <= 1


PLACES = st.lists(
    st.tuples(st.integers(0, 500), st.dictionaries(st.integers(0, 90), st.floats(0.0625, 1, width=32), min_size=1)),
    max_size=4,
)


@given(st.lists(PLACES, max_size=5))
def test_soft_targets_read_back_as_they_were_stored(targets):
    stored = SoftTargets(SoftTargets.of(targets).arrays)
    assert len(stored) == len(targets)
    for target, soft in zip(targets, stored, strict=True):
        rows = zip(soft.places.tolist(), soft.ids.tolist(), soft.probs.tolist(), strict=True)
        assert [
            (place, {token: prob for token, prob in zip(ids, probs, strict=True) if prob}) for place, ids, probs in rows
        ] == target
