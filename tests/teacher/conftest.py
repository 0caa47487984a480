import sys
from pathlib import Path

import pytest

from clinragen.knowledge.graph import build
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.verification.rationale import Verifier

sys.path.insert(0, str(Path(__file__).parent))

from fault_server import write_cohort


@pytest.fixture(scope="session")
def graph():
    return build()


@pytest.fixture(scope="session")
def verifier(graph):
    return Verifier(graph)


@pytest.fixture(scope="session")
def evidence(graph):
    return EvidenceTeacher(graph)


@pytest.fixture
def one_graph(graph, verifier, evidence, monkeypatch):
    """The curated graph and what checks against it are the same each time: made once."""
    monkeypatch.setattr("clinragen.teacher.llm.open_graph", lambda folder, labels, added: graph)
    monkeypatch.setattr("clinragen.teacher.llm.EvidenceTeacher", lambda graph: evidence)
    monkeypatch.setattr("clinragen.teacher.claim_check.Verifier", lambda graph: verifier)


@pytest.fixture
def cohort(tmp_path):
    return write_cohort(tmp_path / "cohort")
