"""Ways of generating give what they promise: what is remembered or read before changes no text, nor do batch mates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from clinragen.inference.decode import ReportGrammar, read_report
from clinragen.inference.draws import Draws
from clinragen.model.precision import numbers_of

BOTH = ["note", "series"]
LENGTHS = [(3, 40), (17, 1), (60, 23)]
LONGEST = 24


@pytest.fixture
def stays(model, make_stay):
    return [make_stay(model, note, target, seed) for seed, (note, target) in enumerate(LENGTHS)]


def free(model, batch, **options) -> list[list[int]]:
    with torch.inference_mode():
        return model.generate(batch, BOTH, LogitsProcessorList(), LONGEST, **options).tolist()


def test_text_with_the_cache_is_text_without_it(model, stays, batch_of, monkeypatch):
    with_cache = free(model, batch_of(model, *stays))
    monkeypatch.setattr(model.language_model.model.generation_config, "use_cache", False)
    assert free(model, batch_of(model, *stays)) == with_cache


@pytest.mark.parametrize("options", [{}, {"beams": 2}, {"copies": 2}], ids=str)
def test_what_was_read_before_need_not_be_read_again(model, stays, batch_of, options, monkeypatch):
    batch = batch_of(model, *stays)
    with torch.inference_mode():
        output = model(batch, BOTH, targets=False, explain=True)
    anew = free(model, batch, **options)
    monkeypatch.setattr(model.series_encoder, "forward", None)  # it would fail
    assert free(model, batch, output=output, **options) == anew
    assert len(anew) == len(stays) * options.get("copies", 1)


@pytest.mark.parametrize("beams", [1, 3])
def test_beams_follow_the_grammar_and_do_not_depend_on_batch_mates(model, stays, batch_of, beams):
    target = model.target_format(("series", "diagnoses"))

    def reports(*chosen):
        grammar = ReportGrammar(target, 6, model.language_model.decoder_start, beams=beams)
        processors = LogitsProcessorList([grammar])
        with torch.inference_mode():
            ids = model.generate(batch_of(model, *chosen), BOTH, processors, grammar.longest, beams=beams).tolist()
        end = model.tokenizer.eos_token_id
        return [row[: row.index(end)] for row in ids]

    together = reports(*stays)
    assert [reports(stay)[0] for stay in stays] == together
    for ids in together:
        report = read_report(target, ids)
        assert report.parsed or not report.rationales["series"]
        assert report.diagnoses == sorted(set(report.diagnoses))


@pytest.mark.parametrize("sections", [("series", "diagnoses"), ("diagnoses", "note"), ("note",)], ids=str)
@pytest.mark.parametrize("sure", [True, False])
def test_a_guided_text_is_that_of_the_grammar_as_a_mask(model, stays, batch_of, sections, sure):
    target, batch = model.target_format(sections), batch_of(model, *stays)
    beliefs = np.random.default_rng(3).random((len(stays), len(model.labels)))
    beliefs = (beliefs > 0.9).astype(float) if sure else beliefs
    eos, read = model.tokenizer.eos_token_id, []

    def grammar() -> ReportGrammar:
        return ReportGrammar(target, 6, model.language_model.decoder_start, beliefs)

    def scored(module, args, scores):
        read.append(len(scores))

    def texts(ids) -> list[list[int]]:
        return [row[: row.index(eos) + 1] for row in ids.tolist()]

    with torch.inference_mode():
        masked = texts(model.generate(batch, BOTH, LogitsProcessorList([grammar()]), grammar().longest))
        output = model(batch, BOTH, targets=False, explain=True)
        hook = model.language_model.model.get_output_embeddings().register_forward_hook(scored)
        assert texts(model.guided(batch, BOTH, grammar(), output=output)) == masked
        hook.remove()
        assert texts(model.guided(batch, BOTH, grammar())) == masked
        for row, stay in enumerate(stays):
            alone = ReportGrammar(target, 6, model.language_model.decoder_start, beliefs[row : row + 1])
            assert texts(model.guided(batch_of(model, stay), BOTH, alone)) == masked[row : row + 1]
    longest = max(map(len, masked))
    assert len(read) < longest  # markers are read at once, and what follows the last choice not at all
    if sure and "diagnoses" in sections:
        choices = 6 if sections[-1] == "diagnoses" else 7  # of the free text, and whether it ends
        assert sum(read) <= choices * len(stays)


def test_finished_texts_leave_the_batch(model, stays, batch_of):
    class Lengths:
        """Free texts of given lengths."""

        def begin(self, texts):
            self.left = [2, 9, 5]

        def certain(self, text):
            return [] if self.left[text] > 1 else [model.tokenizer.eos_token_id]

        def choose(self, text, logits):
            self.left[text] -= 1
            return int(logits[2:].argmax()) + 2

    sizes = []
    layer = model.language_model.model.base_model
    layer = getattr(layer, "decoder", layer)
    hook = layer.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["input_ids"]) if "input_ids" in kwargs else 0),
        with_kwargs=True,
    )
    with torch.inference_mode():
        ids = model.guided(batch_of(model, *stays), BOTH, Lengths())
        hook.remove()
        alone = [model.guided(batch_of(model, stay), BOTH, Lengths())[0] for stay in stays[:1]]
    assert [row.tolist().index(model.tokenizer.eos_token_id) + 1 for row in ids] == [2, 9, 5]
    assert ids[0, :2].tolist() == alone[0].tolist()
    assert [size for size in sizes if size] == [3] * 1 + [2] * 3 + [1] * 4


def likelihood(model, batch, ids: list[int]) -> float:
    """Log-likelihood of a text."""
    rows = [torch.tensor([ids])]
    with torch.inference_mode():
        context, *_ = model._context(batch, BOTH, captions=True)
        return -len(ids) * float(model.language_model.read(context, rows[0]).nll)


def test_many_beams_find_a_text_at_least_as_likely_as_the_greedy_one(model, stays, batch_of):
    for stay in stays:
        batch = batch_of(model, stay)
        with torch.inference_mode():
            one, many = (
                model.generate(batch, BOTH, LogitsProcessorList(), 3, beams=beams)[0].tolist() for beams in (1, 60)
            )
        end = model.tokenizer.eos_token_id
        if end not in one + many:
            assert likelihood(model, batch, many) >= likelihood(model, batch, one) - 1e-4


def drawn(model, stays, batch, seed: int, temperature: float = 1.0, copies: int = 2) -> list[list[int]]:
    start = model.language_model.decoder_start
    ids = [stay.stay_id for stay in stays for _ in range(copies)]
    draws = Draws(ids, [*range(copies)] * len(stays), seed, temperature, start, LONGEST)
    with torch.inference_mode():
        texts = model.generate(batch, BOTH, LogitsProcessorList([draws]), LONGEST, copies=copies).tolist()
    end = model.tokenizer.eos_token_id
    return [row[: row.index(end)] if end in row else row for row in texts]


def test_draws_depend_on_seed_and_stay_and_on_no_batch_mate(model, stays, batch_of):
    together = drawn(model, stays, batch_of(model, *stays), 7)
    assert together == [text for stay in stays for text in drawn(model, [stay], batch_of(model, stay), 7)]
    assert together != drawn(model, stays, batch_of(model, *stays), 8)
    assert together[0] != together[1]  # the samples of a stay differ


def test_cold_draws_are_the_greedy_text(model, stays, batch_of):
    batch, end = batch_of(model, *stays), model.tokenizer.eos_token_id
    greedy = [row[: row.index(end)] if end in row else row for row in free(model, batch)]
    assert drawn(model, stays, batch, 0, temperature=1e-4, copies=1) == greedy


def test_tokens_are_drawn_by_their_probabilities_and_forbidden_ones_never():
    count, probs = 4000, torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    draws = Draws(range(count), [0] * count, 3, 1.0, 0, 1)
    chosen = draws(torch.zeros(count, 0, dtype=torch.long), probs.log().expand(count, -1).clone()).argmax(1)
    shares = torch.bincount(chosen, minlength=6) / count
    assert torch.allclose(shares, probs, atol=0.03)
    assert shares[probs == 0].sum() == 0
    assert draws.likelihood == pytest.approx(probs[chosen].log().tolist(), abs=1e-6)
    cold = Draws(range(count), [0] * count, 3, 0.5, 0, 1)
    chosen = cold(torch.zeros(count, 0, dtype=torch.long), probs.log().expand(count, -1).clone()).argmax(1)
    assert float((chosen == 1).float().mean()) == pytest.approx(0.25 / 0.38, abs=0.03)


def test_short_numbers_give_close_logits_and_leave_the_weights_as_they_were(model, stays, batch_of):
    batch = batch_of(model, *stays)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def logits():
        with torch.inference_mode():
            return model(batch, BOTH, targets=False, explain=True).logits

    whole = logits()
    with numbers_of(model, torch.bfloat16):
        short = logits()
        assert all(len(row) == LONGEST or model.tokenizer.eos_token_id in row for row in free(model, batch))
        assert {weight.dtype for weight in model.language_model.parameters()} == {torch.bfloat16}
    assert not torch.equal(short, whole)
    assert (short.sigmoid() - whole.sigmoid()).abs().max() < 0.03
    assert torch.equal(logits(), whole)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
