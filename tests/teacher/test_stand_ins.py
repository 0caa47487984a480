"""A warning if too many rationales of a set are the evidence teacher's."""

import io
import json
from types import SimpleNamespace

import pytest
from fault_server import FaultServer, completion, good_answers, write_cohort
from rich.console import Console
from test_dialects import settings
from test_llm_run import command

from clinragen.artifacts import read_table
from clinragen.cli import dispatch
from clinragen.cohort.rationale_authors import warning
from clinragen.errors import UserError
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher.files import Files
from clinragen.teacher.llm import TeachingRequest, teach

pytestmark = pytest.mark.usefixtures("one_graph")


@pytest.fixture(scope="module")
def good(tmp_path_factory, graph):
    return good_answers(write_cohort(tmp_path_factory.mktemp("good") / "cohort"), graph)


def refusing(*stays):
    return lambda server, request, times: completion(request, "I cannot.") if request["stay"] in stays else None


@pytest.mark.parametrize(
    ("stays", "limit", "code"),
    [
        ((), 0.0, 0), ((1,), 0.0, 1), ((1,), 0.16, 1), ((1,), 0.17, 0), ((1, 2, 3), 0.5, 0), ((1, 2, 3, 4), 0.5, 1),
        ((1, 2, 3, 4, 5, 6), 0.99, 1), ((1, 2, 3, 4, 5, 6), 1.0, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dropped", ["evidence", "omit"])
def test_the_exit_code_says_that_too_many_fell_back(stays, limit, code, dropped, cohort, good, capsys):
    with FaultServer(good, refusing(*stays)) as server:
        more = ["--set", f"most_dropped={limit}", "--set", f"dropped={dropped}", "--set", "regenerate=0"]
        assert (dispatch(command(cohort, server.url, *more)) or 0) == code
    told = capsys.readouterr().out
    assert ("most_dropped" in told) == bool(code)
    rows = read_table(CohortPaths(cohort).rationales("openai"), RATIONALES)  # written all the same
    assert rows.num_rows == (12 if dropped == "evidence" else 12 - 2 * len(stays))
    manifest = json.loads(Files(CohortPaths(cohort), "openai").manifest.read_text())
    assert manifest["dropped_share"] == pytest.approx(len(stays) / 6)


def test_the_default_is_half(cohort, good):
    with FaultServer(good, refusing(1, 2, 3)) as server:
        assert not teach(TeachingRequest(cohort, None, settings(server.url), "llm")).too_many_dropped
    with FaultServer(good, refusing(1, 2, 3, 4)) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url), "other"))
    assert summary.too_many_dropped
    assert "8 of 12 rationales fell back to the evidence teacher (66.7 %" in "\n".join(summary.lines())


@pytest.mark.parametrize("limit", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_is_from_0_to_1(limit, cohort):
    with pytest.raises(UserError, match="most_dropped"):
        dispatch(command(cohort, "http://127.0.0.1:9/v1", "--set", f"most_dropped={limit}"))


def test_training_on_such_rationales_says_so(cohort, good):
    paths = CohortPaths(cohort)
    with FaultServer(good, refusing(1, 2, 3, 4)) as server:
        teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
    told = warning(paths, "llm")
    assert told is not None
    assert "8 of 12 rationales of teacher 'llm' are the evidence teacher's" in told
    with FaultServer(good, refusing(1)) as server:
        teach(TeachingRequest(cohort, None, settings(server.url), "fine"))
        teach(TeachingRequest(cohort, None, settings(server.url, most_dropped=0.1), "strict"))
    assert warning(paths, "fine") is None
    assert "2 of 12" in str(warning(paths, "strict"))


def test_rationales_without_a_manifest_are_held_against_the_default(cohort, good):
    paths = CohortPaths(cohort)
    with FaultServer(good, refusing(1, 2, 3, 4)) as server:
        teach(TeachingRequest(cohort, None, settings(server.url, most_dropped=1.0), "llm"))
    assert warning(paths, "llm") is None
    Files(paths, "llm").manifest.unlink()
    assert warning(paths, "llm") is not None


def test_the_evidence_teacher_stands_in_for_nobody(cohort):
    dispatch(["teach", "--cohort", str(cohort)])
    assert warning(CohortPaths(cohort), "evidence") is None


def test_train_prints_it(cohort, good, tmp_path, monkeypatch):
    from clinragen.stages import run
    from clinragen.stages.run_dir import Request

    with FaultServer(good, refusing(1, 2, 3, 4)) as server:
        teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
    monkeypatch.setattr(run.preflight, "check", lambda request: SimpleNamespace(paths=CohortPaths(cohort)))
    monkeypatch.setattr(run, "resolve", lambda *arguments: (_ for _ in ()).throw(UserError("far enough")))
    console = Console(record=True, width=400, file=io.StringIO())
    monkeypatch.setattr(run.Cohort, "load", lambda folder: SimpleNamespace(paths=CohortPaths(folder)))
    with pytest.raises(UserError, match="far enough"):
        run.run_stage(Request("notes", cohort, tmp_path / "out", teacher="llm"), console)
    assert "8 of 12 rationales of teacher 'llm'" in console.export_text()
