"""The `ask` stage: a language model learns which query a question means. It learns no answer and no patient.

Of dialogues it reads each question after the query before it.

It starts from the language model of a run, of which only that is trained, or from a new one. What is written is the
language model alone; ``model.query_reader`` reads questions with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from rich.console import Console
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from clinragen import __version__
from clinragen.artifacts import atomic_folder, sha256_file, sha256_json
from clinragen.choices import ASK
from clinragen.cohort.folder import Cohort
from clinragen.data.batch import IGNORED
from clinragen.errors import UserError
from clinragen.knowledge.relabel import open_graph
from clinragen.manifests import StageManifest
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.language_model import LanguageModel, create, train_tokenizer
from clinragen.model.query_reader import Tokens, instructed, padded, save_reader
from clinragen.questions.file import read_questions
from clinragen.questions.outline import FOLLOWS, Outliner
from clinragen.questions.query import Query
from clinragen.quiet import phase
from clinragen.stages.config import RunConfig, resolve, shaping
from clinragen.stages.loop import Objective, Scored
from clinragen.stages.run_dir import Request, finish_folder, finished_before
from clinragen.stages.training import Training, train

#: A question's outline, and the words of its query's.
Pair = tuple[str, list[str]]


def run_ask(request: Request, console: Console, cohort: Cohort) -> StageManifest | None:
    """Train a language model to read questions; return the manifest, None on all but the first of several processes."""
    assert request.questions is not None  # held by the checks before training
    phase(console, "reading the questions")
    outliner = Outliner(open_graph(request.graph, cohort.label_set, cohort.added))
    pairs = outlined_splits(request.questions, outliner)
    parent = ClinRaGen.from_pretrained(request.parent / "model") if request.parent else None
    model_config = parent.config if parent else request.model
    config = resolve(ASK, model_config, request.teacher, [*request.overrides], request.trainer)
    torch.manual_seed(config.stage.seed)
    settings = config.model.language_model
    if parent is not None:
        language_model = parent.language_model
    else:
        words = [text for pair in pairs["train"] for text in (pair[0], " ".join(pair[1]))]
        language_model = create(settings, train_tokenizer(words, settings.vocabulary) if settings.scratch else None)
    tokens = Tokens(language_model.tokenizer)
    data = {
        "train": Questions(pairs["train"], tokens, config.stage.masked, config.stage.seed),
        "validation": Questions(pairs["validation"], tokens),
    }
    origin = request.parent and sha256_file(request.parent / "model" / "model.safetensors")
    digest = sha256_file(request.questions / "questions.jsonl")
    identity = sha256_json({"config": shaping(config), "questions": digest, "parent": origin, "cohort": cohort.sha256})
    if done := finished_before(StageManifest, request, identity):
        console.print(f"stage [bold]{ASK}[/]: finished before, kept")
        return done
    training = Training(
        objective=ReadQuestions(language_model, config),
        data=data,
        collate=partial(collate, pad=language_model.tokenizer.pad_token_id),
        width=language_model.hidden_size,
        identity=identity,
        described=f"stage [bold]{ASK}[/]: {len(data['train']):,} training and {len(data['validation']):,} validation "
        "questions in outline",
    )
    state = train(request, config, training, console)
    if state is None:
        return None
    with atomic_folder(request.out / "model", replace=True) as folder:
        save_reader(language_model, settings, folder, follows=go_on(pairs))
    manifest = StageManifest(
        clinragen=__version__,
        stage=ASK,
        cohort=str(request.cohort),
        cohort_sha256=cohort.sha256,
        identity=identity,
        model_sha256=sha256_file(request.out / "model" / "model.safetensors"),
        stays={split: len(rows) for split, rows in data.items()},
        best=state.found("loss"),
        seconds=round(state.seconds, 1),
    )
    finish_folder(request.out, config, manifest)
    return manifest


def outlined_splits(questions: Path, outliner: Outliner) -> dict[str, list[Pair]]:
    """The outlines of the questions about training and validation stays.

    Raises:
        UserError: a split has none.
    """
    pairs = {split: outlined(questions, split, outliner) for split in ("train", "validation")}
    if lacking := [split for split, rows in pairs.items() if not rows]:
        raise UserError(f"{questions} has no question about {lacking[0]} stays: write them for all splits")
    return pairs


def outlined(questions: Path, split: str, outliner: Outliner) -> list[Pair]:
    """The distinct outlines of a split's questions; without those that name what the linker does not find."""
    rows = read_questions(questions).filter(split=split)
    before = pl.col("query").shift().over("stay_id", "dialogue") if "dialogue" in rows.columns else pl.lit(None)
    rows = rows.select("question", "query", last=before).unique(maintain_order=True)
    pairs: dict[str, list[str]] = {}
    for question, query, last in rows.iter_rows():
        outline = outliner.of(question, None if last is None else Query.parse(last))
        words = next(outline.outlines(Query.parse(query)), None)
        if words is not None:
            pairs.setdefault(outline.text, words)
    return list(pairs.items())


def go_on(pairs: Mapping[str, Sequence[Pair]]) -> bool:
    """Whether any of the questions is read after another one's query."""
    return any(FOLLOWS in text for some in pairs.values() for text, _ in some)


class Asked(NamedTuple):
    """Questions [B]: their numbers, token ids and mask [B, L], and the tokens of their queries [B, M]."""

    stay_ids: Tensor
    ids: Tensor
    mask: Tensor
    target_ids: Tensor


class Questions:
    """Outlines of questions with those of their queries.

    In training, words are left out and others added, anew in each epoch: a question that is worded otherwise has some
    of the words of a question that was learned, and words that were not. Places are neither, nor is the query before.

    Args:
        pairs: a question's outline, and the words of its query's.
        tokens: of the language model.
        noise: share of the words that are left out, and as many are added; 0 outside training.
        seed: decides which.
        instruction: words that are read before each question.
    """

    def __init__(
        self, pairs: Sequence[Pair], tokens: Tokens, noise: float = 0.0, seed: int = 0, instruction: str = ""
    ) -> None:
        self._pairs, self._tokens, self._noise, self._seed = pairs, tokens, noise, seed
        self._read = partial(instructed, instruction)
        self._words = sorted({word for text, _ in pairs for word in text.split() if word.islower()})
        self._epoch = 0

    def begin(self, epoch: int) -> None:
        """Start an epoch of training."""
        self._epoch = epoch + 1

    def length(self, index: int) -> int:
        """Tokens of a question and its query, about."""
        text, words = self._pairs[index]
        return len(self._tokens.question(self._read(text))) + len(words)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[int, list[int], list[int]]:
        text, words = self._pairs[index]
        return index, self._tokens.question(self._read(self._noisy(text, index))), self._tokens.outline(words)

    def _noisy(self, text: str, index: int) -> str:
        if not self._noise:
            return text
        draw = np.random.default_rng([self._seed, self._epoch, index])
        before, mark, question = text.rpartition(FOLLOWS)
        heard = [f"{before}{mark}".rstrip()] if mark else []
        for word in question.split():
            if draw.random() < self._noise:
                heard.append(self._strange(draw))
            if not word.islower() or draw.random() >= self._noise:
                heard.append(word)
        return " ".join(heard)

    def _strange(self, draw: np.random.Generator) -> str:
        """A word that means nothing: the beginning of one and the end of another."""
        first, last = (self._words[draw.integers(len(self._words))] for _ in range(2))
        return first[: draw.integers(1, 4)] + last[-draw.integers(1, 4) :]


def collate(rows: Sequence[tuple[int, list[int], list[int]]], pad: int) -> Asked:
    """Stack questions."""
    numbers, questions, queries = zip(*rows, strict=True)
    targets = [torch.tensor(query, dtype=torch.long) for query in queries]
    target_ids = pad_sequence(targets, batch_first=True, padding_value=IGNORED)
    return Asked(torch.tensor(numbers), *padded(questions, pad), target_ids)


class ReadQuestions(Objective):
    """Negative log-likelihood of the query of each question."""

    def __init__(self, language_model: LanguageModel, config: RunConfig) -> None:
        super().__init__()
        self.language_model, self.config = language_model, config

    def score(self, batch: Asked) -> Scored:
        """Loss of each question [B]."""
        context = self.language_model.context(None, batch.ids, batch.mask)
        nll = self.language_model.read(context, batch.target_ids).nll
        assert nll is not None
        return Scored(nll, {}, {})

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser: a new decoder of a pre-trained encoder has a learning rate of its own, and
        vectors and scalars have no weight decay."""
        rates, groups = self.config.model, dict[tuple[bool, bool], list[Tensor]]()
        for name, parameter in self.language_model.named_parameters():
            if parameter.requires_grad:
                new = rates.language_model.decoder_layers > 0 and name.startswith("model.decoder.")
                groups.setdefault((new, parameter.ndim >= 2), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": rates.learning_rate_new if new else rates.learning_rate,
                "weight_decay": self.config.stage.weight_decay if wide else 0.0,
            }
            for (new, wide), parameters in groups.items()
        ]
