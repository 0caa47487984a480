"""Which foreign charts does a model abstain on, and how many held-out stays of its own hospital?

    python benchmarks/abstention.py --model RUN --cohort COHORT

The held-out stays of the cohort are altered in one way at a time: every note is replaced by a text that is no clinical
note of the language, or every series by one that no patient had. Each row prints the share of stays on which the model
abstains, and how well the score behind it (known words of the note, or distance of the series) tells the altered stays
from the unaltered ones.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset
from clinragen.inference.predict import TrainedModel
from clinragen.quiet import quiet_libraries

#: Texts that are no clinical notes of the language of training, in words of the author.
NOTES = {
    "no note": "",
    "Chinese": "患者男性六十五岁 因胸痛三天入院 既往高血压病史 无发热咳嗽 入院后给予阿司匹林治疗",
    "French": "Patient de 65 ans admis pour douleur thoracique depuis trois jours. Antécédents d'hypertension et de "
    "diabète. Pas de fièvre ni de toux. Traitement par aspirine et insuline.",
    "German": "Der 65-jährige Patient wurde wegen Brustschmerzen aufgenommen. Vorgeschichte mit Bluthochdruck und "
    "Diabetes. Kein Fieber, kein Husten. Behandlung mit Aspirin.",
    "a recipe": "Preheat the oven to 180 degrees. Mix two cups of flour with sugar, butter and three eggs. Bake for "
    "forty minutes until golden brown, then let it cool and serve with whipped cream and strawberries.",
    "a program": "def main(args): import numpy as np\nfor i in range(10): print(np.zeros((i, 3)))\nreturn None # TODO",
    "news": "The government announced on Tuesday that the new railway line between the two cities will open next "
    "spring, after years of delay. Ministers said ticket prices would remain unchanged.",
    "a contract": "This agreement is entered into by and between the parties hereto. The licensee shall indemnify and "
    "hold harmless the licensor from any and all claims arising out of the use of the software.",
    "filler": "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore.",
    "random letters": " ".join("".join(np.random.default_rng(i).choice([*"abcdefghijklmnop"], 7)) for i in range(60)),
}


def _other_units(stays: StayDataset) -> None:
    clip = stays.statistics.clip
    stays.values = np.where(stays.observed, np.clip(3 * stays.values + 4, -clip, clip), 0)


def _nothing(stays: StayDataset) -> None:
    stays.values, stays.observed = np.zeros_like(stays.values), np.zeros_like(stays.observed)


def _two_variables(stays: StayDataset) -> None:
    stays.observed = stays.observed & (np.arange(stays.observed.shape[1]) < 2)[None, :, None]
    stays.values = stays.values * stays.observed


def _exchanged(stays: StayDataset) -> None:
    order = np.random.default_rng(0).permutation(stays.values.shape[1])
    stays.values, stays.observed = stays.values[:, order], stays.observed[:, order]


SERIES: dict[str, Callable[[StayDataset], None]] = {
    "no series": _nothing,
    "two variables only": _two_variables,
    "three times the values and more": _other_units,
    "variables exchanged": _exchanged,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--cohort", type=Path, required=True)
    args = parser.parse_args()
    quiet_libraries()
    trained, cohort = TrainedModel.load(args.model), Cohort.load(args.cohort)
    familiarity = trained.familiarity
    if familiarity is None:
        raise SystemExit(f"{args.model} was trained before models could abstain: train anew")
    clean = trained.dataset(cohort, "test")
    table = Table(title=f"{args.cohort}: {len(clean)} held-out stays")
    for heading in ("stays", "abstained", "AUROC of the score"):
        table.add_column(heading, justify="left" if heading == "stays" else "right")

    def add(title: str, stays: StayDataset, score: Callable[[StayDataset], np.ndarray] | None) -> None:
        abstained = np.mean([bool(reasons) for reasons in familiarity.reasons(stays)])
        told = ""
        if score is not None:
            foreign, usual = score(stays), score(clean)
            told = f"{roc_auc_score([0] * len(usual) + [1] * len(foreign), np.r_[usual, foreign]):.3f}"
        table.add_row(title, f"{abstained:.3f}", told)

    add("as they are", clean, None)
    for title, text in NOTES.items():
        stays = copy.copy(clean)
        stays.sections = {int(stay): [("history_of_present_illness", text)] for stay in clean.stay_ids} if text else {}
        add(f"note: {title}", stays, (lambda data: -familiarity.known(data)) if text else None)
    for title, alter in SERIES.items():
        stays = copy.copy(clean)
        alter(stays)
        add(f"series: {title}", stays, familiarity.distances)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
