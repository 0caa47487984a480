"""Explanations of a stay as plain values: for each diagnosis the concepts, variables and hours that it rests on.

Two methods answer different questions: ``occlusion`` measures what the diagnosis loses without a part of the input,
``attention`` where the model attends. Only the hours of important variables are occluded, which keeps a stay at about a
hundred forward passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from clinragen.attribution import chosen_stays, occlusion
from clinragen.attribution.attention import attention_shares
from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset
from clinragen.data.evidence_pieces import StayEvidence
from clinragen.evaluation.explanation import Attribution, ExplainedDiagnosis, Explanation, HoursScore
from clinragen.inference.predict import TrainedModel

METHODS = ("occlusion", "attention")
TOP = 8  # entries of a list
LOOKED_INTO = 5  # variables of a diagnosis whose blocks of hours are occluded one after the other


class Explainer:
    """Explains stays of one dataset with one model.

    Args:
        dataset: dataset of ``trained`` with observed series.
    """

    def __init__(self, trained: TrainedModel, dataset: StayDataset):
        self.trained = trained
        self.dataset = dataset
        self.inputs = list(trained.manifest.inputs)
        self.labels = list(trained.model.labels)
        trained.model.to(trained.device).eval()

    def explain(self, index: int, diagnoses: Sequence[str] = ()) -> Explanation:
        """The attributions of a stay's diagnoses, ready for JSON.

        Args:
            index: index of the stay in the dataset.
            diagnoses: phenotypes, each by any of its names; by default those whose probability reaches the threshold,
                or the most likely one.

        Raises:
            UserError: an unknown phenotype.
        """
        model, stay = self.trained.model, self.dataset[index]
        diagnoses = list(dict.fromkeys(model.labels.find(name).key for name in diagnoses))
        logits = occlusion.logits(model, [stay], self.inputs)
        probabilities = self.trained.calibration.probabilities(logits)[0]
        thresholds = np.asarray(self.trained.calibration.thresholds)
        labels = [self.labels.index(key) for key in diagnoses]
        labels = labels or np.flatnonzero(probabilities >= thresholds).tolist() or [int(probabilities.argmax())]
        labels.sort(key=lambda label: -probabilities[label])

        concepts = self._concepts(index)
        series = list(occlusion.variables(model, stay)) if "series" in self.inputs else []
        falls = occlusion.falls(model, stay, [*concepts, *series], self.inputs)
        variable_falls = falls[len(concepts) :]
        leading = {
            series[row].name
            for label in labels
            for row, _ in _top(variable_falls[:, label], LOOKED_INTO)
            if len(series)
        }
        blocks = list(occlusion.hours(model, stay, sorted(leading)))
        falls = np.concatenate([falls, occlusion.falls(model, stay, blocks, self.inputs)])
        keys, cells = attention_shares(model, stay, self.inputs)
        explained: list[ExplainedDiagnosis] = [
            {
                "diagnosis": self.labels[label],
                "probability": round(float(probabilities[label]), 6),
                "threshold": round(float(thresholds[label]), 6),
                "occlusion": _occlusion([*concepts, *series, *blocks], falls[:, label]),
                "attention": self._attention(keys[label], cells[label], stay.first_hour),
            }
            for label in labels
        ]
        if (cases := occlusion.similar_cases(model, stay, self.inputs)) is not None:
            for label, diagnosis in zip(labels, explained, strict=True):
                diagnosis["similar_cases"] = round(float(cases[label]), 5)
        return {"stay_id": int(stay.stay_id), "diagnoses": explained}

    def _concepts(self, index: int) -> list[occlusion.Part]:
        stay = self.dataset[index]
        parts: list[occlusion.Part] = []
        if "series" in self.inputs:
            parts += occlusion.findings(self.trained.model, stay)
        if "note" in self.inputs:
            parts += occlusion.mentions(StayEvidence(self.dataset, index, ["note"]))
        return parts

    def _attention(self, keys: np.ndarray, cells: np.ndarray, first_hour: int) -> Attribution:
        """The attention of one diagnosis, from [keys] and [V, blocks]."""
        model = self.trained.model
        names, width, window = model.statistics.variables, model.series_encoder.patch_hours, model.statistics.window
        spans = [window.span(b * width, min((b + 1) * width, window.bins)) for b in range(cells.shape[1])]
        blocks = [(name, (first_hour + start, first_hour + end)) for name in names for start, end in spans]
        return {
            "concepts": [{"concept": model.concepts.keys[i], "score": score} for i, score in _top(keys)],
            "variables": [{"variable": names[i], "score": score} for i, score in _top(cells.sum(1))],
            "hours": [_hours(*blocks[i], score) for i, score in _top(cells.ravel())],
        }


def explanations(trained: TrainedModel, dataset: StayDataset, diagnoses: Sequence[str] = ()) -> Iterator[Explanation]:
    """Explanations of every stay of a dataset, in its order."""
    explainer = Explainer(trained, dataset)
    yield from (explainer.explain(index, diagnoses) for index in range(len(dataset)))


def explain_cohort(
    trained: TrainedModel,
    cohort: Cohort,
    split: str,
    stays: Sequence[int] = (),
    diagnoses: Sequence[str] = (),
    limit: int | None = None,
) -> Iterator[Explanation]:
    """Explanations of the given stays, or of a split, by ascending stay id.

    Raises:
        UserError: a stay that is not in the cohort, or an unknown phenotype.
    """
    stay_ids = chosen_stays(cohort, split, stays, diagnoses, limit)
    yield from explanations(trained, trained.stays(cohort, stay_ids), diagnoses)


def _occlusion(parts: Sequence[occlusion.Part], falls: np.ndarray) -> Attribution:
    """What one diagnosis loses without each part: concepts, variables and hours, each ranked.

    Args:
        parts: the occluded parts.
        falls: [parts], drop of the logit without each.
    """

    def ranked(*kinds: str) -> list[tuple[occlusion.Part, float]]:
        rows = [row for row, part in enumerate(parts) if part.kind in kinds]
        return [(parts[rows[i]], score) for i, score in _top(falls[rows])]

    return {
        "concepts": [
            {"concept": part.name, "in": "note" if part.kind == "mention" else "series", "score": score}
            for part, score in ranked("finding", "mention")
        ],
        "variables": [{"variable": part.name, "score": score} for part, score in ranked("variable")],
        "hours": [_hours(part.name, part.hours, score) for part, score in ranked("hours")],
    }


def _hours(variable: str, hours: tuple[int, int] | None, score: float) -> HoursScore:
    assert hours is not None
    return {"variable": variable, "from_hour": hours[0], "to_hour": hours[1], "score": score}


def _top(scores: np.ndarray, count: int = TOP) -> list[tuple[int, float]]:
    """The largest scores above zero with their indices; ties in index order."""
    order = np.argsort(-scores, kind="stable")[:count]
    return [(int(i), round(float(scores[i]), 5)) for i in order if scores[i] > 1e-6]
