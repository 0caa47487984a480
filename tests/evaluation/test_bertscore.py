"""BERTScore: what holds of any encoder, that its hash is told, and that nothing is fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from clinragen.evaluation.bertscore import Encoder
from clinragen.evaluation.stored import load_evaluation

WORDS = ["creatinine", "is", "high", "lactate", "rose", "to", "4.1", "sepsis", ",", "Normal"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights, as `save_pretrained` writes it."""
    import torch
    from transformers import BertConfig, BertModel

    from clinragen.model.language_model import train_tokenizer

    root = tmp_path_factory.mktemp("encoder")
    tokenizer = train_tokenizer([" ".join(WORDS)] * 9, 300)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer), pad_token_id=0, **shape)).save_pretrained(root)
    tokenizer.save_pretrained(root)
    return root


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder(folder)


no_deadline = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@no_deadline
@given(TEXTS)
def test_a_text_is_wholly_like_itself(encoder: Encoder, text: str) -> None:
    assert [score.item() for score in encoder.likeness([text], [text])] == pytest.approx([1, 1, 1], abs=1e-5)


@no_deadline
@given(TEXTS, TEXTS)
def test_precision_of_one_is_recall_of_the_other(encoder: Encoder, one: str, other: str) -> None:
    there, back = encoder.likeness([one], [other]), encoder.likeness([other], [one])
    assert there.precision.item() == pytest.approx(back.recall.item(), abs=1e-5)
    assert there.recall.item() == pytest.approx(back.precision.item(), abs=1e-5)
    assert there.f1.item() == pytest.approx(back.f1.item(), abs=1e-5)
    lowest, highest = sorted((there.precision.item(), there.recall.item()))
    assert lowest - 1e-6 <= there.f1.item() <= highest + 1e-6


@no_deadline
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=2, max_size=6))
def test_each_pair_counts_for_itself(encoder: Encoder, pairs: list[tuple[str, str]]) -> None:
    ours, theirs = map(list, zip(*pairs, strict=True))
    together = encoder.likeness(ours, theirs).f1
    alone = [encoder.likeness([one], [other]).f1.item() for one, other in pairs]
    assert together.tolist() == pytest.approx(alone, abs=1e-4)


def test_the_matching_is_greedy(encoder: Encoder, folder: Path) -> None:
    """By hand from the states of transformers."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = ("lactate rose", "creatinine is high")
    states, counted = [], []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        with torch.inference_mode():
            hidden = model(torch.tensor([ids])).last_hidden_state[0]
        states.append(torch.nn.functional.normalize(hidden, dim=-1).numpy())
        counted.append(~np.isin(ids, tokenizer.all_special_ids))
    cosines = states[0] @ states[1].T
    scores = encoder.likeness([texts[0]], [texts[1]])
    assert scores.precision.item() == pytest.approx(cosines.max(axis=1)[counted[0]].mean(), abs=1e-5)
    assert scores.recall.item() == pytest.approx(cosines.max(axis=0)[counted[1]].mean(), abs=1e-5)


def test_an_empty_text_is_like_nothing(encoder: Encoder) -> None:
    assert [score.tolist() for score in encoder.likeness(["", "high"], ["high", " "])] == [[0, 0]] * 3
    with pytest.raises(ValueError, match="1 texts and 2 references"):
        encoder.likeness(["high"], ["high", "low"])


def test_the_hash_is_of_the_files_that_are_read(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert Encoder(copy).sha256 == Encoder(folder).sha256
    (copy / "README.md").write_text("about it")
    assert Encoder(copy).sha256 == Encoder(folder).sha256
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert Encoder(copy).sha256 != Encoder(folder).sha256


def test_what_is_no_encoder_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        Encoder(tmp_path / "none")
    with pytest.raises(UserError, match="holds no encoder"):
        Encoder(tmp_path)
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "config.json").write_text('{"model_type": "nothing"}')
    with pytest.raises(UserError, match="cannot be loaded"):
        Encoder(broken).likeness(["a"], ["b"])


def test_evaluate_tells_it_with_intervals_and_the_hash(
    runs, hospital, folder: Path, command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--predictions", runs.predictions, "--cohort", hospital.cohort, "--out", tmp_path / "out")
    assert command("clinragen", "evaluate", *options, "--no-controls", "--replicates", 20, "--encoder", folder) == 0
    texts = load_evaluation(tmp_path / "out" / "evaluation.json")["text"]
    assert texts["encoder"]["sha256"] == Encoder(folder).sha256  # pyright: ignore[reportTypedDictNotRequiredAccess]
    for kind in ("note", "series"):
        for score in texts[kind]["bertscore"].values():  # pyright: ignore[reportTypedDictNotRequiredAccess]
            assert -1 <= score["low"] <= score["value"] <= score["high"] <= 1  # type: ignore[operator]
    shown = capsys.readouterr().out
    assert "BERTScore F1" in shown
    assert Encoder(folder).sha256[:12] in shown
