"""BERTScore (Zhang et al. 2020) of rationales against the teacher's, by an encoder on this machine whose hash is told.

Each token is matched with the most similar token of the other text, by the cosine of their embeddings in context:
precision is the mean over the generated tokens, recall that over the reference's, F1 their harmonic mean. As in the
authors' package without idf weights, the tokens that open and close a text may be matched but do not count.
Embeddings are those of the last layer. Published figures come from other encoders and layers and are often rescaled, so
values compare only where the hash is the same. Like ROUGE and BLEU it measures likeness to the teacher, not truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.errors import UserError
from clinragen.evaluation.diagnosis import patient_bootstrap, ratio_interval
from clinragen.evaluation.inputs import Predictions, Truth, teacher_rationales
from clinragen.evaluation.rows import Interval, Texts
from clinragen.schema import RATIONALE_KINDS

_BATCH = 32
_MOST_TOKENS = 512
_READ = ("*.safetensors", "config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")


class Likeness(NamedTuple):
    """Precision, recall and F1 of each text, [n] each, at most 1; 0 where either text is empty."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


@dataclass(frozen=True)
class Encoder:
    """A pre-trained encoder in a local folder, as `save_pretrained` of transformers writes it. Nothing is downloaded.

    Attributes:
        folder: with ``config.json``, the tokenizer and weights as safetensors.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise UserError(f"--encoder {self.folder} is no folder: name one with an encoder such as MiniLM or BERT")
        if not (self.folder / "config.json").is_file() or not any(self.folder.glob("*.safetensors")):
            raise UserError(
                f"--encoder {self.folder} holds no encoder: expected config.json, tokenizer, weights as safetensors"
            )

    @cached_property
    def sha256(self) -> str:
        """Hash of the files that are read."""
        files = {path for pattern in _READ for path in self.folder.glob(pattern) if path.is_file()}
        return sha256_json({path.name: sha256_file(path) for path in files})

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            model = AutoModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise UserError(f"--encoder {self.folder} cannot be loaded: {reason}") from None
        return tokenizer, (model.get_encoder() if model.config.is_encoder_decoder else model).eval()

    def likeness(self, generated: Sequence[str], references: Sequence[str]) -> Likeness:
        """BERTScore of each text against its reference.

        Raises:
            ValueError: texts and references differ in number.
        """
        if len(generated) != len(references):
            raise ValueError(f"{len(generated)} texts and {len(references)} references")
        embedded = self._embedded(dict.fromkeys([*generated, *references]))
        scores = np.zeros((len(generated), 3))
        for row, (text, reference) in enumerate(zip(generated, references, strict=True)):
            if not text.strip() or not reference.strip():
                continue
            (ours, counted), (theirs, their_counted) = embedded[text], embedded[reference]
            similar = ours @ theirs.T
            precision, recall = similar.max(axis=1)[counted].mean(), similar.max(axis=0)[their_counted].mean()
            scores[row] = precision, recall, 2 * precision * recall / (precision + recall)
        return Likeness(*np.minimum(scores, 1.0).T)  # a cosine may exceed 1 by rounding

    def _embedded(self, texts: Sequence[str] | dict[str, None]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of each text the unit vectors of its tokens, [tokens, d], and which of them count, [tokens] bool."""
        import torch

        tokenizer, model = self._loaded
        by_length = sorted(texts, key=lambda text: (len(text), text))
        most = min(_MOST_TOKENS, getattr(model.config, "max_position_embeddings", _MOST_TOKENS))
        vectors: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for start in range(0, len(by_length), _BATCH):
            part = by_length[start : start + _BATCH]
            batch = tokenizer(
                part, padding=True, truncation=True, max_length=most, return_tensors="pt",
                return_special_tokens_mask=True,
            )  # fmt: skip
            special = batch.pop("special_tokens_mask").bool().numpy()
            with torch.inference_mode():
                states = model(**batch).last_hidden_state
            unit = torch.nn.functional.normalize(states.float(), dim=-1).numpy()
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            for row, text in enumerate(part):
                vectors[text] = unit[row, : lengths[row]], ~special[row, : lengths[row]]
        return vectors


def with_likeness(
    texts: Texts, encoder: Encoder, predictions: Predictions, truth: Truth, replicates: int = 1000, seed: int = 0
) -> Texts:
    """The texts of an evaluation with the mean BERTScore of each kind over the stays that have a teacher's rationale.

    Args:
        texts: of the evaluation, with the name of the teacher.
        encoder: that reads them.
        predictions: with the rationales.
        truth: the cohort with the teacher's, and the patients.
        replicates: of the bootstrap, which resamples patients.
        seed: of the bootstrap.

    Raises:
        UserError: there is no teacher to compare with, or the encoder cannot be loaded.
    """
    if texts["teacher"] is None:
        raise UserError("--encoder: the cohort has no rationales to compare with: make them with clinragen teach")
    theirs = teacher_rationales(truth.cohort, texts["teacher"], predictions.stay_ids)
    patients = truth.stays["subject_id"].to_numpy()
    weights = np.array([np.ones(len(patients)), *patient_bootstrap(patients, replicates, seed)])
    scored: Texts = {**texts, "encoder": {"folder": str(encoder.folder), "sha256": encoder.sha256}}
    for kind in RATIONALE_KINDS:
        compared = np.array([reference is not None for reference in theirs[kind]])
        generated = [predictions.rationales(row)[kind] for row in range(len(compared))]
        likeness = encoder.likeness(generated, [reference or "" for reference in theirs[kind]])
        scores: dict[str, Interval] = {
            name: ratio_interval(weights, np.where(compared, values, 0.0), compared)
            for name, values in likeness._asdict().items()
        }
        scored[kind] = {**texts[kind], "bertscore": scores}
    return scored
