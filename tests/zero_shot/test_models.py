"""Models beside names and graph: a sentence encoder for notes, an aligned student for series."""

from __future__ import annotations

import numpy as np
import pytest

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.inference.aligned import note_vectors, vectors
from clinragen.inference.predict import TrainedModel

pytestmark = pytest.mark.slow  # what its fixtures make takes seconds


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A BERT of random weights."""
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from clinragen.model.language_model import train_tokenizer

    folder = tmp_path_factory.mktemp("bert")
    tokenizer = train_tokenizer(["creatinine 1.2 mg/dL; sepsis. Note rationale: none of the listed"] * 9, 300)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_encoder_adds_to_notes_alone(scored, hospital, described, encoder):
    table = clinragen.zeroshot(hospital.cohort, described, encoder=encoder, set={"transfer.series": 0}).table
    plain = clinragen.zeroshot(hospital.cohort, described, set={"transfer.series": 0}).table
    assert not np.allclose(table["note"].to_numpy(), plain["note"].to_numpy(), equal_nan=True)
    assert np.array_equal(table["series"].to_numpy(), plain["series"].to_numpy(), equal_nan=True)


@pytest.fixture(scope="module")
def aligned(hospital, command, tmp_path_factory):
    out = tmp_path_factory.mktemp("aligned") / "run"
    settings = ("stage.precision=32-true", "stage.batch_size=16", "stage.align.prototypes=8", "stage.epochs=2")
    given = [word for setting in settings for word in ("--set", setting)]
    given = ["--cohort", hospital.cohort, "--model", hospital.model, "--out", out, *given]
    assert command("clinragen", "train", "align", *given) == 0
    return out


def test_an_aligned_model_adds_to_series_alone(hospital, described, aligned):
    without = {"transfer.note": 0, "transfer.series": 0}
    table = clinragen.zeroshot(hospital.cohort, described, model=aligned, set=without).table
    plain = clinragen.zeroshot(hospital.cohort, described, set=without).table
    assert np.array_equal(table["note"].to_numpy(), plain["note"].to_numpy(), equal_nan=True)
    assert not np.allclose(table["series"].to_numpy(), plain["series"].to_numpy(), equal_nan=True)


def test_a_note_that_belongs_to_no_stay_has_the_vector_of_the_same_note_of_a_stay(hospital, aligned):
    trained = TrainedModel.load(aligned)
    stays = trained.dataset(Cohort.load(hospital.cohort), "test")
    notes = [stays.sections.get(int(stay), []) for stay in stays.stay_ids]
    assert np.allclose(note_vectors(trained, notes), vectors(trained, stays).note, atol=1e-5)


def test_a_run_that_was_not_aligned_is_refused(runs, hospital, described):
    with pytest.raises(clinragen.UserError, match="expected a run of `clinragen train align`"):
        clinragen.zeroshot(hospital.cohort, described, model=runs.notes)
