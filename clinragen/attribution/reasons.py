"""What the evidence that a rationale cites is worth to the model: it is taken away, and it is left alone.

Evidence comes in pieces: a variable with all its measurements, a concept with all the words that name it in the note.
A rationale cites those that its clauses state for a diagnosis. Nothing is put in the place of what is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from clinragen.attribution.occlusion import logits
from clinragen.choices import Modality
from clinragen.data.dataset import StayDataset
from clinragen.data.evidence_pieces import EvidencePiece, StayEvidence
from clinragen.evaluation.reasons import Weighed
from clinragen.inference.predict import TrainedModel
from clinragen.verification.claims import Checked

DRAWS = 5  # of random evidence


def weigh(
    trained: TrainedModel,
    dataset: StayDataset,
    cited: Mapping[int, Mapping[str, Sequence[Checked]]],
    rows: Mapping[int, int],
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[Weighed]:
    """What the evidence cited for each diagnosis is worth.

    Args:
        trained: the model.
        dataset: of the stays, observed series.
        cited: stay id -> diagnosis -> the claims that argue for it.
        rows: stay id -> row in the predictions.
        seed: of the random evidence.
        progress: called after each stay.

    Yields:
        One for each diagnosis with a piece of evidence that the model reads.
    """
    trained.model.to(trained.device).eval()
    inputs = trained.manifest.inputs
    for index, stay in enumerate(dataset.stay_ids.tolist()):
        evidence = StayEvidence(dataset, index, inputs)
        pieces = {label: cited_pieces(evidence, claims) for label, claims in cited.get(stay, {}).items()}
        pieces = {label: those for label, those in pieces.items() if those and label in trained.model.labels}
        if pieces:
            random = np.random.default_rng([seed, stay % 2**63])
            yield from _weighed(trained, evidence, pieces, inputs, rows[stay], random)
        progress()


def cited_pieces(evidence: StayEvidence, claims: Iterable[Checked]) -> list[EvidencePiece]:
    """The pieces of a stay's evidence that claims cite, in their order."""
    cited: set[EvidencePiece] = set()
    for claim in claims:
        if claim.kind == "series":
            cited |= {EvidencePiece("variable", name) for name in claim.about.split(",")}
        else:
            cited.add(EvidencePiece("concept", claim.about))
    return [piece for piece in evidence.pieces if piece in cited]


def _weighed(
    trained: TrainedModel,
    evidence: StayEvidence,
    cited: Mapping[str, list[EvidencePiece]],
    inputs: Sequence[Modality],
    row: int,
    random: np.random.Generator,
) -> Iterator[Weighed]:
    """The diagnoses of one stay, read together with every altered stay."""
    altered = [evidence.stay, *(evidence.without([piece]) for piece in evidence.pieces)]
    first: dict[str, tuple[int, int]] = {}  # where the readings of a diagnosis begin, and how many draws there are
    for label, pieces in cited.items():
        draws = list(_draws(evidence.pieces, pieces, random))
        first[label] = len(altered), len(draws)
        altered += [evidence.without(pieces), evidence.only(pieces), *map(evidence.without, draws)]
    readings = logits(trained.model, altered, inputs)
    probabilities = trained.calibration.probabilities(readings)
    for label, pieces in cited.items():
        column = list(trained.model.labels).index(label)
        falls = np.maximum(readings[0, column] - readings[1 : 1 + len(evidence.pieces), column], 0.0)
        held = sum(float(falls[evidence.pieces.index(piece)]) for piece in pieces)
        start, draws = first[label]
        without, only, *others = probabilities[start : start + 2 + draws, column].tolist()
        yield Weighed(
            row=row,
            label=label,
            salience=held / float(falls.sum()) if falls.sum() > 0 else float("nan"),
            full=float(probabilities[0, column]),
            without=without,
            without_random=float(np.mean(others)) if others else float("nan"),
            only=only,
        )


def _draws(
    pieces: Sequence[EvidencePiece], cited: Sequence[EvidencePiece], random: np.random.Generator
) -> Iterator[list[EvidencePiece]]:
    """As many other pieces of each kind, drawn at random; none where there are fewer."""
    pools = {kind: [piece for piece in pieces if piece.kind == kind and piece not in cited] for kind in _kinds(cited)}
    counts = {kind: sum(piece.kind == kind for piece in cited) for kind in pools}
    if any(len(pools[kind]) < count for kind, count in counts.items()):
        return
    for _ in range(DRAWS):
        drawn: list[EvidencePiece] = []
        for kind, count in counts.items():
            drawn += [pools[kind][position] for position in random.choice(len(pools[kind]), count, replace=False)]
        yield drawn


def _kinds(pieces: Iterable[EvidencePiece]) -> list[str]:
    return sorted({piece.kind for piece in pieces})
