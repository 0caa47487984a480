"""Configuration of a distillation stage: inputs, targets, frozen parts, parent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from omegaconf import MISSING

from clinragen import tasks
from clinragen.choices import WITHOUT_LABELS, WITHOUT_STUDENT, Modality, Target
from clinragen.config import build, formerly_spelled, load, names
from clinragen.errors import UserError, unknown_choice
from clinragen.model.choice import choose
from clinragen.model.config import ModelConfig

STAGES = ("notes", "series", "multimodal")  # of a distillation, in order; `train` takes any stage
FEWEST_ALIGNED = 8  # stays of a forward pass that aligns: with fewer there is little to be told from
REFINE = "refine"  # the stage that a distillation adds when asked
#: parts of the model that a stage may train or leave as they are
Part = Literal["language_model", "series_encoder", "concept_attention", "head"]
Monitor = Literal["loss", "macro_auroc"]
ClassWeights = Literal["none", "sqrt", "balanced"]
Writing = Literal["joint", "separate"]
#: weights of training stays by the age of their period: none, or as strong as predicts the newest validation stays best
Freshness = Literal["none", "validation"]
#: how a student learns from its own samples: the best alone, the best against the worst, or both
Refinement = Literal["rft", "dpo", "both"]
#: of arithmetic, as Fabric names it
FabricPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]
Precision = Literal["auto", FabricPrecision]
Strategy = Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"]
Logger = Literal["csv", "tensorboard", "wandb", "mlflow"]

#: Range of each number. Values outside are mistakes, such as a run that never ends or a million processes.
STAGE_RANGES = {
    **dict.fromkeys(("epochs", "patience"), (1, 100_000)),
    **dict.fromkeys(("batch_size", "accumulate"), (1, 1_000_000)),
    **dict.fromkeys(("tokens", "checkpoint_steps"), (0, 1_000_000_000)),
    "workers": (0, 256),
    "checkpoint_minutes": (0, 1_000_000),
    **dict.fromkeys(("label_weight", "token_weight", "weight_decay"), (0, 1_000_000)),
    "clip": (0, 1_000_000_000),
    "seed": (0, 2**32 - 1),
}
REFINE_RANGES = {
    "stays": (1, 1_000_000_000),
    "validation_stays": (1, 1_000_000_000),
    "samples": (1, 1000),
    "others": (1, 1000),
    **dict.fromkeys(("beta", "least_gap", "rate"), (0, 1_000_000)),
}
ALIGN_RANGES = {
    "dim": (2, 65_536),
    "prototypes": (2, 1_000_000),
    **dict.fromkeys(("instance", "token", "prototype", "caption"), (0, 1_000_000)),
    **dict.fromkeys(("dropout", "soft_negatives"), (0, 1)),
}
TRAINER_RANGES = {"devices": (1, 1024), "num_nodes": (1, 65_536)}


@dataclass
class RefineConfig:
    """How a stage learns from rationales that its parent samples freely.

    Attributes:
        method: ``rft`` learns the best of a stay's samples, where it is sound; ``dpo`` prefers the best to the worst;
            ``both`` adds the two losses.
        stays, validation_stays: how many stays of each split are sampled.
        samples: of each stay.
        temperature, top_p: of the samples.
        others: charts of other patients that a claim is held against, to see what it tells of this stay.
        mend: where no sample of a stay is sound, learn one without its unsupported statements.
        least_gap: least difference in reward of a best and a worst rationale that are compared.
        least_reward: what the best must earn more than, to be compared: with 0, to say nothing is not preferred to what
            is false.
        beta: how far preferences may move the student from its parent: the less, the farther.
        rate: of the parent's learning rate.
        journal: file of the samples, which runs of the same parent may share; by default one in the run folder.
    """

    method: Refinement = "both"
    stays: int = 256
    validation_stays: int = 32
    samples: int = 4
    temperature: float = 1.0
    top_p: float = 0.95
    others: int = 3
    mend: bool = True
    least_gap: float = 1.0
    least_reward: float = 0.0
    beta: float = 0.1
    rate: float = 0.1
    journal: str | None = None

    def check(self, where: str) -> None:
        """Raise a UserError for invalid values."""
        _check_ranges(self, where, REFINE_RANGES)
        if not 0 < self.temperature <= 100:
            raise UserError(f"{where}.temperature is {self.temperature}, expected a number above 0, such as 1")
        if not 0 < self.top_p <= 1:
            raise UserError(f"{where}.top_p is {self.top_p}, expected a share above 0, at most 1")
        if self.method != "rft" and self.samples < 2:
            raise UserError(f"{where}.samples is {self.samples}: preferences need two samples of a stay, or method=rft")


@dataclass
class AlignConfig:
    """How note and series of a stay are aligned (``model.alignment``), with the defaults of MGCA.

    Attributes:
        instance, token, prototype: weights of the losses of whole stays, of tokens, and of assignments to prototypes;
            0 leaves one out.
        dim: of the common space.
        prototypes: how many.
        network: also read the states of language model and series encoder, and train these. Without them only what the
            linear probes read is aligned, in a fraction of the time.
        dropout: share of terms, concepts and bins that are left out in training.
        rate: learning rate of what reads these.
        soft_negatives: share of a stay's target that goes to stays whose notes affirm the same concepts; 0 for none.
        temperature, token_temperature, prototype_temperature: of similarities; the first is learned from there.
        caption: weight of the loss of the series rationale, which the language model writes from the series (CoCa).
    """

    instance: float = 1.0
    token: float = 0.7
    prototype: float = 0.5
    dim: int = 128
    prototypes: int = 500
    network: bool = True
    dropout: float = 0.9
    rate: float = 3e-3
    soft_negatives: float = 0.0
    temperature: float = 0.07
    token_temperature: float = 0.1
    prototype_temperature: float = 0.2
    caption: float = 0.0

    def check(self, where: str) -> None:
        """Raise a UserError for invalid values."""
        _check_ranges(self, where, ALIGN_RANGES)
        for name in ("temperature", "token_temperature", "prototype_temperature", "rate"):
            if not 0 < (value := getattr(self, name)) <= 100:
                raise UserError(f"{where}.{name} is {value}, expected a number above 0, such as 0.1")
        if self.dropout == 1:
            raise UserError(f"{where}.dropout is 1: nothing would be left to learn from")
        if not self.instance + self.token + self.prototype:
            raise UserError(f"{where}: instance, token and prototype are all 0: nothing would be learned")
        if self.token and not self.network:
            raise UserError(f"{where}.network is false, so there are no tokens to align: set {where}.token=0 too")
        if self.caption and not self.network:
            raise UserError(f"{where}.network is false, so nothing can write: leave out {where}.caption")


@dataclass
class StageConfig:
    """One stage (``configs/stage/*.yaml``, or a user's own file).

    Attributes:
        inputs: modalities read, of ``note`` and ``series``.
        targets: sections written, of ``note``, ``series`` and ``diagnoses``.
        frozen: parts of the model that are not trained.
        parent: name of the stage that this one continues; None starts a new model.
        label_weight: weight of the label head's loss beside the language model's.
        token_weight: weight of the divergence from the teacher's token probabilities, where available.
        monitor: the validation metric that picks the best epoch: ``loss`` (less is better) or ``macro_auroc``.
        batch_size: most stays of one forward pass.
        accumulate: forward passes of one optimiser step; a step has ``batch_size * accumulate`` stays for each process.
        tokens: most padded tokens of one forward pass, for memory; 0 for no limit. It changes no result.
        class_weights: weighting of rare phenotypes in the label loss: ``none``, ``sqrt`` or ``balanced``.
        tasks: ``joint`` writes rationales and diagnoses as one text; ``separate`` trains them as two tasks, in turn.
        masked: share of patches that ``pretrain`` masks; of words that ``ask`` leaves out of a question, or adds.
        precision: ``auto`` uses bf16 if the hardware supports it and the model is large enough to benefit.
        checkpoint_minutes: interval of checkpoints; ``checkpoint_steps`` counts steps instead.
        freshness: ``validation`` lets the linear probes weigh training stays by the age of their period, for each label
            as strongly as predicts the newest validation stays best, or not at all.
        similar_cases: the model also goes by how the training stays most like a stay were labelled; for it, it holds
            vectors and labels of training stays.
        linear_probes: fit those that the model has; false saves their time in a stage that only another continues.
        refine: the student learns from its own samples rather than from a teacher; None for all other stages.
        mixture: the stage learns several tasks: weight of each, 0 leaves it out; empty for all that can be
            learned from the cohort, in equal parts; None for all stages of one task.
        align: note and series learn to be found from each other; None for all other stages.
    """

    inputs: list[Modality] = MISSING
    targets: list[Target] = MISSING
    frozen: list[Part] = field(default_factory=list)
    parent: str | None = None
    label_weight: float = 1.0
    token_weight: float = 0.0
    epochs: int = 20
    patience: int = 3
    monitor: Monitor = "loss"
    batch_size: int = 16
    accumulate: int = 1
    tokens: int = 0
    class_weights: ClassWeights = "none"
    tasks: Writing = "joint"
    masked: float = 0.4
    weight_decay: float = 0.05
    warmup: float = 0.1
    clip: float = 1.0
    seed: int = 0
    precision: Precision = "auto"
    workers: int = 0
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int = 0
    freshness: Freshness = "none"
    similar_cases: bool = False
    linear_probes: bool = True
    refine: RefineConfig | None = None
    mixture: dict[str, float] | None = None
    align: AlignConfig | None = None

    def check(self, where: str) -> None:
        """Raise a UserError for invalid values."""
        if where not in WITHOUT_STUDENT and not (self.inputs and self.targets):
            raise UserError(f"{where}: inputs and targets must each name at least one entry")
        if not 0 < self.masked < 1:
            raise UserError(f"{where}.masked is {self.masked}, expected a share between 0 and 1")
        if not 0 <= self.warmup <= 1:
            raise UserError(f"{where}.warmup is {self.warmup}, expected a share of the steps, from 0 to 1")
        _check_ranges(self, where, STAGE_RANGES)
        if self.refine is not None:
            self.refine.check(f"{where}.refine")
            if self.parent is None:
                raise UserError(f"{where}: stage.refine learns from samples of its parent: set stage.parent")
        self._check_head(where)
        if self.mixture is not None:
            self._check_mixture(where)
        if self.align is not None:
            self._check_align(self.align, where)

    def _check_align(self, align: AlignConfig, where: str) -> None:
        align.check(f"{where}.align")
        if {*self.inputs} != {"note", "series"}:
            raise UserError(f"{where}: to align needs both note and series: set stage.inputs=[note,series]")
        if align.caption and [*self.targets] != ["series"]:
            raise UserError(f"{where}.align.caption: what is written is the rationale: set stage.targets=[series]")
        if self.batch_size < FEWEST_ALIGNED:
            raise UserError(
                f"{where}.batch_size is {self.batch_size}: a stay is told from the others of its batch, so that it "
                f"needs at least {FEWEST_ALIGNED}, better 128 or more"
            )

    def _check_head(self, where: str) -> None:
        if self.similar_cases and (self.refine is not None or where in WITHOUT_STUDENT):
            raise UserError(f"{where}: this stage fits no label head: leave out stage.similar_cases")

    def _check_mixture(self, where: str) -> None:
        if self.refine is not None or self.align is not None or self.parent is not None:
            raise UserError(f"{where}: a stage with stage.mixture has no stage.refine, stage.align or stage.parent")
        for name, weight in (self.mixture or {}).items():
            if name not in (valid := [*tasks.names(), *WITHOUT_LABELS]):
                raise unknown_choice("task", name, valid)
            if not 0 <= weight <= 1000:
                raise UserError(f"{where}.mixture.{name} is {weight}, expected a weight from 0 to 1000")


@dataclass
class TrainerConfig:
    """Hardware settings (``configs/trainer/*.yaml``), with the names of Lightning Fabric.

    Attributes:
        accelerator: ``auto``, ``cpu``, ``gpu``.
        devices: processes on each node.
        strategy: ``auto``, ``ddp_find_unused_parameters_true``, ``fsdp``.
        logger: tracker in addition to ``metrics.csv``: ``csv`` (none), ``tensorboard``, ``wandb``, ``mlflow``.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: Strategy = "auto"
    logger: Logger = "csv"

    def check(self, where: str) -> None:
        """Raise a UserError for invalid values."""
        _check_ranges(self, where, TRAINER_RANGES)


def _check_ranges(settings: Any, where: str, ranges: dict[str, tuple[int, int]]) -> None:
    """Raise a UserError for a value that is not a number or outside its range."""
    for name, (least, most) in ranges.items():
        value = getattr(settings, name)
        if math.isnan(value) or value < least:
            raise UserError(f"{where}.{name} is {value}, expected at least {least}")
        if value > most:
            raise UserError(f"{where}.{name} is {value}, expected at most {most:,}")


@dataclass
class RunConfig:
    """The resolved configuration of one training run, written into its folder."""

    stage_name: str = MISSING
    stage: StageConfig = field(default_factory=StageConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    teacher: str = "evidence"
    task: str = tasks.DEFAULT


def stage_name(stage: str) -> str:
    """The name of a stage: that of a shipped one, or the file name of a user's YAML file.

    >>> stage_name("notes"), stage_name("stages/my_stage.yaml")
    ('notes', 'my_stage')

    Raises:
        UserError: unknown stage, or a file named like ``pretrain`` or ``ask``, which have objectives of their own.
    """
    path = Path(stage)
    if path.suffix in (".yaml", ".yml"):
        if path.stem in WITHOUT_STUDENT:
            raise UserError(f"{stage}: '{path.stem}' is a stage with an objective of its own: call the file otherwise")
        return path.stem
    if stage not in (shipped := names("stage")):
        raise unknown_choice("stage", stage, [*shipped, "a YAML file"])
    return stage


def settings_of(stage: str, overrides: Sequence[str] = ()) -> StageConfig:
    """The settings of a stage; of the overrides, those of other groups are left aside.

    Args:
        stage: name of a shipped stage, or a YAML file.
        overrides: ``stage.KEY=VALUE``, and others.
    """
    mine = [override.removeprefix("stage.") for override in overrides if override.startswith("stage.")]
    return load("stage", stage, StageConfig, mine)


def resolve(
    stage: str,
    model: str | ModelConfig,
    teacher: str,
    overrides: list[str],
    trainer: str = "default",
    task: str = tasks.DEFAULT,
) -> RunConfig:
    """Merge shipped configs and ``stage.*`` / ``model.*`` overrides.

    Args:
        stage: name of a shipped stage, or a YAML file (see :class:`StageConfig`).
        model: preset name or path, or the configuration of the parent's model, which overrides cannot change.
        teacher: name of the rationale set.
        overrides: ``stage.KEY=VALUE``, ``model.KEY=VALUE`` or ``trainer.KEY=VALUE``.
        trainer: hardware preset or YAML file.
        task: name of a task, whose labels are learned.
    """
    name = stage_name(stage)
    groups: dict[str, list[str]] = {"stage": [], "model": [], "trainer": []}
    for override in overrides:
        group, separator, setting = override.partition(".")
        if not separator or group not in groups:
            raise UserError(f"--set {override}: expected stage.KEY=VALUE, model.KEY=VALUE or trainer.KEY=VALUE")
        groups[group].append(setting)
    settings = load("stage", stage, StageConfig, groups["stage"])
    settings.check(name)
    chosen = tasks.load(task)
    settings.targets = [name for name in settings.targets if name in chosen.sections]
    if isinstance(model, str):
        model = choose(model, groups["model"])
    elif groups["model"]:
        changed = [override.partition("=")[0] for override in groups["model"]]
        free = ("learning_rate", "learning_rate_new", "target_order")
        if alien := [key for key in changed if key not in free]:
            raise UserError(f"--set model.{alien[0]}: the shape of the parent's model is fixed; only {', '.join(free)}")
        model = build(ModelConfig, asdict(model), "the parent's model", groups["model"])
    model.check("model")
    hardware = load("trainer", trainer, TrainerConfig, groups["trainer"])
    hardware.check("trainer")
    return RunConfig(stage_name=name, stage=settings, model=model, trainer=hardware, teacher=teacher, task=task)


#: Settings of a stage that earlier releases did not have, and the value with which a run is as theirs: left out of the
#: identity of a run then, which so stays the same.
LATER_SETTINGS: dict[str, Any] = {
    "token_weight": 0.0,
    "freshness": "none",
    "similar_cases": False,
    "linear_probes": True,
    "refine": None,
    "mixture": None,
    "align": None,
}


def shaping(config: RunConfig) -> dict[str, Any]:
    """The settings that affect the result of a run, as plain values; those of hardware and files do not."""
    settings = formerly_spelled(config)
    hardware = settings.pop("trainer")
    for name in ("checkpoint_minutes", "checkpoint_steps", "workers", "tokens"):
        del settings["stage"][name]
    if settings["task"] == tasks.DEFAULT:
        del settings["task"]
    if settings["stage"]["refine"] is not None:
        del settings["stage"]["refine"]["journal"]
    if settings["stage"]["align"] is not None and not settings["stage"]["align"]["caption"]:
        del settings["stage"]["align"]["caption"]
    for name, unused in LATER_SETTINGS.items():
        if settings["stage"][name] == unused:
            del settings["stage"][name]
    if not settings["model"]["max_caption_tokens"]:
        del settings["model"]["max_caption_tokens"]
    if not settings["model"]["language_model"]["decoder_layers"]:
        del settings["model"]["language_model"]["decoder_layers"]
    return settings | {"processes": hardware["devices"] * hardware["num_nodes"]}
