"""Start the service: everything that can be wrong is, before the model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.choices import Device
from clinragen.errors import UserError, missing_extra
from clinragen.integrity import thorough
from clinragen.waiting import idle

if TYPE_CHECKING:
    from rich.console import Console

    from clinragen.api.asking_engine import EngineChoice
    from clinragen.inference.predict import TrainedModel
    from clinragen.serve.access import Access
    from clinragen.serve.limits import Limits
    from clinragen.serve.similar import SimilarFinder


@dataclass(frozen=True)
class Address:
    """Where the service is reached, and by whom.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        token_file: file with the token.
        certificate: of TLS, in PEM.
        key: of the certificate.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class IndexChoice:
    """In which index similar cases are sought.

    Attributes:
        index: folder of ``clinragen index build``.
        cohort: the one that it was built from, to say what charts share; None: it is not at hand.
        model: the run that it was built with; None: that of the service, where it needs one.
    """

    index: Path
    cohort: Path | None = None
    model: Path | None = None

    @classmethod
    def of(cls, index: Path | None, cohort: Path | None, model: Path | None) -> IndexChoice | None:
        """The choice of a user; None without an index.

        Raises:
            UserError: something else is given without an index.
        """
        if index is None:
            for option, given in (("--index-cohort", cohort), ("--index-model", model)):
                if given is not None:
                    raise UserError(f"{option} is given without --index: give both, or neither")
            return None
        return cls(index, cohort, model)

    def open(self, trained: TrainedModel) -> SimilarFinder:
        """Open it.

        Args:
            trained: the model of the service.

        Raises:
            UserError: no index, a damaged one, or one that does not belong to the model or the cohort.
        """
        from clinragen.serve.similar import SimilarFinder

        return SimilarFinder.load(self.index, self.cohort, self.model, trained)


def start(  # noqa: PLR0913 (options of the user)
    model: Path,
    address: Address,
    *,
    stays: int = 16,
    megabytes: int = 8,
    waiting: int = 8,
    seconds: int = 120,
    device: Device = "auto",
    reading: EngineChoice | None = None,
    index: IndexChoice | None = None,
    verify: bool = False,
) -> None:
    """Load a model and answer requests until SIGTERM or Ctrl-C.

    Args:
        model: run folder.
        address: where the service is reached, and by whom.
        stays: most stays of a request.
        megabytes: largest body of a request, in MiB.
        waiting: most requests that wait for the model.
        seconds: within which a request must be answered.
        device: where the model runs.
        reading: what reads questions beside the rules; None: the rules alone.
        index: in which similar cases are sought; None: in none.
        verify: also check the hashes of large files before reading them.

    Raises:
        UserError: the address, the token, a limit, the model or the index is not as expected.
    """
    from rich.console import Console

    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra("clinragen serve", "serve") from None
    from clinragen.serve.access import Access
    from clinragen.serve.limits import Limits

    limits = Limits(stays=stays, body=megabytes << 20, waiting=waiting, seconds=float(seconds))
    if address.key and not address.certificate:
        raise UserError("--key is given without --certificate: give both")
    access = Access.decide(address.host, address.token_file)
    with thorough(verify):
        _run(model, address, access, limits, device, reading, index, Console(stderr=True))


def _run(
    model: Path,
    address: Address,
    access: Access,
    limits: Limits,
    device: Device,
    reading: EngineChoice | None,
    index: IndexChoice | None,
    console: Console,
) -> None:
    """Take the address first: a port that is taken need not wait for the model."""
    from clinragen.api.asking_engine import EngineChoice
    from clinragen.inference.finished import FinishedRun
    from clinragen.quiet import phase, remark
    from clinragen.serve.server import address_of, listen, make_server, serve

    FinishedRun.open(model)
    opened = listen(address.host, address.port)
    with opened:
        if not access.loopback and address.certificate is None:
            remark(console, "without --certificate the token and patient text travel as they are: use a TLS proxy")
        phase(console, "loading torch and the model")
        from clinragen.serve.app import Service
        from clinragen.serve.assess import Assessor

        assessor = Assessor.load(model, device)
        finder = None
        if index is not None:
            phase(console, "opening the index")
            finder = index.open(assessor.trained)
        phase(console, "answering for an invented stay")
        assessor.warm_up()
        url = address_of(opened, address.certificate is not None)

        def ready() -> None:
            console.print(f"{url} answers; Ctrl-C ends it", highlight=False, soft_wrap=True)

        service = Service(assessor, access, limits, reading or EngineChoice(), finder)
        if service.reading.engine != "rules":
            phase(console, "opening what reads questions")
            _ = service.asker
        with idle():
            serve(make_server(service, ready, certificate=address.certificate, key=address.key), opened)
