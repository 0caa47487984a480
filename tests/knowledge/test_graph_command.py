"""The commands graph and teach as a user calls them."""

import argparse

import pytest

from clinragen.commands import graph as command
from clinragen.errors import UserError


def call(*argv: str) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    command.run(parser.parse_args(argv))


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
