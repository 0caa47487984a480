"""Free text by vLLM in this process: the model embeds prefix prompts, note and caption, and vLLM writes on from there.

vLLM reads prompt embeddings in place of tokens, so it needs nothing of the series or the graph. The grammar of reports
is applied to each stay's logits by vLLM itself, in the same process: the list of diagnoses is held to the closed set as
without vLLM. Nothing leaves the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from clinragen.errors import UserError
from clinragen.inference.decode import ReportGrammar
from clinragen.inference.engines import Explain, PartProgress, Work
from clinragen.inference.predict import LocalEngine
from clinragen.model.language_model import Causal, Context
from clinragen.quiet import phase

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.inference.predict import TrainedModel

#: Share of a GPU's memory for vLLM; the rest is for the model that embeds.
MEMORY = 0.7


@dataclass(frozen=True)
class VllmEngine:
    """Predicts parts in this process, and leaves the writing to vLLM.

    Attributes:
        explain: a function that returns the attributions, if they are asked for.
        vllm: replaces the module, for tests.
    """

    explain: Explain | None = None
    vllm: Any = None

    def predict(
        self, trained: TrainedModel, cohort: Cohort, work: Work, numbers: list[int], progress: PartProgress
    ) -> None:
        """Predict the parts of these numbers.

        Raises:
            UserError: vLLM is not installed or does not start, or the language model is none that it can serve.
        """
        language_model = trained.model.language_model
        if not isinstance(language_model, Causal):
            raise UserError(
                "--engine vllm writes with causal language models, such as preset smollm2_135m, and that of this model "
                "is sequence-to-sequence: use --engine local"
            )
        if not numbers:
            return
        phase(progress.console, "starting vLLM")
        with vllm_writes(language_model, self.vllm):
            LocalEngine(self.explain).predict(trained, cohort, work, numbers, progress)


@contextmanager
def vllm_writes(language_model: Causal, vllm: Any = None) -> Iterator[None]:
    """Within the block, vLLM generates the text of a language model.

    Args:
        language_model: the model, whose adapters are merged into its weights.
        vllm: replaces the module, for tests.

    Raises:
        UserError: vLLM is not installed, or does not start.
    """
    os.environ["VLLM_NO_USAGE_STATS"] = "1"  # vLLM sends usage reports otherwise
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # grammars are shared with the engine
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        module = import_module("vllm") if vllm is None else vllm
    except ImportError:
        raise UserError("--engine vllm needs vLLM: pip install vllm, on a machine with a GPU") from None
    language_model.merge()
    with TemporaryDirectory(prefix="clinragen-vllm-") as folder:
        language_model.model.save_pretrained(folder)
        language_model.writer = Writer(module, Path(folder), language_model)
        try:
            yield
        finally:
            language_model.writer = None


class Writer:
    """Generates target ids from contexts with vLLM.

    Args:
        vllm: the module.
        folder: the language model's architecture and weights.
        language_model: the same model.

    Raises:
        UserError: vLLM does not start.
    """

    def __init__(self, vllm: Any, folder: Path, language_model: Causal) -> None:
        self._vllm, self._grammars = vllm, {}
        self._eos, self._pad = language_model.tokenizer.eos_token_id, language_model.tokenizer.pad_token_id
        self._dtype = language_model.embedding_weight.dtype
        try:
            self._llm = vllm.LLM(
                str(folder),
                dtype=str(self._dtype).removeprefix("torch."),
                enable_prompt_embeds=True,
                skip_tokenizer_init=True,
                use_tqdm_on_load=False,
                async_scheduling=False,  # a grammar has to see each token before the next is chosen
                gpu_memory_utilization=MEMORY,
                logits_processors=[_processor(vllm, self._grammars)],
            )
        except (RuntimeError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"vLLM does not start: {reason}") from None

    def __call__(self, context: Context, processors: LogitsProcessorList, longest: int) -> Tensor:
        """Greedy decoding.

        Args:
            context: B stays, with padding anywhere.
            processors: one grammar.
            longest: most tokens.

        Returns:
            Target ids [B, <= longest], padded after the end of sequence.
        """
        (grammar,) = processors
        assert isinstance(grammar, ReportGrammar)
        prompts, options = [], []
        for row in range(len(context.embeddings)):
            self._grammars[row] = grammar.of_row(row)
            real = context.embeddings[row][context.mask[row].bool()]
            prompts.append({"prompt_embeds": real.detach().to("cpu", self._dtype)})
            options.append(
                self._vllm.SamplingParams(
                    temperature=0,
                    max_tokens=longest,
                    stop_token_ids=[self._eos],
                    detokenize=False,
                    extra_args={"row": row},
                )
            )
        outputs = self._llm.generate(prompts, options, use_tqdm=False)
        self._grammars.clear()
        rows = [torch.tensor([*output.outputs[0].token_ids], dtype=torch.long) for output in outputs]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self._pad)


class RowGrammar:
    """A grammar for one request: vLLM calls it with the ids so far and the logits of the next.

    Args:
        make: makes the grammar, in its initial state.
    """

    def __init__(self, make: Callable[[], ReportGrammar]) -> None:
        self._grammar, self._seen = make(), 0

    def __call__(self, ids: list[int], logits: Tensor) -> Tensor:
        """Logits of the next token, [vocabulary]. A request that vLLM took up again is read from its beginning."""
        for length in range(self._seen, len(ids)):
            self._grammar(torch.tensor([ids[:length]], dtype=torch.long), torch.zeros_like(logits)[None])
        self._seen = len(ids) + 1
        return self._grammar(torch.tensor([ids], dtype=torch.long), logits[None])[0]


def _processor(vllm: Any, grammars: dict[int, Callable[[], ReportGrammar]]) -> type:
    """The class by which vLLM applies the grammar of each request."""
    base = import_module(f"{vllm.__name__}.v1.sample.logits_processor").AdapterLogitsProcessor

    class Grammars(base):  # type: ignore[misc, valid-type]
        def is_argmax_invariant(self) -> bool:
            return False

        def new_req_logits_processor(self, params: Any) -> RowGrammar | None:
            row = (params.extra_args or {}).get("row")
            return None if row is None else RowGrammar(grammars[row])

    return Grammars
