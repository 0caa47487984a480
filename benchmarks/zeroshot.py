"""Labels that no model was trained on: how well names, descriptions and graph order held-out stays, beside baselines.

    python benchmarks/zeroshot.py --cohort COHORT [COHORT ...] [--chapters COHORT] [--encoder FOLDER] [--model RUN ...]

The cohorts are splits of one database: for the eICU demo those that `benchmarks/eicu_table.py --models probes`
prepares. The 25 phenotypes are scored for the test stays of each. `--chapters` is a cohort of the same stays with the
label set icd_chapters (`mimic-prep eicu ... --set labels=icd_chapters`), whose labels are scored on the same test
stays; its own split does not matter. `--model` names runs of `clinragen train align`, one for each cohort.

A row is the mean AUROC of the labels with 5 positives or more among the test stays; of several splits the mean, with
an interval of 500 draws of patients in each. Rows of parts show what each way adds. Baselines: `name in the note` is
whether the label's name, or a synonym that the label set itself has, stands in the note; `TF-IDF of the name` is its
cosine with the note. `as trained` is what a model that learned the labels reaches: logistic regression on TF-IDF.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from printed_tables import Console, with_interval
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.evaluation.diagnosis import interval, patient_bootstrap
from clinragen.evaluation.ranking import Ranking
from clinragen.inference.aligned import note_vectors, vectors
from clinragen.inference.predict import TrainedModel
from clinragen.knowledge.graph import build
from clinragen.knowledge.linker import Linker, tokens
from clinragen.quiet import quiet_libraries
from clinragen.zero_shot import described_labels, settings
from clinragen.zero_shot.areas import FEW
from clinragen.zero_shot.ensembles import LabelEnsemble
from clinragen.zero_shot.readings import ChartReadings
from clinragen.zero_shot.run import read_split, score_split
from clinragen.zero_shot.sentences import SentenceEncoder, label_vectors, note_similarities

REPLICATES = 500
DIRECT = ("transfer.note=0", "transfer.series=0")
#: Rows by name, [stays, labels] each.
Rows = dict[str, np.ndarray]


class Models:
    """What reads sentences: an encoder, and an aligned student."""

    def __init__(self, encoder: Path | None, run: Path | None) -> None:
        self.encode = SentenceEncoder(encoder) if encoder else None
        self.trained = TrainedModel.load(run) if run else None

    def parts(self, cohort: Cohort, ensembles: Sequence[LabelEnsemble], readings: ChartReadings) -> Rows:
        """The further parts of stays."""
        templates, parts = settings.load().templates, {}
        if (encode := self.encode) is not None:
            parts["sentences"] = note_similarities(readings, label_vectors(ensembles, templates, encode), encode)
        if (trained := self.trained) is not None:
            labels = note_vectors(trained, [[("history_of_present_illness", one.as_note)] for one in ensembles])
            parts["aligned"] = vectors(trained, trained.stays(cohort, readings.ids)).series @ labels.T
        return parts


class Charts:
    """The charts of a cohort, read once."""

    def __init__(self, cohort: Cohort) -> None:
        self.cohort, self.graph = cohort, build()
        self.linker = Linker(self.graph)
        self.readings = read_split(cohort, "test", self.graph, self.linker)

    def zero_shot(self, name: str, models: Models) -> Rows:
        """The scores of the test stays, whole and in parts."""
        labels = described_labels.read(name)
        ensembles = [LabelEnsemble.of(label, self.graph, self.linker, settings.load()) for label in labels]

        def scored(*overrides: str, **further: np.ndarray) -> Rows:
            return score_split(
                self.cohort,
                self.readings,
                ensembles,
                self.graph,
                settings.load(overrides),
                further=lambda readings: further,
            ).columns

        direct, whole = scored(*DIRECT), scored()
        rows = {
            "concepts of the note": scored(*DIRECT, "weights.words=0")["note"],
            "words of the note": scored(*DIRECT, "weights.concepts=0")["note"],
            "note, without regression": direct["note"],
            "series, without regression": direct["series"],
            "both, without regression": direct["score"],
            "note": whole["note"],
            "series": whole["series"],
            "both": whole["score"],
        }
        test = np.searchsorted(self.readings.ids, self.cohort.split("test"))
        options = {"sentences": ("note", "--encoder"), "aligned": ("series", "--model")}
        for part, values in models.parts(self.cohort, ensembles, self.readings).items():
            modality, option = options[part]
            rows[f"{modality}, {part} alone"] = values[test]
            rows[f"{modality}, {option}, without regression"] = scored(*DIRECT, **{part: values})[modality]
            columns = scored(**{part: values})
            rows |= {f"{modality}, {option}": columns[modality], f"both, {option}": columns["score"]}
        return rows


def baselines(cohort: Cohort, name: str, labels_of: dict[str, np.ndarray]) -> Rows:
    """What needs no graph, and what a model reaches that learned the labels.

    Args:
        cohort: of the stays.
        name: of the label set.
        labels_of: labels of the training and test stays.
    """
    sections = sections_by_stay(cohort.notes, labels=cohort.label_set)
    train, test = (
        [note_text(sections.get(int(stay), [])) for stay in cohort.split(split)] for split in ("train", "test")
    )
    labels = described_labels.read(name)
    padded = [f" {' '.join(tokens(text))} " for text in test]
    forms = [[f" {' '.join(tokens(form))} " for form in label.names] for label in labels]
    exact = [[any(form in text for form in own) for own in forms] for text in padded]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit(train)
    train_words, words = vectorizer.transform(train), vectorizer.transform(test)
    trained = np.zeros((len(test), len(labels)))
    for column, target in enumerate(labels_of["train"].T):
        if target.any():
            model = LogisticRegression(C=3, solver="liblinear").fit(train_words, target)
            trained[:, column] = model.decision_function(words)
    return {
        "name in the note": np.array(exact, dtype=float),
        "TF-IDF of the name": (words @ vectorizer.transform([label.name for label in labels]).T).toarray(),
        "as trained: TF-IDF, logistic regression": trained,
    }


def areas(gold: np.ndarray, values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The mean AUROC, then that of each draw of patients, [1 + replicates]."""
    some = gold.sum(0) >= FEW
    ranking = Ranking(gold[:, some], np.nan_to_num(values[:, some]))
    draws = [np.ones(len(gold)), *patient_bootstrap(patients, REPLICATES, 0)]
    return np.array([np.nanmean(ranking(weights)[0]) for weights in draws])


def main() -> None:
    """Score every cohort and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, nargs="+", required=True)
    parser.add_argument("--chapters", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--model", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    quiet_libraries()
    labelled = {"phenotypes": None, **({"icd_chapters": Cohort.load(args.chapters)} if args.chapters else {})}
    results: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in labelled}
    counts: dict[str, list[int]] = {name: [] for name in labelled}
    for number, folder in enumerate(args.cohort):
        cohort = Cohort.load(folder)
        charts = Charts(cohort)
        models = Models(args.encoder, args.model[number] if args.model else None)
        whose = dict(cohort.stays.select("stay_id", "subject_id").iter_rows())
        patients = np.array([whose[stay] for stay in cohort.split("test").tolist()])
        for name, other in labelled.items():
            labels_of = {split: (other or cohort).label_matrix(cohort.split(split)) for split in ("train", "test")}
            gold = labels_of["test"]
            counts[name].append(int((gold.sum(0) >= FEW).sum()))
            rows = baselines(cohort, name, labels_of) | charts.zero_shot(name, models)
            for title, values in rows.items():
                results[name].setdefault(title, []).append(areas(gold, values, patients))
        print(f"{folder} done", flush=True)
    for name, rows in results.items():
        table = Table(title=f"{name}: mean AUROC of labels with {FEW} test stays or more ({counts[name]} labels)")
        for heading in ("", "AUROC (95 % interval)", "each split"):
            table.add_column(heading)
        for title, splits in rows.items():
            mean = np.mean(splits, axis=0)
            shown = interval(float(mean[0]), mean[1:])
            each = " ".join(f"{split[0]:.3f}" for split in splits)
            table.add_row(title, with_interval(shown), each)
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
