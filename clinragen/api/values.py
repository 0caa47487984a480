"""Shared by the functions of the API: objects in place of folders, progress, checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from clinragen.errors import UserError, hint

if TYPE_CHECKING:
    from rich.console import Console

    from clinragen.cohort.folder import Cohort
    from clinragen.evaluation.inputs import Predictions
    from clinragen.inference.predict import TrainedModel
    from clinragen.knowledge.graph import ConceptGraph

type CohortLike = str | Path | Cohort
type GraphLike = str | Path | ConceptGraph | None
type ModelLike = str | Path | TrainedModel
type PredictionsLike = str | Path | Predictions
type SettingsLike = Sequence[str] | Mapping[str, object]


def cohort_folder(cohort: CohortLike) -> Path:
    """The folder of a cohort."""
    return Path(cohort) if isinstance(cohort, str | Path) else cohort.paths.root


def open_cohort(cohort: CohortLike) -> Cohort:
    """The cohort; read from disk if a folder is given."""
    from clinragen.cohort.folder import Cohort

    return Cohort.load(cohort) if isinstance(cohort, str | Path) else cohort


def predictions_folder(predictions: PredictionsLike) -> Path:
    """The folder of predictions."""
    return Path(predictions) if isinstance(predictions, str | Path) else predictions.root


def open_predictions(predictions: PredictionsLike) -> Predictions:
    """The predictions; read from disk if a folder is given."""
    from clinragen.evaluation.inputs import load_predictions

    return load_predictions(Path(predictions)) if isinstance(predictions, str | Path) else predictions


@contextmanager
def graph_folder(graph: GraphLike) -> Iterator[Path | None]:
    """The folder of a graph; a graph that exists only in memory is written to a temporary one."""
    if graph is None or isinstance(graph, str | Path):
        yield Path(graph) if graph is not None else None
        return
    with TemporaryDirectory(prefix="clinragen-graph-") as scratch:
        folder = Path(scratch) / "graph"
        graph.save(folder)
        yield folder


def path(given: str | Path | None) -> Path | None:
    """A path, from a string or a ``Path``."""
    return Path(given) if given is not None else None


def overrides(settings: SettingsLike) -> list[str]:
    """Settings in the form of ``--set``.

    >>> overrides({"stage.epochs": 5})
    ['stage.epochs=5']
    """
    return [f"{key}={value}" for key, value in settings.items()] if isinstance(settings, Mapping) else list(settings)


def formerly[**P, R](**former: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that it takes keywords of the release before, with a hint.

    Args:
        former: the old keyword, and that of today.

    >>> @formerly(colour="color")
    ... def paint(*, color: str) -> str:
    ...     return color
    >>> paint(colour="red")
    'red'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in former.items():
                if old not in kwargs:
                    continue
                if new in kwargs:
                    raise UserError(f"{function.__name__}: {old} is now {new}: give only the second")
                hint(f"{function.__name__}: {old} is now {new}")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def console(progress: bool) -> Console:
    """A console on standard error, silent without ``progress``."""
    from rich.console import Console

    return Console(stderr=True, quiet=not progress)
