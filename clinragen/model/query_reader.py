"""A language model that reads questions into queries: it writes them along their grammar, and words no answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from clinragen.artifacts import read_json, write_text
from clinragen.choices import ASK
from clinragen.config import build
from clinragen.errors import UserError
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.manifests import StageManifest
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.config import LanguageModelConfig
from clinragen.model.language_model import HasLanguageModel, LanguageModel, restore
from clinragen.model.task_heads import learned_dialogues, read_instruction
from clinragen.questions.outline import END, Outline, Outliner
from clinragen.questions.query import Query
from clinragen.tasks import FOLDER
from clinragen.tensors import write_tensors


class Tokens:
    """Queries as tokens: word by word, so that a word has the same tokens wherever it stands.

    Args:
        tokenizer: of the language model.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.eos: int = tokenizer.eos_token_id
        self.word: Callable[[str, bool], tuple[int, ...]] = cache(self._word)

    def _word(self, word: str, first: bool) -> tuple[int, ...]:
        ids = self._tokenizer(word if first else f" {word}", add_special_tokens=False)["input_ids"]
        return tuple(ids)

    def outline(self, words: Sequence[str]) -> list[int]:
        """The tokens of a query's outline, with the end of sequence."""
        return [token for number, word in enumerate(words) for token in self.word(word, not number)] + [self.eos]

    def question(self, text: str) -> list[int]:
        """The tokens of a question."""
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]


class QuestionReader:
    """Reads questions into queries with a language model of stage ``ask``.

    Args:
        language_model: of the run.
        outliner: of a graph; it may be another than that of the training.
        instruction: words that tell this task of several, of a student that learned others, too.
        follows: whether it learned dialogues, and reads questions that go on from the one before.
    """

    def __init__(
        self, language_model: LanguageModel, outliner: Outliner, instruction: str = "", *, follows: bool = False
    ) -> None:
        self.language_model, self.outliner, self.instruction = language_model, outliner, instruction
        self.follows = follows

    @classmethod
    def load(
        cls,
        run: str | Path,
        graph: ConceptGraph,
        linker: Linker | None = None,
        sharing: HasLanguageModel | None = None,
    ) -> Self:
        """Open a finished run of stage ``ask``, or of a student of several tasks, one of which is ``ask``.

        Args:
            run: its folder.
            graph: whose concepts and labels can be asked about.
            linker: that of the graph, if there is one already.
            sharing: a loaded model; the weights below the adapters that both have are held once, on its device.

        Raises:
            UserError: no such run, or a damaged one.
        """
        manifest = StageManifest.read(Path(run) / "manifest.json")
        if ASK in (manifest.stored.get("tasks") or ()):
            model = ClinRaGen.from_pretrained(Path(run) / "model", sharing)
            task = Path(run) / "model" / FOLDER / ASK
            language_model, outliner = _beside(model.language_model, sharing), Outliner(graph, linker)
            return cls(language_model, outliner, read_instruction(task), follows=learned_dialogues(task))
        if manifest.stage != ASK:
            raise UserError(f"{run} is a run of stage '{manifest.stage}', expected '{ASK}'")
        folder = Path(run) / "model"
        described = read_json(folder / "reader.json", "a language model of `clinragen train ask`")
        config = build(LanguageModelConfig, described.get("language_model", {}), str(folder / "reader.json"))
        language_model = restore(config, folder / "language_model", described.get("base"), sharing)
        weights = folder / "model.safetensors"
        try:
            stored = load_file(weights)
            if wrong := sorted(stored.keys() ^ _saved(language_model).keys()):  # before anything is written
                raise UserError(f"{weights} does not fit its description ({wrong[0]}): train anew")
            language_model.load_state_dict(stored, strict=False)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise UserError(f"{weights} is damaged ({str(error).splitlines()[0]}): train anew") from None
        follows = described.get("follows") is True
        return cls(_beside(language_model, sharing), Outliner(graph, linker), follows=follows)

    def __call__(self, question: str, last: Query | None = None) -> Query | None:
        """The query of one question, as the router of a dialogue is asked for it."""
        return self.read([question], [last])[0]

    def read(self, questions: Sequence[str], last: Sequence[Query | None] = ()) -> list[Query | None]:
        """The query of each question; None where nothing is named that the graph knows.

        Args:
            questions: in words.
            last: the query before each question, from which it may go on; empty: there is none. It is left aside by a
                model that learned no dialogues.
        """
        before = last if last and self.follows else [None] * len(questions)
        outlines = [self.outliner.of(question, one) for question, one in zip(questions, before, strict=True)]
        return read_queries(self.language_model, outlines, framed=partial(instructed, self.instruction))


def instructed(instruction: str, text: str) -> str:
    """What is read of a question: the instruction, if there is one, and the question."""
    return f"{instruction} {text}" if instruction else text


def _beside(language_model: LanguageModel, sharing: HasLanguageModel | None) -> LanguageModel:
    """The language model, ready to read, on the device of the one whose weights it shares."""
    if sharing is not None:
        language_model.to(sharing.language_model.embedding_weight.device)
    return language_model.eval()


def save_reader(
    language_model: LanguageModel, config: LanguageModelConfig, folder: Path, *, follows: bool = False
) -> None:
    """Write a language model that reads questions into a folder; ``QuestionReader.load`` reads it.

    Args:
        language_model: to write.
        config: of it.
        folder: where.
        follows: whether it learned dialogues.
    """
    language_model.save(folder / "language_model")
    write_tensors(folder / "model.safetensors", _saved(language_model), {"format": "pt"})
    described = {
        "language_model": asdict(config),
        "base": language_model.base,
        **({"follows": True} if follows else {}),
    }
    write_text(folder / "reader.json", json.dumps(described, indent=2) + "\n")


def _saved(language_model: LanguageModel) -> dict[str, Tensor]:
    """Weights by name: tied ones once, and without the base model's if there are adapters."""
    first: dict[tuple[int, torch.Size], str] = {}
    state = language_model.state_dict()
    for name, tensor in sorted(state.items()):
        if language_model.saved(name):
            first.setdefault((tensor.data_ptr(), tensor.shape), name)
    return {name: state[name] for name in sorted(first.values())}


class _Thread(NamedTuple):
    """A word that is being written: its tokens, how many are, and the query's words with it."""

    ids: tuple[int, ...]
    position: int
    words: tuple[str, ...]


class QueryGuide:
    """The grammars of some questions, as ``LanguageModel.guided`` follows them.

    Args:
        outlines: of each question, with a subject.
        tokens: of the language model.

    Attributes:
        queries: the outline of each query in words, once it is written.
    """

    def __init__(self, outlines: Sequence[Outline], tokens: Tokens) -> None:
        self._outlines, self._tokens = outlines, tokens
        self._threads: list[list[_Thread]] = []
        self.queries: list[tuple[str, ...]] = []

    def begin(self, texts: int) -> None:
        """Stand before the first word of each query."""
        self._threads = [self._words(text, ()) for text in range(texts)]
        self.queries = [()] * texts

    def certain(self, text: int) -> list[int]:
        """Move a query on by the tokens that have to follow."""
        ids: list[int] = []
        while ids[-1:] != [self._tokens.eos] and len(choices := self._next(text)) == 1:
            ids.append(self._move(text, choices.pop()))
        return ids

    def choose(self, text: int, logits: Tensor) -> int:
        """Move a query on by the likeliest token that the grammar allows."""
        choices = sorted(self._next(text))
        return self._move(text, choices[int(logits[choices].argmax())])

    def _next(self, text: int) -> set[int]:
        return {thread.ids[thread.position] for thread in self._threads[text]}

    def _move(self, text: int, token: int) -> int:
        threads: list[_Thread] = []
        for thread in self._threads[text]:
            if thread.ids[thread.position] != token:
                continue
            if thread.position + 1 < len(thread.ids):
                threads.append(thread._replace(position=thread.position + 1))
            elif token != self._tokens.eos:
                threads += self._words(text, thread.words)
            else:
                self.queries[text] = thread.words
        self._threads[text] = threads
        return token

    def _words(self, text: int, words: tuple[str, ...]) -> list[_Thread]:
        following = self._outlines[text].following(words)
        return [
            _Thread((self._tokens.eos,), 0, words)
            if word == END
            else _Thread(self._tokens.word(word, not words), 0, (*words, word))
            for word in following
        ]


def read_queries(
    language_model: LanguageModel,
    outlines: Sequence[Outline],
    *,
    batch_size: int = 64,
    framed: Callable[[str], str] = str,
) -> list[Query | None]:
    """The query that a language model takes each question for; None for a question without a subject.

    Args:
        language_model: trained by stage ``ask``, or any other.
        outlines: the questions.
        batch_size: questions that are read together.
        framed: the text that is read, from that of the outline: a language model that was not trained needs examples.
    """
    tokens = Tokens(language_model.tokenizer)
    device, pad = next(language_model.parameters()).device, language_model.tokenizer.pad_token_id
    order = [number for number, outline in enumerate(outlines) if outline.subjects]
    order.sort(key=lambda number: len(outlines[number].text))
    queries: list[Query | None] = [None] * len(outlines)
    for start in range(0, len(order), batch_size):
        some = order[start : start + batch_size]
        ids, mask = padded([tokens.question(framed(outlines[number].text)) for number in some], pad)
        guide = QueryGuide([outlines[number] for number in some], tokens)
        with torch.no_grad():
            language_model.guided(language_model.context(None, ids.to(device), mask.to(device)), guide)
        for number, words in zip(some, guide.queries, strict=True):
            queries[number] = outlines[number].fill(words)
    return queries


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids of some texts and the mask of the real ones, [B, longest] each."""
    ids = pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(ids.shape[1])[None] < lengths[:, None]
