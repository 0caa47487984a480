"""The sentences of labels beside the passages of notes, and the vectors that sentences of a label make together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import normalize
from transformers import AutoModel, AutoTokenizer

from clinragen.errors import UserError
from clinragen.zero_shot.ensembles import LabelEnsemble
from clinragen.zero_shot.readings import ChartReadings, Sections

#: Turns n sentences into unit vectors, [n, D].
Encode = Callable[[Sequence[str]], np.ndarray]

_BREAK = re.compile(r"\n+|(?<=[.;])\s+")
_WORDS = 40  # of a passage at most: a longer one is about many things
_NEAREST = 3  # passages of a note that count for a label
_BATCH = 64


class SentenceEncoder:
    """An encoder of the BERT family in a local folder; its vector of a sentence is the mean of its tokens' states.

    Args:
        folder: with configuration, tokenizer and safetensors, as a hub gives it.

    Raises:
        UserError: there is none.
    """

    def __init__(self, folder: Path) -> None:
        safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **safely)
            self._model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **safely).eval()
        except Exception as error:  # noqa: BLE001 (transformers passes on whatever a damaged folder causes)
            raise UserError(
                f"--encoder {folder} cannot be loaded ({type(error).__name__}): expected the folder of a sentence "
                "encoder with config.json, a tokenizer and model.safetensors"
            ) from None

    @torch.inference_mode()
    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 [n, D]."""
        order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
        vectors: list[np.ndarray] = []
        for first in range(0, len(order), _BATCH):
            texts = [sentences[index] for index in order[first : first + _BATCH]]
            encoded = self._tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=128)
            mask = encoded["attention_mask"][..., None].float()
            states = self._model(**encoded).last_hidden_state
            vectors.append(((states * mask).sum(1) / mask.sum(1)).numpy())
        back = np.argsort(order)
        return np.asarray(normalize(np.concatenate(vectors)[back]), dtype=np.float32)


def label_vectors(ensembles: Sequence[LabelEnsemble], templates: Sequence[str], encode: Encode) -> np.ndarray:
    """One unit vector for each label: the mean of its sentences less that of the templates without a name, [L, D]."""
    sentences = [sentence for one in ensembles for sentence in one.sentences]
    vectors = encode([*sentences, *(template.replace("{}", "").strip() or "." for template in templates)])
    neutral = vectors[len(sentences) :].mean(0)
    ends = np.cumsum([0, *(len(one.sentences) for one in ensembles)])
    means = [vectors[begin:end].mean(0) for begin, end in pairwise(ends.tolist())]
    return np.asarray(normalize(np.stack(means) - neutral))


def note_similarities(readings: ChartReadings, labels: np.ndarray, encode: Encode) -> np.ndarray:
    """How near the nearest passages of each note are to each label, [n, L]; 0 without a note.

    Args:
        readings: the notes.
        labels: unit vectors of the labels, [L, D].
        encode: what made them.
    """
    notes = [passages(note) for note in readings.sections]
    distinct = sorted({passage for note in notes for passage in note})  # charts repeat each other
    values = np.zeros((len(notes), len(labels)))
    if not distinct:
        return values
    near = encode(distinct) @ labels.T
    rows = {passage: row for row, passage in enumerate(distinct)}
    for number, note in enumerate(notes):
        if note:
            nearness = np.sort(near[[rows[passage] for passage in dict.fromkeys(note)]], axis=0)
            values[number] = nearness[-_NEAREST:].mean(0)
    return values


def passages(sections: Sections) -> list[str]:
    """A note in lines and sentences of at most ``_WORDS`` words.

    >>> passages([("plan", "Fever.  Cough\\nRash")])
    ['Fever.', 'Cough', 'Rash']
    """
    cut = []
    for _, text in sections:
        for part in _BREAK.split(text):
            words = part.split()
            cut += [" ".join(words[first : first + _WORDS]) for first in range(0, len(words), _WORDS)]
    return [passage for passage in cut if any(letter.isalpha() for letter in passage)]
