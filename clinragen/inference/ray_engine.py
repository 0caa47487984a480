"""Predictions on several GPUs or machines: Ray Data hands numbers of parts to workers, each with the model.

Only these numbers and paths go through Ray. Workers read model and cohort from a file system that all machines share,
and store their parts there, each by one rename: a part that is predicted twice, because its worker was lost or only
seemed to be, is stored once and whole. When the driver ends, however it ends, so do its workers; parts stay.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console

from clinragen.attestation import Attestation, attested_cluster
from clinragen.choices import Device
from clinragen.errors import UserError, missing_extra
from clinragen.inference.engines import Explain, PartProgress, Work
from clinragen.inference.parts import Parts
from clinragen.inference.ray_worker import MOST_LOST, Attempts, Order, PartWorker
from clinragen.quiet import phase
from clinragen.ray_environment import keep_to_itself

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.inference.predict import TrainedModel

#: Bytes of Ray's object store on this machine, near the least that it accepts: only numbers go through it.
OBJECT_STORE = 80 * 2**20
#: Seconds until a part that a worker reported must be visible here: network file systems show files late.
PATIENCE = 60.0


@dataclass(frozen=True)
class RayCluster:
    """Where Ray runs, and how many workers it has.

    Attributes:
        address: HOST:PORT of the head node, or ``local``: one of its own on this machine.
        workers: how many; by default as many as the cluster has GPUs, or CPUs if it has none.
        device: where their models run; ``auto`` takes GPUs if the cluster has any.
        remark: who allows patient text on its machines; empty for this machine.
    """

    address: str = "local"
    workers: int | None = None
    device: Device = "auto"
    remark: str = ""

    @classmethod
    def of(cls, workers: int | None, device: Device, attestation: Attestation | None) -> RayCluster:
        """The cluster of RAY_ADDRESS if an attestation covers it; without RAY_ADDRESS, one on this machine.

        Raises:
            UserError: Ray is not installed, no workers, or RAY_ADDRESS is not attested.
        """
        if workers is not None and workers < 1:
            raise UserError("--workers must be at least 1")
        if find_spec("ray") is None:
            raise missing_extra("--engine ray", "ray")
        address = os.environ.get("RAY_ADDRESS", "")
        if address in ("", "local"):
            return cls("local", workers, device)
        signed, remedy = attestation or Attestation(), "the file of --attestation must name it, or unset RAY_ADDRESS"
        attested_cluster(address, signed, "RAY_ADDRESS", remedy)
        remark = f"predicted on the Ray cluster {address}, as {signed.who} attested on {signed.signed_on}"
        return cls(address, workers, device, remark)

    def size(self, resources: dict[str, float], parts: int) -> tuple[int, Device]:
        """How many workers predict, and their device.

        Args:
            resources: what the cluster has.
            parts: how many wait.

        Raises:
            UserError: the cluster has too little.
        """
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
        device: Device = self.device
        if device == "auto":
            device = "cuda" if gpus else "cpu"
        kind, most = ("GPU", gpus) if device == "cuda" else ("CPU", cpus)
        if not most:
            raise UserError(f"--device {device}: the Ray cluster has no {kind}")
        if self.workers and self.workers > most:
            raise UserError(f"--workers {self.workers}: each takes one {kind}, and the Ray cluster has {most}")
        return min(self.workers or most, parts), device


@dataclass(frozen=True)
class RayEngine:
    """Predicts parts on a Ray cluster.

    Attributes:
        cluster: which.
        explain: a function of a module that returns the attributions, if they are asked for.
        verify: workers, too, check the hashes of large files.
    """

    cluster: RayCluster
    explain: Explain | None = None
    verify: bool = False

    def predict(
        self, trained: TrainedModel, cohort: Cohort, work: Work, numbers: list[int], progress: PartProgress
    ) -> None:
        """Predict the parts of these numbers. Workers read model and cohort from their folders.

        Raises:
            UserError: the cluster does not answer or has too little, or a worker cannot go on.
        """
        if not numbers:
            return
        for number in numbers:
            Attempts.of(work.parts, number).forget()
        ready: set[int] = set()
        failures = 0
        while waiting := [number for number in numbers if number not in ready]:
            try:
                with closing(self._outcomes(trained, cohort, work, waiting, progress.console)) as outcomes:
                    for number, seconds in outcomes:
                        _await(work.parts, number)
                        _report(work.parts, number, progress, seconds)
                        ready.add(number)
                        failures = 0
            except _RayError as failed:
                failures += 1
                if failures == MOST_LOST:
                    raise UserError(
                        f"{failed} ({failures} times in a row); the parts that are ready stay: run the command again, "
                        "with fewer --workers if the machine is busy"
                    ) from failed
                for number in filter(work.parts.done, waiting):
                    if number not in ready:
                        _report(work.parts, number, progress)
                        ready.add(number)
                phase(progress.console, f"{failed}: trying again")

    def _outcomes(
        self, trained: TrainedModel, cohort: Cohort, work: Work, numbers: list[int], console: Console
    ) -> Generator[tuple[int, float]]:
        """Numbers of parts as workers report them, and the seconds that each took, as long as Ray works."""
        address = self.cluster.address
        phase(console, "starting Ray" if address == "local" else f"joining Ray at {address}")
        with _running(address, self.cluster.workers) as ray:
            workers, device = self.cluster.size(ray.cluster_resources(), len(numbers))
            phase(console, f"{workers:,} of its workers load the model")
            model, task, root = trained.folder.absolute(), trained.run.task.name, cohort.paths.root.absolute()
            order = Order(model, task, root, work, self.explain, device, self.verify)
            for row in _rows(ray, order, numbers, workers):
                if row["error"]:
                    raise UserError(row["error"])
                if row["fault"]:
                    raise RuntimeError(f"a worker failed:\n{row['fault']}")
                yield int(row["part"]), float(row["seconds"])


class _RayError(Exception):
    """Ray itself failed: what is not on the disk can be given to another one."""


def _report(parts: Parts, number: int, progress: PartProgress, seconds: float | None = None) -> None:
    """Show that a part is on the disk."""
    progress.advance(len(parts.ids(number)))
    progress.ready(number, seconds)
    phase(progress.console, str(progress))


@contextmanager
def _running(address: str, workers: int | None) -> Iterator[Any]:
    """Ray, connected to a cluster, or to one of its own on this machine; ended with the block.

    Its usage reports are off, and so is its dashboard, and other users of the machine and the network are kept out by a
    token of this run.
    """
    keep_to_itself()
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # remarks on its own workings, on standard error
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # by default workers yield to everything else on the machine
        os.environ.pop("RAY_AUTH_MODE", None)  # then Ray takes a token
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        cores = max(os.cpu_count() or 1, workers or 1)
        options |= {"num_cpus": cores, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    try:
        ray = import_module("ray")
        import_module("ray.data")
    except ImportError:
        raise missing_extra("--engine ray", "ray") from None
    if ray.is_initialized():
        raise UserError("Ray runs in this process already: call ray.shutdown() before you predict with engine 'ray'")
    with _signals_unchanged(), _no_remarks():
        try:
            ray.init(**options)
        except Exception as error:  # a start that takes longer than 30 s raises just this
            ray.shutdown()
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            if address == "local":
                raise _RayError(f"Ray does not start on this machine: {reason}") from error
            raise UserError(f"Ray does not run at {address}: {reason}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _signals_unchanged() -> Iterator[None]:
    """Signals mean afterwards what they meant before: Ray takes SIGTERM for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _no_remarks() -> Iterator[None]:
    """Nothing on standard error, where Ray's core writes remarks on its own start; its errors are exceptions."""
    sys.stderr.flush()
    before, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nothing)


def _rows(ray: Any, order: Order, numbers: list[int], workers: int) -> Iterator[dict[str, Any]]:
    """What workers return, of each part.

    Ray Data starts lost actors anew and hands out their parts again (its default, ``max_restarts`` and
    ``max_task_retries`` of -1), and tries nothing again that raises.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    for name in ("ray.data", "ray._private"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    gpu = order.device == "cuda"
    rows = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
        PartWorker,
        fn_constructor_args=(order,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        num_cpus=None if gpu else 1,
        num_gpus=1 if gpu else None,
        udf_modifying_row_count=False,
    )
    try:
        yield from rows.iter_rows()
    except Exception as error:  # workers raise nothing, so this is Ray's own
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise _RayError(f"Ray failed: {reason}") from error


def _await(parts: Parts, number: int) -> None:
    """Wait until a part that a worker stored is visible here."""
    until = time.monotonic() + PATIENCE
    while not parts.done(number):
        if time.monotonic() > until:
            raise UserError(
                f"{parts.folder} lacks part {number}, which a worker stored: is it on a shared file system?"
            )
        time.sleep(0.5)
