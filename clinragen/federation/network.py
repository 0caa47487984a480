"""The network of a student, trained by many sites together beside linear probes that they have finished before.

What must be common before training comes from the sums of work ``linear``: terms, from which the tokenizer is made,
standardisation and bins, the prevalence of the labels, and the probes. The concept graph is part of clinragen. Then in
each round every site trains the round's model on its stays by the loop of ``clinragen train``, with fresh moments, and
the changes of the weights are combined by the rule of the federation. A round is one epoch of that loop: of a
federation of one site, a round ends in the weights that the loop ends in, to the bit. At last gains of network and
probes, offsets and a threshold are fitted to validation stays by sums.

The learning rate follows the schedule of a run over the rounds of a stage, and falls again within each round, so that
sites come to rest where their stays agree before their changes are averaged (local steps: McMahan et al. 2017).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console
from scipy.special import logit

from clinragen.choices import Target
from clinragen.cohort.folder import Cohort
from clinragen.config import build
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.sampler import StepPlan
from clinragen.errors import UserError, unknown_choice
from clinragen.federation.features import LinearSettings, stays_of
from clinragen.federation.fusion import Fusion
from clinragen.federation.linear import LinearProbesWork
from clinragen.federation.student import Student, new_student, public_words, set_probes
from clinragen.federation.update import Tensors, TensorSpec
from clinragen.federation.work import Phase, Statistic
from clinragen.inference.predict import score
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.language_model import train_tokenizer
from clinragen.model.linear_probes import PROBES
from clinragen.stages.build import stays
from clinragen.stages.config import STAGES, RunConfig, resolve
from clinragen.stages.hardware import make_fabric, precision
from clinragen.stages.loop import Loop, schedule
from clinragen.stages.module import StageModule
from clinragen.stages.progress import StageProgress

PREFIX = "network."  # of the names of its tensors
_WARMUP = 0.1  # share of the rounds of a stage
_PATIENTS = 5  # of a shared term, for each time that the tokenizer reads it
_PUBLIC = 20  # times that the tokenizer reads public words, as in training of one's own


@dataclass
class NetworkSettings:
    """Settings of the work.

    Attributes:
        linear: of the linear probes.
        model: preset of a model from scratch.
        stages: rounds of each stage, of ``notes``, ``series`` and ``multimodal``; they are trained in this order.
        targets: what the student learns to write, of those of each stage; rationales need a teacher's at each site.
        teacher: name of the rationale set that sites have.
        passes: over a site's stays in each round.
        rate: of the learning rates of the model: changes of many sites average out in part, so steps may be longer.
        overrides: of model and stages, as of ``clinragen train --set``.
    """

    linear: LinearSettings = field(default_factory=LinearSettings)
    model: str = "tiny"
    stages: dict[str, int] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=lambda: ["diagnoses"])
    teacher: str = "evidence"
    passes: int = 1
    rate: float = 1.0
    overrides: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise a UserError for values that cannot be used."""
        for stage, rounds in self.stages.items():
            if stage not in STAGES:
                raise unknown_choice("stage of a federation", stage, STAGES)
            if rounds < 1:
                raise UserError(f"settings.stages.{stage} is {rounds}, expected at least 1 round")
        if not self.stages:
            raise UserError("settings.stages names no stage: expected rounds of some, such as {multimodal: 20}")
        if self.passes < 1 or not self.rate > 0:
            raise UserError("settings.passes and settings.rate: expected at least 1, and a number above 0")


class NetworkWork:
    """The work under the name ``network``.

    Args:
        settings: of :class:`NetworkSettings`, as the manifest has them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = build(NetworkSettings, settings, "settings of work 'network'")
        self.settings.check()
        self.linear = LinearProbesWork(asdict(self.settings.linear))
        chosen = self.linear.settings
        #: where little is known the probes predict alone
        self.fusion = Fusion(
            (0.0, *[1.0] * len(PROBES)), len(chosen.labels), chosen.fusion_rounds, chosen.threshold_rounds
        )
        self._model: tuple[bytes, ClinRaGen] | None = None
        self._data: dict[tuple[bytes, str], StayDataset] = {}
        self._logits: dict[bytes, tuple[bytes, np.ndarray]] = {}

    @property
    def stages(self) -> list[str]:
        """The stages in order."""
        return [stage for stage in STAGES if stage in self.settings.stages]

    def config(self, stage: str) -> RunConfig:
        """The configuration of a stage, for one round of one site.

        Raises:
            UserError: it has settings that need all rows in one place.
        """
        chosen = self.settings
        config = resolve(stage, chosen.model, chosen.teacher, ["stage.parent=null", *chosen.overrides])
        settings = config.stage
        settings.targets = [target for target in settings.targets if target in chosen.targets] or ["diagnoses"]
        settings.epochs, settings.patience, settings.warmup, settings.monitor = 1, 1, 0.0, "loss"
        alone = {"similar_cases": False, "freshness": "none", "token_weight": 0.0, "class_weights": "none"}
        for name, usual in alone.items():
            if getattr(settings, name) != usual:
                raise UserError(f"settings.overrides: stage.{name} cannot be federated: leave it out")
        if not config.model.language_model.scratch or config.model.language_model.lora is not None:
            raise UserError(f"settings.model {chosen.model}: a federation trains a model from scratch, such as tiny")
        if not config.model.head.linear_probes:
            raise UserError("settings.overrides: model.head.linear_probes must be true: they are finished first")
        return config

    def phases(self) -> Sequence[Phase]:
        """Those of the linear probes, training of the network in each stage, and sums for gains and threshold."""
        return [*self._probe_phases, *self._stage_phases, *self.fusion.phases()]

    @cached_property
    def _probe_phases(self) -> list[Phase]:
        return [phase for phase in self.linear.phases() if phase.name not in ("fuse", "threshold")]

    @cached_property
    def _stage_phases(self) -> list[Phase]:
        return [
            Phase(stage, "training", self.settings.stages[stage], self._tensors(self.config(stage)))
            for stage in self.stages
        ]

    def _tensors(self, config: RunConfig) -> dict[str, TensorSpec]:
        """What leaves in rounds of a stage: the weights of all parts that are not frozen."""
        frozen = tuple(f"{PREFIX}{part}." for part in config.stage.frozen)
        named = self._new_weights.items()
        return {name: TensorSpec([*weight.shape]) for name, weight in named if not name.startswith(frozen)}

    @cached_property
    def _new_weights(self) -> dict[str, np.ndarray]:
        model = self._new_model(self.linear.start())
        named = model.named_parameters()
        return {PREFIX + name: weight.detach().numpy().copy() for name, weight in named if weight.requires_grad}

    def start(self) -> Tensors:
        """A model that knows nothing, with a new network."""
        return {**self.linear.start(), **self.fusion.start(), **self._new_weights}

    def statistics(self, cohort: Cohort, tensors: Tensors, phase: str) -> dict[str, Statistic]:
        """A site's sums for a phase."""
        if phase not in ("fuse", "threshold"):
            return self.linear.statistics(cohort, tensors, phase)
        rows = self.linear.rows(cohort, tensors, "validation")
        scores = np.concatenate([self.network_logits(cohort, tensors)[None], self.linear.scores(rows, tensors)])
        return self.fusion.statistics(scores, rows, tensors, phase)

    def advance(self, tensors: Tensors, totals: dict[str, Statistic], phase: str) -> Tensors:
        """The model after the sums of all sites."""
        if phase in ("fuse", "threshold"):
            values = {name: total.values for name, total in totals.items()}
            return {**tensors, **self.fusion.advance(tensors, values, phase)}
        after = dict(self.linear.advance(tensors, totals, phase))
        if phase == "count":  # the network starts where labels are as common as they are
            after[f"{PREFIX}head.out_bias"] = logit(after["rates"]).astype(np.float32)
        return after

    def train(self, cohort: Cohort, tensors: Tensors, round_number: int) -> tuple[Tensors, int]:
        """A round of the linear probes, or of the network: weights after one epoch of a stage's loop."""
        number = round_number - sum(phase.rounds for phase in self._probe_phases)
        if number < 1:
            return self.linear.train(cohort, tensors, round_number)
        for stage in self.stages:
            if number <= (rounds := self.settings.stages[stage]):
                return self._train(cohort, tensors, stage, schedule(number - 1, rounds, _WARMUP), round_number)
            number -= rounds
        raise ValueError(f"round {round_number} is none of training")

    def _train(
        self, cohort: Cohort, tensors: Tensors, stage: str, factor: float, round_number: int
    ) -> tuple[Tensors, int]:
        config, model = self.config(stage), self.model(tensors)
        data = {split: self.data(cohort, tensors, split, config) for split in ("train", "validation")}
        objective = self.prepared(model, config, factor, round_number)
        console = Console(stderr=True)
        with TemporaryDirectory() as folder:
            loop = Loop(
                make_fabric(config.trainer, precision(config.stage.precision, model.language_model.hidden_size)),
                objective,
                config.stage,
                data,
                lambda rows: collate(rows, model.tokenizer.pad_token_id),
                Path(folder),
                _Bar(console if console.is_terminal else None, None),
                lambda *plan: Passes(*plan, passes=self.settings.passes),
            )
            loop.fit()
        model.cpu().eval()
        sent = {PREFIX + name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        return {name: weight.detach().numpy().copy() for name, weight in sent.items()}, len(data["train"])

    def prepared(self, model: ClinRaGen, config: RunConfig, factor: float, round_number: int) -> StageModule:
        """The objective of one round; ``factor`` is of the learning rates, and the draws are those of the round."""
        rates = {
            name: getattr(config.model, name) * self.settings.rate * factor
            for name in ("learning_rate", "learning_rate_new")
        }
        model.config = replace(model.config, **rates)
        config.stage.seed += round_number
        return self._objective(model, config)

    def _objective(self, model: ClinRaGen, config: RunConfig) -> StageModule:
        model.head.reset()
        for name, weight in model.named_parameters():
            weight.requires_grad_(PREFIX + name in self._new_weights)
        return StageModule(model, config.stage)

    # -- model and stays ---------------------------------------------------------------------------------------------

    def model(self, tensors: Tensors) -> ClinRaGen:
        """The student with the network's weights of a round, whose probes are not set."""
        digest = self.linear.digest(tensors)
        if self._model is None or self._model[0] != digest:
            self._model = digest, self._new_model(tensors)
        model = self._model[1]
        model.config = replace(model.config, **self._rates)
        model.head.reset()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if PREFIX + name in tensors:
                    weight.copy_(torch.from_numpy(np.array(tensors[PREFIX + name])))
        return model.eval()

    @cached_property
    def _rates(self) -> dict[str, float]:
        model = self.config(self.stages[0]).model
        return {"learning_rate": model.learning_rate, "learning_rate_new": model.learning_rate_new}

    def _new_model(self, tensors: Tensors) -> ClinRaGen:
        config = self.config(self.stages[0])
        model = new_student(self.linear, tensors, config, self._all_variables, self.tokenizer(tensors, config))
        model.check_context()
        return model.eval()

    @property
    def _all_variables(self) -> list[int]:
        """The network has a place for each variable, so that its shape does not depend on what sites measure."""
        return [*range(len(self.linear.settings.variables))]

    def tokenizer(self, tensors: Tensors, config: RunConfig) -> Any:
        """A tokenizer of public words and of shared terms, by patients, with exactly the vocabulary's size.

        Raises:
            UserError: the vocabulary is too small for single bytes.
        """
        vocabulary = config.model.language_model.vocabulary
        texts = public_words(self.linear, config.task) * _PUBLIC
        lexicon, rows = self.linear.lexicon(tensors)
        for term, row in zip(lexicon.terms, rows, strict=True):
            times = 1 + int(tensors["bucket_patients"][row]) // _PATIENTS
            texts += [f" {term}", f" {term.capitalize()}"] * times
        tokenizer = train_tokenizer(texts, vocabulary)
        if len(tokenizer) > vocabulary:
            raise UserError(f"model.language_model.vocabulary is {vocabulary}, expected at least {len(tokenizer)}")
        tokenizer.add_tokens([f"<unused{number}>" for number in range(vocabulary - len(tokenizer))])
        return tokenizer

    def data(self, cohort: Cohort, tensors: Tensors, split: str, config: RunConfig) -> StayDataset:
        """The stays of a split for a stage; of a site without validation stays those of training: a round has one
        epoch, so that nothing is chosen by them."""
        if not len(chosen := stays_of(cohort, split)):
            chosen, split = stays_of(cohort, "train"), "train"
        shapes = repr((str(cohort.paths.root), config.stage.targets)).encode()
        key = hashlib.sha256(chosen.tobytes() + self.linear.digest(tensors) + shapes).digest(), split
        if key not in self._data:
            self._data[key] = stays(self.model(tensors), config, cohort, split)
        return self._data[key]

    def network_logits(self, cohort: Cohort, tensors: Tensors) -> np.ndarray:
        """Logits of the network alone for a site's validation stays, float64 [n, L]; 0 where no label is eligible."""
        chosen = stays_of(cohort, "validation")
        weights = hashlib.sha256(self.linear.digest(tensors))
        for name in sorted(tensors):
            if name.startswith(PREFIX):
                weights.update(np.ascontiguousarray(tensors[name]))
        site = hashlib.sha256(str(cohort.paths.root).encode() + chosen.tobytes()).digest()
        if site in self._logits and self._logits[site][0] == weights.digest():
            return self._logits[site][1]
        logits = np.zeros((len(chosen), len(self.linear.settings.labels)))
        if len(chosen):
            config = self.config(self.stages[-1])
            dataset = self.data(cohort, tensors, "validation", config)
            scored, _ = score(self.model(tensors), dataset, config.stage.inputs, config.stage.batch_size)
            logits[np.searchsorted(chosen, dataset.stay_ids)] = scored
        self._logits[site] = weights.digest(), logits
        return logits

    def finished(self, tensors: Tensors) -> Student:
        """The student with network, probes and gains."""
        model, config = self.model(tensors), self.config(self.stages[-1])
        calibration = set_probes(model, self.linear, tensors, self._all_variables, self.fusion)
        teacher = self.settings.teacher if config.stage.targets != ["diagnoses"] else None
        config.model, self._model = model.config, None  # the student is the caller's
        return Student(model, calibration, config, teacher, (*self.stages[:-1],))


class Passes(StepPlan):
    """Several passes over a site's stays as one epoch, each in another order.

    Args:
        passes: how many.
        plan: the arguments of :class:`~clinragen.data.sampler.StepPlan`.
    """

    def __init__(self, *plan: Any, passes: int) -> None:
        super().__init__(*plan)
        self.passes = passes

    def __len__(self) -> int:
        """Steps of all passes."""
        return self.passes * super().__len__()

    def steps(self, epoch: int) -> list[np.ndarray]:
        """The rows of each step."""
        return [rows for turn in range(self.passes) for rows in super(Passes, self).steps(self.passes * epoch + turn)]


class _Bar(StageProgress):
    """A progress bar without a line for each round."""

    def epoch(self, state: Any) -> None:
        """Nothing: a round has one epoch."""
