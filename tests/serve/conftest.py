"""The service: with the small trained model where its answers matter, else with an assessor that only waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from serve.stand_in import Waiting
from starlette.testclient import TestClient

from clinragen.serve.access import Access
from clinragen.serve.app import Service, build_app
from clinragen.serve.limits import Limits


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def client(waiting: Waiting) -> Iterator[Callable[..., TestClient]]:
    """``client(access=..., limits=...)`` is a client of a service that is closed at the end."""
    services = []

    def make(access: Access = Access(None), limits: Limits = Limits()) -> TestClient:  # noqa: B008
        service = Service(waiting, access, limits)  # type: ignore[arg-type]
        services.append(service)
        return TestClient(build_app(service), base_url="http://localhost", raise_server_exceptions=False)

    yield make
    waiting.free.set()
    for service in services:
        service.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What the service logs."""
    monkeypatch.setattr(logging.getLogger("clinragen.serve"), "propagate", True)
    caplog.set_level(logging.INFO)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # the client's own
    return caplog


@pytest.fixture(scope="session")
def assessor(runs):
    """The small trained model."""
    from clinragen.serve.assess import Assessor

    return Assessor.load(runs.multimodal, "cpu")


@pytest.fixture(scope="session")
def index(hospital, tmp_path_factory):
    """The folder of an index of the small synthetic hospital."""
    import clinragen

    out = tmp_path_factory.mktemp("served") / "index"
    clinragen.build_index(hospital.cohort, out)
    return out


@pytest.fixture(scope="session")
def finder(index, hospital, assessor):
    """The index as the service opens it, with the charts of its cohort."""
    from clinragen.serve.similar import SimilarFinder

    return SimilarFinder.load(index, hospital.cohort, None, assessor.trained)
