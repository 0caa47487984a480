"""A worker of ``predict --engine ray``: loads the model once, predicts the parts it is given, and commits each by one
rename.

Ray starts lost workers anew and hands out their parts again, without limit. A part that takes its workers down, as when
memory runs out, is therefore counted on the disk, and given up after some attempts.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.artifacts import PRIVATE_FILE, read_json
from clinragen.choices import Device
from clinragen.errors import UserError
from clinragen.inference.engines import Explain, Work
from clinragen.inference.parts import Parts
from clinragen.integrity import thorough

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.inference.predict import TrainedModel

#: Workers that may be lost over one part.
MOST_LOST = 3


@dataclass(frozen=True)
class Attempts:
    """Who began a part and did not end it: one line of host and process each, beside the part.

    Attributes:
        path: the file.
    """

    path: Path

    @classmethod
    def of(cls, parts: Parts, number: int) -> Attempts:
        """Those of one part."""
        return cls(parts.folder / f"{number:06}.attempts")

    def begin(self) -> int:
        """Record that this process begins the part: how many began it before and were lost."""
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
        with open(handle, "w", encoding="utf-8") as lines:
            lines.write(f"{platform.node()} {os.getpid()}\n")
        return len(self.path.read_text(encoding="utf-8").splitlines()) - 1

    def forget(self) -> None:
        """Drop the record."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Order:
    """What a worker has to know: paths and settings, nothing of a patient.

    Attributes:
        model: the run folder.
        task: what it shall predict.
        cohort: the cohort folder.
        work: what to predict.
        explain: a function that returns the attributions, if they are asked for.
        device: where the model runs.
        verify: also check the hashes of large files.
    """

    model: Path
    task: str
    cohort: Path
    work: Work
    explain: Explain | None
    device: Device
    verify: bool


class PartWorker:
    """Predicts parts; Ray Data makes one in each of its actors."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._loaded: tuple[TrainedModel, Cohort] | None = None
        self._seconds = 0.0

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Predict the part of a batch of one.

        Nothing is raised, since Ray writes what workers raise into logs, and messages of libraries may quote text.

        Args:
            batch: its number, under ``item``.

        Returns:
            Its number under ``part``; under ``seconds`` how long it took, without loading the model; what went wrong
            under ``error``, a line for the user, or ``fault``, a traceback.
        """
        number, error, fault = int(batch["item"][0]), "", ""
        try:
            self._commit(number)
        except UserError as refused:
            error = str(refused)
        except OSError as failed:
            where = f" ({os.fsdecode(failed.filename)})" if failed.filename else ""
            error = f"{failed.strerror or type(failed).__name__}{where}, on {platform.node()}"
        except MemoryError:
            error = f"memory ran out on {platform.node()}: take a smaller --batch-size or fewer --workers"
        except Exception:  # noqa: BLE001 (the driver raises it, out of the reach of Ray's logs)
            fault = traceback.format_exc()
        return {"part": [number], "seconds": [self._seconds], "error": [error], "fault": [fault]}

    def _commit(self, number: int) -> None:
        """Predict a part, unless a worker that was lost afterwards has."""
        order, work = self._order, self._order.work
        _check(work)
        attempts = Attempts.of(work.parts, number)
        if not work.parts.done(number):
            lost = attempts.begin()
            if lost >= MOST_LOST:
                raise UserError(
                    f"part {number} of {len(work.parts)} was begun {lost} times, and each time its worker was lost, as "
                    "when memory runs out: take a smaller --batch-size or fewer --workers, and run the command again"
                )
            from clinragen.inference.predict import predict_part

            with thorough(order.verify):
                trained, cohort = self._loaded = self._loaded or self._load()
                began = time.monotonic()
                predict_part(trained, cohort, work, number, order.explain)
                self._seconds = time.monotonic() - began
        attempts.forget()

    def _load(self) -> tuple[TrainedModel, Cohort]:
        """Model and cohort, if they are those of the driver."""
        from clinragen.cohort.folder import Cohort
        from clinragen.inference.finished import FinishedRun
        from clinragen.inference.memory import map_large_blocks
        from clinragen.inference.predict import TrainedModel, identity_of
        from clinragen.quiet import quiet_libraries

        quiet_libraries()
        map_large_blocks()
        order, work = self._order, self._order.work
        run, cohort = FinishedRun.open(order.model, order.task), Cohort.load(order.cohort)
        trained = TrainedModel.load(run, order.device)
        explained = order.explain is not None
        if identity_of(trained, cohort, work.prediction, work.parts.size, explained=explained) != work.identity:
            raise UserError(
                f"the worker on {platform.node()} reads another model ({order.model}) or cohort ({order.cohort}), or "
                "has another version of clinragen: all machines must share one file system and one version"
            )
        return trained, cohort


def _check(work: Work) -> None:
    """Check that the folder of the parts is the driver's."""
    described = work.parts.folder / "identity.json"
    if not described.exists() or read_json(described, "the identity of predictions")["identity"] != work.identity:
        raise UserError(
            f"the worker on {platform.node()} does not see {work.parts.folder}: --model, --cohort and --out must "
            "lie on a file system that all machines share, under the same paths"
        )
