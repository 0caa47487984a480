"""The manifests of runs, predictions, rationale sets and graphs as values: each is read and written only here."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypedDict

from clinragen import versions
from clinragen.artifacts import read_json, write_json
from clinragen.choices import FORMER_SERIES_INPUTS, Modality, SeriesInput, Target
from clinragen.errors import UserError
from clinragen.shape import Share, differs, of


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The entries of a manifest: one field for each that this version knows.

    A field whose default is None is written only if it is set. When a manifest is read, an entry that an older version
    did not write is None, and one that a newer version added is kept and written again unchanged.

    Attributes:
        stored: the entries as read from disk; empty for a new manifest.
    """

    FORMAT: ClassVar[versions.Format]
    DESCRIBED: ClassVar[str]  # what it is the manifest of, for messages

    stored: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a manifest.

        Raises:
            UserError: missing, of a version that is not read, or an entry is missing or damaged: with file and key.
        """
        return cls.of_json(read_json(path, cls.DESCRIBED), path)

    @classmethod
    def of_json(cls, values: dict[str, Any], path: Path) -> Self:
        """A manifest whose JSON was read from ``path`` already.

        Raises:
            UserError: as :meth:`read`.
        """
        cls.FORMAT.check(values, path)
        shapes = of(cls)
        if trouble := differs(values, {name: shapes[name] for name in cls._names()}) or cls._alien(values):
            raise UserError(f"{path}: {trouble}: {cls.FORMAT.anew}")
        return cls(**{name: values.get(name) for name in cls._names()}, stored=values)

    @classmethod
    def _alien(cls, values: dict[str, Any]) -> str | None:
        """An inconsistency between entries of the right types, in words."""
        return None

    @classmethod
    def _names(cls) -> list[str]:
        return [entry.name for entry in fields(cls) if entry.name != "stored"]

    def to_json(self) -> dict[str, Any]:
        """The entries as JSON values."""
        entries = {name: getattr(self, name) for name in self._names()}
        optional = {entry.name for entry in fields(self) if entry.default is None}
        always = self.stored or entries.keys() - optional
        written = {name: value for name, value in entries.items() if name in always or value is not None}
        return (self.stored or self.FORMAT.mark) | written

    def write(self, path: Path) -> None:
        """Write the manifest, as JSON with sorted keys."""
        write_json(path, self.to_json())

    def __getitem__(self, key: str) -> Any:
        """An entry by its key, as manifests were read when they were dictionaries; for one release."""
        return self.to_json()[key]


@dataclass(frozen=True, kw_only=True)
class StageManifest(Manifest):
    """What came of training a stage: all there is to say of ``pretrain``, and the beginning of the others.

    Attributes:
        clinragen: the version that trained it.
        stage: its name.
        cohort: folder of the cohort.
        cohort_sha256: of the cohort's manifest.
        identity: hash of everything that shapes the run.
        model_sha256: of the weights.
        stays: by split, how many there were.
        best: the ``epoch`` that was kept, from 0, and what it reached on the validation stays.
        seconds: that the training took.
    """

    FORMAT = versions.RUN
    DESCRIBED = "the manifest of a finished training run"

    clinragen: str | None
    stage: str
    cohort: str | None
    cohort_sha256: str | None
    identity: str | None
    model_sha256: str
    stays: dict[str, int] | None
    best: dict[str, float] | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class RunManifest(StageManifest):
    """What came of training a student, or of exporting it.

    Attributes:
        inputs: what it reads.
        targets: what it was trained to write.
        teacher: whose rationales it learned from.
        task: what it predicts; None stands for the first task, diagnosis.
        source: of the cohort.
        protocol: of the cohort.
        parent: folder of the run that it continues.
        pretrained: folder of the run whose encoder it began with; of an exported model, whether there was one.
        parent_stages: the stages before.
        files: hash and size of each file of the model.
        parameters: how many weights there are.
        notes_cut: training stays whose note did not fit.
        targets_cut: training stays whose target did not fit.
        soft_targets: how many tokens had a teacher's probabilities, where they were learned.
        fusion: gains of the linear paths.
        exported_by: the version that exported it.
        trained_as: hash of the weights before they were exported.
        refined: of a stage that learns from its own samples, how many there were and what they were worth.
        tasks: of a student of several tasks, by name: weight in the mixture, examples by split, metrics of the epoch
            that was kept, and gains of the linear paths; ``task`` is the first of those with labels.
    """

    inputs: list[Modality]
    targets: list[Target]
    teacher: str | None
    task: str | None
    source: Any | None
    protocol: Any | None
    parent: str | None
    pretrained: str | bool | None
    parent_stages: list[str] | None
    files: dict[str, Any] | None
    parameters: int | None
    notes_cut: int | None
    targets_cut: int | None
    soft_targets: dict[str, Any] | None
    fusion: dict[str, Any] | None
    exported_by: str | None = None
    trained_as: str | None = None
    refined: dict[str, float] | None = None
    tasks: dict[str, dict[str, Any]] | None = None

    @classmethod
    def _alien(cls, values: dict[str, Any]) -> str | None:
        return next((f"{key}: expected at least one" for key in ("inputs", "targets") if not values[key]), None)


@dataclass(frozen=True, kw_only=True)
class PredictionsManifest(Manifest):
    """What predictions are of, and how they came about.

    Attributes:
        created_by: the version that wrote them.
        model: run folder.
        model_hash: of its weights.
        cohort: folder of the cohort.
        cohort_hash: of the cohort's manifest.
        graph: folder of the concept graph; None stands for the model's own.
        split: whose stays are predicted.
        task: what is predicted; None stands for the first task, diagnosis.
        labels: keys, in the order of the model's logits.
        label_set: the labels in full.
        added_variables: variables beside the catalogue's, in full, that model or cohort have; None for none.
        thresholds: by label, the probability from which on it is called.
        series_input: the stays' own series, or a control.
        decoding: by kind of rationale, whether it was held to the chart.
        source: of the cohort.
        window: the hours that the model reads, in words.
        remarks: what a reader must know of this model on this cohort.
        stays: how many were predicted.
        parsed: of how many the text could be read back.
        possible_from: probability from which on a label belongs to the set of possible ones; None if there are no sets.
        abstained: on how many the model abstains; None if predictions did not say yet.
        search: how free text was searched for: beams, samples, temperature, seed.
        precision: numbers in which the language model computed, as they were asked for.
        training: the manifest of the run.
        outputs: hashes of the files, by name.
        sizes: bytes of the files, by name.
    """

    FORMAT = versions.PREDICTIONS
    DESCRIBED = "the manifest of a predictions folder (clinragen predict)"

    created_by: str | None
    model: str
    model_hash: str
    cohort: str
    cohort_hash: str
    graph: str | None
    split: str
    task: str | None
    labels: list[str]
    label_set: dict[str, Any] | None
    thresholds: dict[str, Share]
    series_input: SeriesInput
    decoding: dict[str, str] | None
    source: Any | None
    window: str | None
    remarks: list[str] | None
    stays: int | None
    parsed: int | None
    training: dict[str, Any] | None
    added_variables: dict[str, Any] | None = None
    possible_from: Share | None = None
    abstained: int | None = None
    search: dict[str, Any] | None = None
    precision: str | None = None
    outputs: dict[str, str] | None = None
    sizes: dict[str, int] | None = None

    @classmethod
    def of_json(cls, values: dict[str, Any], path: Path) -> Self:
        """As :meth:`Manifest.of_json`; a series input that had another name is read by today's."""
        read = values.get("series_input")
        today = FORMER_SERIES_INPUTS.get(read, read) if isinstance(read, str) else read
        return super().of_json(values | {"series_input": today} if "series_input" in values else values, path)

    @classmethod
    def _alien(cls, values: dict[str, Any]) -> str | None:
        labels = values["labels"]
        if not labels or len(set(labels)) < len(labels):
            return "labels: expected names that differ"
        if unset := [label for label in labels if label not in values["thresholds"]]:
            return f"thresholds has no entry for {', '.join(unset[:9])}"
        return None


class GraphSource(TypedDict):
    """A knowledge source of a graph: its version, its licence, and the hash of each file that was read."""

    version: str
    licence: str
    files: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class GraphManifest(Manifest):
    """What a concept graph was made from.

    Attributes:
        sources: by name.
        citations: in full, by the keys that edges hold.
        nodes: how many there are.
        edges: how many there are.
        labels: hash of the label set that the graph was brought under, if it was.
    """

    FORMAT = versions.GRAPH
    DESCRIBED = "a concept graph (make one: clinragen graph build --out DIR)"

    sources: dict[str, GraphSource]
    citations: dict[str, str]
    nodes: int
    edges: int
    labels: str | None = None


#: kind of rationale -> quantity -> number.
ByKind = dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class RationalesManifest(Manifest):
    """How a rationale set came about: by whom, of what, and what its claims are worth.

    Attributes:
        created_by: the version that wrote it.
        teacher: its name.
        backend: evidence, openai or vllm.
        prompt_hash: of all but the patient that shapes a rationale.
        graph: manifest of the concept graph.
        model: of a language model, as it is named in the config.
        endpoint: where prompts went, with the attestation; None where they stayed in the process.
        worth: training stays from which the evidence teacher learned the worth of signs: their number and split, and a
            hash of the counts; absent for others, and where version 3 of that teacher or an older one wrote the set.
        cohort: hash of each file of the cohort that was read.
        table: hash of the rationales.
        taught_claims: verdicts of the claims that are taught.
        coverage: diagnoses that stays ``listed``, and how many of them the rationales ``grounded``.
        served_by: what the server called its model, with the number of answers; this and what follows is said of
            language models alone.
        settings: the resolved teacher config.
        ways: how rationales came about: as written, regenerated, edited, dropped, missing.
        dropped_share: of all rationales.
        first_draft_claims: verdicts before anything was asked for again.
        not_in_form: why answers were no rationales, with counts.
    """

    FORMAT = versions.RATIONALES
    DESCRIBED = "the manifest of a rationale set"

    created_by: str | None
    teacher: str | None
    backend: str | None
    prompt_hash: str | None
    graph: dict[str, Any] | None
    model: str | None
    endpoint: dict[str, Any] | None
    cohort: dict[str, str] | None
    table: str | None
    taught_claims: ByKind | None
    coverage: dict[str, int] | None
    worth: dict[str, Any] | None = None
    served_by: dict[str, int] | None = None
    settings: dict[str, Any] | None = None
    ways: ByKind | None = None
    dropped_share: float | None = None
    first_draft_claims: ByKind | None = None
    not_in_form: dict[str, int] | None = None
