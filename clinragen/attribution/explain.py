"""An explanation of a stay, as plain values: for each diagnosis the concepts, variables and hours that carried it.

Two methods side by side, for they answer different questions: ``occlusion`` says what the diagnosis would lose without
a part, ``attention`` what the model looked at. Hours are looked into only for the variables that matter, which keeps a
stay at about a hundred readings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from clinragen.attribution import chosen_stays, occlusion
from clinragen.attribution.looking import look
from clinragen.data.cohort import Cohort
from clinragen.data.dataset import StayDataset
from clinragen.data.text import sections_by_stay
from clinragen.inference.predict import TrainedModel

METHODS = ("occlusion", "attention")
TOP = 8  # entries of a list
LOOKED_INTO = 5  # variables of a diagnosis whose hours are taken away one block after the other


class Explainer:
    """Explains stays of one dataset with one model.

    Args:
        dataset: of ``trained``, observed series.
        cohort: what the dataset was made from.
    """

    def __init__(self, trained: TrainedModel, dataset: StayDataset, cohort: Cohort):
        self.trained = trained
        self.dataset = dataset
        self.sections = sections_by_stay(cohort.notes, labels=cohort.label_set, layout=True)
        self.inputs = list(trained.manifest["inputs"])
        self.labels = list(trained.model.labels)
        trained.model.to(trained.device).eval()

    def explain(self, index: int, wanted: Sequence[str] = ()) -> dict[str, Any]:
        """What carried the diagnoses of a stay, ready for JSON.

        Args:
            index: of the dataset.
            wanted: phenotypes, each by any of its names; by default those whose probability reaches the threshold, or
                else the likeliest.

        Raises:
            UserError: an unknown phenotype.
        """
        model, stay = self.trained.model, self.dataset[index]
        wanted = list(dict.fromkeys(model.labels.find(name).key for name in wanted))
        logits = occlusion.logits(model, [stay], self.inputs)
        probabilities = self.trained.calibration.probabilities(logits)[0]
        thresholds = np.asarray(self.trained.calibration.thresholds)
        chosen = [self.labels.index(key) for key in wanted]
        chosen = chosen or np.flatnonzero(probabilities >= thresholds).tolist() or [int(probabilities.argmax())]
        chosen.sort(key=lambda label: -probabilities[label])

        concepts = self._concepts(index)
        series = list(occlusion.variables(model, stay)) if "series" in self.inputs else []
        fell = occlusion.falls(model, stay, [*concepts, *series], self.inputs)
        concept_falls, variable_falls = fell[: len(concepts)], fell[len(concepts) :]
        leading = {
            series[row].name for label in chosen for row in _top(variable_falls[:, label], LOOKED_INTO) if len(series)
        }
        blocks = list(occlusion.hours(model, stay, sorted(leading)))
        block_falls = occlusion.falls(model, stay, blocks, self.inputs)
        keys, cells = look(model, stay, self.inputs)
        explained = []
        for label in chosen:
            explained.append(
                {
                    "diagnosis": self.labels[label],
                    "probability": round(float(probabilities[label]), 6),
                    "threshold": round(float(thresholds[label]), 6),
                    "occlusion": {
                        "concepts": _ranked(
                            [
                                {"concept": part.name, "in": "note" if part.kind == "mention" else "series"}
                                for part in concepts
                            ],
                            concept_falls[:, label],
                        ),
                        "variables": _ranked([{"variable": part.name} for part in series], variable_falls[:, label]),
                        "hours": _ranked([_block(part.name, part.hours) for part in blocks], block_falls[:, label]),
                    },
                    "attention": self._looked(keys[label], cells[label], stay.first_hour),
                }
            )
        return {"stay_id": int(stay.stay_id), "diagnoses": explained}

    def _concepts(self, index: int) -> list[occlusion.Part]:
        stay = self.dataset[index]
        found: list[occlusion.Part] = []
        if "series" in self.inputs:
            found += occlusion.findings(self.trained.model, stay)
        if "note" in self.inputs:
            found += occlusion.mentions(self.dataset, stay, self.sections.get(int(stay.stay_id), []))
        return found

    def _looked(self, keys: np.ndarray, cells: np.ndarray, first_hour: int) -> dict[str, Any]:
        """The attention of one diagnosis, from [keys] and [V, blocks]."""
        model = self.trained.model
        names, width, window = model.statistics.variables, model.series_encoder.patch_hours, model.statistics.window
        spans = [window.span(b * width, min((b + 1) * width, window.bins)) for b in range(cells.shape[1])]
        blocks = [_block(name, (first_hour + start, first_hour + end)) for name in names for start, end in spans]
        return {
            "concepts": _ranked([{"concept": key} for key in model.concepts.keys], keys),
            "variables": _ranked([{"variable": name} for name in names], cells.sum(1)),
            "hours": _ranked(blocks, cells.ravel()),
        }


def explanations(
    trained: TrainedModel, dataset: StayDataset, cohort: Cohort, wanted: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Explanations of every stay of a dataset, in its order."""
    explainer = Explainer(trained, dataset, cohort)
    yield from (explainer.explain(index, wanted) for index in range(len(dataset)))


def explain_cohort(
    trained: TrainedModel,
    cohort: Cohort,
    split: str,
    stays: Sequence[int] = (),
    wanted: Sequence[str] = (),
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Explanations of the given stays, or of a split, by ascending stay id.

    Raises:
        UserError: a stay that is not in the cohort, or an unknown phenotype.
    """
    chosen = chosen_stays(cohort, split, stays, wanted, limit)
    yield from explanations(trained, trained.stays(cohort, chosen), cohort, wanted)


def _block(variable: str, hours: tuple[int, int] | None) -> dict[str, Any]:
    assert hours is not None
    return {"variable": variable, "from_hour": hours[0], "to_hour": hours[1]}


def _ranked(entries: Sequence[dict[str, Any]], scores: np.ndarray) -> list[dict[str, Any]]:
    """The entries that count for the diagnosis, the weightiest first, with their scores."""
    return [entries[i] | {"score": round(float(scores[i]), 5)} for i in _top(scores, TOP)]


def _top(scores: np.ndarray, count: int) -> list[int]:
    """Indices of the largest scores above nothing, the first of equals first."""
    order = np.argsort(-scores, kind="stable")[:count]
    return [int(i) for i in order if scores[i] > 1e-6]
