"""The student: series encoder, knowledge-augmented attention, language model and label head, saved as one folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LogitsProcessorList

from clinragen import added_variables, versions
from clinragen.added_variables import NONE, AddedVariables
from clinragen.artifacts import read_json
from clinragen.choices import Modality, Target
from clinragen.config import build
from clinragen.data.batch import Batch
from clinragen.data.lexicon import Lexicon
from clinragen.data.series import SeriesStatistics
from clinragen.data.targets import MARKERS, TargetFormat, sections_for
from clinragen.errors import UserError
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.relabel import relabel
from clinragen.label_sets import LabelSet, of_model
from clinragen.model.concept_attention import ConceptAttention, Knowledge, uniform
from clinragen.model.concepts import Concepts, export_concepts
from clinragen.model.config import ModelConfig
from clinragen.model.guided import Guide
from clinragen.model.head import LabelHead, NoteStates, SeriesStates, todays_weight
from clinragen.model.knowledge_prior import KnowledgePrior
from clinragen.model.language_model import Context, HasLanguageModel, LanguageModel, Sampling, create, restore
from clinragen.model.pretrained import reason
from clinragen.model.series_encoder import SeriesEncoder, SeriesTokens
from clinragen.tasks import ListWording
from clinragen.tensors import write_tensors


@dataclass
class Output:
    """Label logits [B, L]; per stay [B] or None the negative log-likelihood of its target, and ``kl`` of the student's
    probabilities from the teacher's where the batch has soft targets (0 for a stay without).

    When an explanation was asked for and a series is read: the knowledge-augmented series, with what every token looked
    at; and the share of attention each key of the knowledge received, [B, keys], if there is any. Else None. When an
    explanation was asked for, what the head read, too. ``votes`` is the part of similar cases in the logits, [B, L];
    None of a model without any.
    """

    logits: Tensor
    nll: Tensor | None
    kl: Tensor | None
    concept_weights: Tensor | None
    knowledge: Knowledge | None = None
    note: NoteStates | None = None
    series: SeriesStates | None = None
    votes: Tensor | None = None


class ClinRaGen(nn.Module):
    """The complete student model.

    Args:
        config: sizes and switches of the model.
        statistics: how series are standardised and binned.
        concepts: concepts and keys of the knowledge-augmented attention.
        language_model: with its tokenizer.
        labels: label set, in the order of the logits.
        graph: the concept graph, saved with the model because new notes are linked to it.
        lexicon: terms that a linear probe reads in notes.
        wording: wording of the list of labels; by default that of diagnoses.
    """

    def __init__(
        self,
        config: ModelConfig,
        statistics: SeriesStatistics,
        concepts: Concepts,
        language_model: LanguageModel,
        labels: LabelSet,
        graph: ConceptGraph,
        lexicon: Lexicon,
        wording: ListWording | None = None,
    ):
        super().__init__()
        self.added = NONE  # variables beside the catalogue's
        self.instruction = ""  # what is read before the note, which tells one task of several
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config = config
        self.statistics = statistics
        self.concepts = concepts
        self.labels = labels
        self.graph = graph
        self.lexicon = lexicon
        self.wording = wording or ListWording()
        self.language_model = language_model
        self.series_encoder = SeriesEncoder(config.series, statistics)
        d_lm = language_model.hidden_size
        if d_lm % config.attention.heads:
            raise UserError(
                f"model.attention.heads is {config.attention.heads}, expected a divisor of the language model's "
                f"hidden size {d_lm}"
            )
        self.concept_attention = ConceptAttention(config.attention, concepts, config.series.d_model, d_lm)
        self.head = self.new_head(labels)
        with torch.no_grad():
            self.concept_attention.gain.fill_(language_model.embedding_weight.std())

    def new_head(self, labels: LabelSet) -> LabelHead:
        """An untrained head for a label set."""
        config, concepts, statistics = self.config, self.concepts, self.statistics
        knowledge_prior = None
        in_graph = any(f"phenotype:{key}" in concepts.ids for key in labels)
        if config.attention.knowledge_prior and concepts.edges and in_graph:
            knowledge_prior = KnowledgePrior(concepts, statistics, list(labels), config.head.dim)
        bins = self.series_encoder.variables * self.series_encoder.encode.features
        sizes = len(labels), self.language_model.hidden_size, bins, len(concepts.ids)
        return LabelHead(config.head, *sizes, knowledge_prior, len(self.lexicon.terms))

    def instructed(self, instruction: str) -> ClinRaGen:
        """The same student with another instruction: all weights are shared."""
        other = copy(self)
        other._modules = dict(self._modules)  # the parts themselves are the same
        other.instruction = instruction
        return other

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the language model."""
        return self.language_model.tokenizer

    def check_context(self) -> None:
        """Raise a UserError if the longest note and the longest report exceed the language model's positions."""
        beyond = self._beyond(self.config.max_target_tokens)
        if beyond > 0:
            limit = self.language_model.model.config.max_position_embeddings
            raise UserError(
                f"model.max_note_tokens {self.config.max_note_tokens} and model.max_target_tokens "
                f"{self.config.max_target_tokens} need {limit + beyond} positions, the language model has {limit}: "
                "lower one"
            )

    @property
    def rationale_tokens(self) -> int:
        """Most tokens of one rationale that constrained decoding writes: ``max_target_tokens``, which both rationales
        of a training target share, or what the language model's positions leave for each."""
        most = self.config.max_target_tokens
        return max(most // 2, most - -(-max(0, self._beyond(2 * most)) // 2))

    def _beyond(self, tokens: int) -> int:
        """By how much the longest note and a report with rationales of so many tokens exceed the positions."""
        limit = getattr(self.language_model.model.config, "max_position_embeddings", None)
        if limit is None:
            return 0
        target = self.target_format(tuple(MARKERS))
        listed = len(target.diagnoses([True] * len(self.labels)))
        written = tokens + listed + sum(map(len, target.markers.values())) + 1
        read = self.config.max_note_tokens + self.config.max_caption_tokens + self.config.attention.prompts
        read += len(self._instruction_ids)
        return self.language_model.room(read, written) - limit

    def target_format(self, targets: Sequence[Target]) -> TargetFormat:
        """How targets (note, series, diagnoses) are spelled by this model's tokenizer."""
        sections = sections_for(targets, self.config.target_order)
        return TargetFormat(self.tokenizer, tuple(self.labels.names.values()), sections, self.wording)

    def forward(
        self, batch: Batch, inputs: Sequence[Modality], *, targets: bool = True, explain: bool = False
    ) -> Output:
        """Score a batch.

        Args:
            batch: B stays, on the device of the model.
            inputs: the modalities to read, any of ``note`` and ``series``.
            targets: also score ``batch.target_ids``, for which captions are read; the logits do not depend on them.
            explain: also return the attention each concept received.
        """
        context, series, knowledge = self._context(batch, inputs, explain=explain, captions=targets)
        soft = batch.soft if batch.soft_places.shape[1] else None
        reading = self.language_model.read(context, batch.target_ids if targets else None, soft)
        note = signal = None
        if "note" in inputs:
            # the language model alone may compute in shorter numbers (``precision.numbers_of``)
            states = reading.states if self.training else reading.states.to(self.head.out_bias.dtype)
            note = NoteStates(states, reading.mask, batch.mentions, batch.term_ids, batch.term_weights)
        if series is not None and knowledge is not None:
            signal = SeriesStates(knowledge.hidden, knowledge.mask, series.bins, batch.values, batch.observed)
        logits = self.head(note, signal)
        votes = self.head.votes(note, signal, batch.patients)
        if votes is not None:
            logits = logits + votes
        weights = None
        if knowledge is not None and knowledge.attention is not None:
            weights = self.concept_attention.received(knowledge.attention, uniform(knowledge.mask))
        explained = (knowledge, note, signal) if explain else (None, None, None)
        return Output(logits, reading.nll, reading.kl, weights, *explained, votes)

    def generate(
        self,
        batch: Batch,
        inputs: Sequence[Modality],
        processors: LogitsProcessorList,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        *,
        output: Output | None = None,
        beams: int = 1,
        copies: int = 1,
    ) -> Tensor:
        """Decode target ids greedily, by beam search, or by sampling.

        Args:
            batch: B stays, on the device of the model.
            inputs: the modalities to read.
            processors: alter the scores of the next tokens.
            max_new_tokens: most tokens of a target.
            sampling: how tokens are drawn; None takes the likeliest.
            output: what the model made of the batch when asked to explain: what it has read, it does not read again.
            beams: of each stay; the likeliest is returned.
            copies: of each stay, one after the other.

        Returns:
            Ids [B * copies, <= max_new_tokens].
        """
        context, states = self._reread(batch, inputs, output)
        if copies > 1:
            context = context.repeated(copies)
            states = None if states is None else states.repeat_interleave(copies, dim=0)
        return self.language_model.generate(context, processors, max_new_tokens, sampling, beams, states)

    def guided(self, batch: Batch, inputs: Sequence[Modality], guide: Guide, *, output: Output | None = None) -> Tensor:
        """Decode target ids greedily along a grammar, for the arguments of :meth:`generate`: ids [B, longest]."""
        context, states = self._reread(batch, inputs, output)
        return self.language_model.guided(context, guide, states)

    def _reread(self, batch: Batch, inputs: Sequence[Modality], output: Output | None) -> tuple[Context, Tensor | None]:
        """The context to write from, and its hidden states if it was read before."""
        knowledge, note = (output.knowledge, output.note) if output else (None, None)
        context, *_ = self._context(batch, inputs, captions=True, knowledge=knowledge)
        return context, None if note is None else note.states.to(context.embeddings.dtype)

    def _context(
        self,
        batch: Batch,
        inputs: Sequence[Modality],
        *,
        explain: bool = False,
        captions: bool = False,
        knowledge: Knowledge | None = None,
    ) -> tuple[Context, SeriesTokens | None, Knowledge | None]:
        """The input of the language model; and the series with its knowledge-augmented form, if it is read."""
        series = None
        if "series" in inputs and knowledge is None:
            series = self.series_encoder(batch.values, batch.observed)
            mentions = batch.mentions if "note" in inputs else None
            knowledge = self.concept_attention(series, self.language_model.embedding_weight, mentions, explain=explain)
        length = batch.note_ids.shape[1] if "note" in inputs else 0
        caption = None
        if self.config.max_caption_tokens and "series" in inputs:
            width = batch.caption_ids.shape[1] if captions else 0
            caption = batch.caption_ids[:, :width], batch.caption_mask[:, :width]
        context = self.language_model.context(
            self._prefix(knowledge, len(batch)), batch.note_ids[:, :length], batch.note_mask[:, :length], caption
        )
        return context, series, knowledge

    @property
    def _instruction_ids(self) -> list[int]:
        return self.tokenizer(self.instruction, add_special_tokens=False)["input_ids"] if self.instruction else []

    def _prefix(self, knowledge: Knowledge | None, stays: int) -> Tensor | None:
        """What stands before the note: the prompts of the series and the instruction, [B, n, d]."""
        prompts = knowledge.prompts if knowledge else None
        if not self.instruction:
            return prompts
        embeddings = self.language_model.embedding_weight
        ids = torch.tensor(self._instruction_ids, device=embeddings.device)
        words = self.language_model.model.get_input_embeddings()(ids).expand(stays, -1, -1)
        return words if prompts is None else torch.cat([prompts.to(words.dtype), words], dim=1)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``clinragen.json``, the language model's config and the tokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / "model.safetensors", self.weights(), {"format": "pt"})
        self.language_model.save(folder / "language_model")
        self.graph.save(folder / "graph", overwrite=True)
        config = asdict(self.config)
        if not self.config.max_caption_tokens:
            del config["max_caption_tokens"]  # a model without captions can be read by releases that know none
        if not self.config.language_model.decoder_layers:
            del config["language_model"]["decoder_layers"]  # likewise
        if self.instruction:
            config["instruction"] = self.instruction  # beside the settings, so that releases that know none refuse it
        if self.head.similar_cases is not None:
            config["similar_cases"] = self.head.similar_cases.described()  # likewise
        described = {
            **versions.MODEL.mark,
            "config": config,
            "statistics": self.statistics.to_json(),
            "concepts": self.concepts.to_json(),
            "labels": self.labels.names,
            "label_set": self.labels.to_json(),
            "base": self.language_model.base,
            "lexicon": asdict(self.lexicon),
        }
        described |= self.added.marked()
        if self.wording != ListWording():
            described["wording"] = asdict(self.wording)
        (folder / "clinragen.json").write_text(json.dumps(described), encoding="utf-8")

    def weights(self) -> dict[str, Tensor]:
        """Weights by name: tied ones once, and without the base model's if there are adapters.

        (``save_model`` lists the tied names in an order that varies between runs.)
        """
        first: dict[tuple[int, torch.Size], str] = {}
        state = self.state_dict()
        for name, tensor in sorted(state.items()):
            if not name.startswith("language_model.") or self.language_model.saved(name):
                first.setdefault((tensor.data_ptr(), tensor.shape), name)
        return {name: state[name] for name in sorted(first.values())}

    def load_weights(self, stored: dict[str, Tensor], part: str = "") -> None:
        """Load the result of :meth:`weights`, also of an earlier release.

        Args:
            stored: weights by name.
            part: what the names of those to load begin with; by default all weights are loaded.

        Raises:
            RuntimeError: weights are missing, too many, of another shape or not finite; the first is named.
        """
        stored = {todays_weight(name): tensor for name, tensor in stored.items()}
        expected = {name: tensor for name, tensor in self.weights().items() if name.startswith(part)}
        if missing := sorted(expected.keys() - stored.keys()):
            raise RuntimeError(f"{len(missing)} weights missing, the first {missing[0]}")
        if alien := sorted(stored.keys() - expected.keys()):
            raise RuntimeError(f"{len(alien)} weights too many, the first {alien[0]}")
        with torch.no_grad():
            for name, tensor in expected.items():
                if tensor.shape != (stored[name].shape or (1,)):
                    raise RuntimeError(f"{name} is {tuple(stored[name].shape)}, expected {tuple(tensor.shape)}")
                odd = (
                    ~stored[name].reshape(tensor.shape).isfinite()
                )  # a mask contains infinities, which are recreated at the same places
                if not torch.equal(stored[name].reshape(tensor.shape)[odd], tensor[odd]):
                    raise RuntimeError(f"{name} holds NaN or infinity")
                tensor.copy_(stored[name])

    @classmethod
    def from_pretrained(cls, folder: str | Path, sharing: HasLanguageModel | None = None) -> ClinRaGen:
        """Load a folder written by :meth:`save_pretrained`; every weight must fit.

        Args:
            folder: the folder.
            sharing: a loaded model; the weights below the adapters that both have are held once.

        Raises:
            UserError: missing or damaged files, weights that do not fit.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: expected a model written by `clinragen train`")
        described = read_json(folder / "clinragen.json", "the description of a clinragen model")
        version = versions.MODEL.check(described, folder)
        if absent := {"config", "statistics", "concepts", "labels", "lexicon"} - set(described):
            raise UserError(f"{folder / 'clinragen.json'} is damaged: {', '.join(sorted(absent))} missing; train anew")
        if not isinstance(described["labels"], dict) or not isinstance(described["config"], dict):
            raise UserError(f"{folder / 'clinragen.json'} is damaged: labels and config must be mappings; train anew")
        if version < versions.NOTE_PASSAGES:
            described["config"].setdefault("note_passages", "first")
        labels = of_model(folder / "clinragen.json")
        instruction = str(described["config"].pop("instruction", ""))
        similar_cases = described["config"].pop("similar_cases", None)
        config = build(ModelConfig, described["config"], str(folder / "clinragen.json"))
        config.check(str(folder / "clinragen.json"))
        added = added_variables.opened(described, folder / "clinragen.json", "train anew")
        language_model = restore(config.language_model, folder / "language_model", described.get("base"), sharing)
        graph = ConceptGraph.load(folder / "graph")
        if set(graph.of_kind("phenotype")) == {f"phenotype:{key}" for key in labels}:
            graph = relabel(graph, labels)  # written by an earlier release, which saved no label set with a graph
        try:
            model = cls(
                config,
                SeriesStatistics(**described["statistics"]),
                Concepts.from_json(described["concepts"]),
                language_model,
                labels,
                graph,
                Lexicon(**described["lexicon"]),
                ListWording(**described.get("wording", {})),
            )
            model.head.describe_similar_cases(similar_cases)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"{folder / 'clinragen.json'} describes no model ({type(error).__name__}: {reason(error)}): train anew"
            ) from None
        model.added, model.instruction = added, instruction
        weights = folder / "model.safetensors"
        try:
            model.load_weights(load_file(weights))
        except FileNotFoundError:
            raise UserError(f"{weights} not found") from None
        except (RuntimeError, SafetensorError) as error:
            first = str(error).splitlines()[0]
            raise UserError(f"{weights} is damaged or does not fit its description ({first}): train anew") from None
        return model.eval()


def assemble(
    config: ModelConfig,
    statistics: SeriesStatistics,
    graph: ConceptGraph,
    tokenizer: Any | None,
    lexicon: Lexicon | None = None,
    labels: LabelSet | None = None,
    wording: ListWording | None = None,
    added: AddedVariables = NONE,
) -> ClinRaGen:
    """Create a new student.

    Args:
        config: sizes and switches of the model.
        statistics: of the training series: variables, centres and scales.
        graph: concept graph for the knowledge-augmented attention.
        tokenizer: only for a language model from scratch.
        lexicon: note terms of the linear probe; None for no terms.
        labels: predicted labels; by default those of the graph.
        wording: wording of the list of labels.
        added: variables beside the catalogue's, which its cohort has.
    """
    language_model = create(config.language_model, tokenizer)
    attention = config.attention
    concepts = export_concepts(
        graph, statistics.variables, language_model.tokenizer, attention.knowledge, attention.seed, attention.vocabulary
    )
    labels, lexicon = labels or graph.labels, lexicon or Lexicon([], [])
    model = ClinRaGen(config, statistics, concepts, language_model, labels, graph, lexicon, wording)
    model.added = added
    return model
