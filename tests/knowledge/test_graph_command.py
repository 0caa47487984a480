"""The commands graph and teach as a user calls them."""

import pytest

from clinragen.cli import dispatch
from clinragen.errors import UserError
from clinragen.knowledge.graph import build


def call(*argv: str) -> None:
    dispatch(["graph", *argv])


def test_build_show_stats_and_draw(tmp_path, capsys):
    call("build", "--out", str(tmp_path / "g"))
    assert "edges written to" in capsys.readouterr().out
    call("show", "heart", "failure", "--graph", str(tmp_path / "g"))
    assert capsys.readouterr().out.startswith("CONGESTIVE HEART FAILURE")
    call("stats", "--graph", str(tmp_path / "g"))
    out = capsys.readouterr().out
    assert "suggests" in out
    assert "Apache-2.0" in out
    assert "NO" not in out.split()
    call("sources")
    assert "hetionet" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_draw_gives_the_same_picture_again(tmp_path, ending):
    pytest.importorskip("matplotlib")
    call("draw", "--out", str(tmp_path / f"a.{ending}"), "shock")
    assert (tmp_path / f"a.{ending}").stat().st_size > 10_000
    call("draw", "--out", str(tmp_path / f"b.{ending}"), "shock")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["show", "nonsense"], "unknown concept"),
        (["draw", "--out", "x.bmp"], "picture format"),
        (["draw", "--out", "x.png", "shok"], "did you mean 'shock'"),
        (["show", "Acute", "and", "unspecific", "renal", "failure"], "unknown concept"),
        (["draw", "--out", "x.png", "--min-weight", "2"], "lower --min-weight"),
        (["stats", "--graph", "nowhere"], "clinragen graph build"),
        (["build", "--out", "g", "--source", "hpo"], "expected hpo=FOLDER"),
    ],
)
def test_mistakes_give_one_clear_line(argv, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        call(*argv)
    assert not list(tmp_path.iterdir())


def without(tmp_path, *nodes: str):
    """The core without some of its nodes, saved."""
    graph = build()
    graph.graph.remove_nodes_from(nodes)
    graph.save(tmp_path / "less")
    return tmp_path / "less"


def test_stats_give_a_reason_for_a_missing_finding_only_where_one_is_stated(tmp_path, capsys):
    folder = without(tmp_path, "finding:lactate:high", "finding:potassium:low")
    call("stats", "--graph", str(folder))
    said = " ".join(capsys.readouterr().out.split())
    stated, _, unstated = said.partition("Without a stated reason: ")
    assert set(unstated.split(", ")) == {"potassium low", "lactate high"}
    assert "lactate low (a low lactate has no clinical meaning)" in stated
    assert "none exists clinically" not in said


def test_stats_of_the_core_state_every_reason(capsys):
    call("stats")
    said = " ".join(capsys.readouterr().out.split())
    assert "spo2 high (saturation cannot exceed 100 %)" in said
    assert "Without a stated reason" not in said
