"""``clinragen contract``: from a problem to a menu that is checked, chosen from and compared; slips are one line."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

import clinragen
from clinragen.contracts.menu import read_menu


def test_solve_check_choose_and_simulate_agree(command, tmp_path, capsys):
    out = tmp_path / "menu.json"
    assert command("clinragen", "contract", "solve", "--out", out) == 0
    shown = capsys.readouterr().out
    menu = read_menu(out)
    for item in menu.items:
        assert item.name in shown
    assert command("clinragen", "contract", "check", out) == 0
    assert "5 items keep their promises" in capsys.readouterr().out
    cost = menu.items[2].cost
    assert command("clinragen", "contract", "choose", "--menu", out, "--cost", float(cost), "--json") == 0
    chosen = json.loads(capsys.readouterr().out)
    assert chosen["chooses"] == chosen["honest"] == menu.items[2].name
    assert chosen["gains"] == max(chosen["reports"].values())
    assert command("clinragen", "contract", "simulate", "--menu", out, "--holders", 300, "--json") == 0
    assert json.loads(capsys.readouterr().out)["paid"] == 0


def test_a_menu_that_was_changed_is_found_out(command, tmp_path, capsys):
    out = tmp_path / "menu.json"
    assert command("clinragen", "contract", "solve", "--out", out) == 0
    content = json.loads(out.read_text())
    content["items"][3]["reward"] = str(Fraction(content["items"][3]["reward"]) - 1)
    content["items"][3]["reward"] = f"{float(Fraction(content['items'][3]['reward'])):.2f}"
    out.write_text(json.dumps(content))
    capsys.readouterr()
    assert command("clinragen", "contract", "check", out) == 1
    line = capsys.readouterr().out
    assert "IC: 'large' (cost 1.5) would take the item of 'regional'" in line
    assert command("clinragen", "contract", "check", out, "--json") == 1
    assert json.loads(capsys.readouterr().out)["violations"][0]["type"] == "large"


def test_the_same_problem_gives_the_same_bytes_in_any_order_of_types(command, tmp_path):
    types = ["{name: a, cost: 3, share: 0.5}", "{name: b, cost: 1, share: 0.2}", "{name: c, cost: 2, share: 0.3}"]
    for name, order in (("one", types), ("two", types[::-1])):
        override = f"types=[{', '.join(order)}]"
        assert command("clinragen", "contract", "solve", "--set", override, "--out", tmp_path / name) == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("types=[{cost: -1, share: 1}]", "types[0]: cost -1.0: expected 0 or more"),
        ("types=[{cost: 1, share: 0.5}]", "the shares of types sum to 0.5, expected 1"),
        ("types=[{cost: 1, share: 0}, {cost: 2, share: 1}]", "types[0]: share 0.0: expected a number above 0"),
        (
            "types=[{name: a, cost: 1, share: 0.5}, {name: a, cost: 2, share: 0.5}]",
            "types[1] (a): types[0] has the same name",
        ),
        ("types=[{cost: 1}]", "types[0].share"),
        ("types=[]", "types is empty"),
        ("types=[{cost: .inf, share: 1}]", "cost inf: expected 0 or more"),
        ("beta=0", "beta=0.0: expected a number above 0"),
        ("age.delay=-1", "age.delay=-1.0: expected 0 or more"),
        ("age.updates=daily", "age.updates 'daily' is unknown; choose from: periodic, random"),
        ("decimals.reward=40", "decimals.reward=40: expected a whole number from 0 to 12"),
        ("largest_frequncy=1", "did you mean 'largest_frequency'"),
    ],
)
def test_an_impossible_problem_is_one_line(override, says, command, tmp_path, capsys):
    assert command("clinragen", "contract", "solve", "--set", override, "--out", tmp_path / "menu.json") == 2
    line = capsys.readouterr().err
    assert says in line
    assert line.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_other_slips_are_one_line(command, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    for words, says in (
        (("solve", "--config", "defalt"), "did you mean 'default'"),
        (("solve", "--out", tmp_path / "notes.txt", "--overwrite"), "is no file that this command wrote"),
        (("check", tmp_path / "nowhere.json"), "not found"),
        (("choose", "--menu", tmp_path / "nowhere.json", "--cost", "1"), "not found"),
        (("compare", "--problems", "0"), "expected 1 or more"),
        (("compare", "--set", "beta=0.0001"), "no menu gains anything"),
        (("fit", "--measurements", tmp_path / "notes.txt"), "column 'frequency' is missing"),
    ):
        assert command("clinragen", "contract", *words) == 2, words
        assert says in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert command("clinragen", "contract", "solve", "--out", tmp_path / "menu.json") == 0
    assert command("clinragen", "contract", "choose", "--menu", tmp_path / "menu.json", "--cost", "-1") == 2
    assert command("clinragen", "contract", "choose", "--menu", tmp_path / "menu.json", "--cost", "cheap") == 2
    assert "cost cheap: expected a decimal number" in capsys.readouterr().err


def test_nothing_is_below_the_optimum_but_the_optimum_itself(command, capsys):
    assert command("clinragen", "contract", "compare", "--problems", 30, "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["exact"]["mean_regret"] == pytest.approx(0, abs=1e-9)
    for name, row in rows.items():
        assert row["broken_ir"] == row["broken_ic"] == 0  # all pay by formula
        assert row["regret"] > -1e-9
        assert name == "exact" or row["mean_regret"] > 0.001


def test_a_fit_finds_the_curve_that_made_the_measurements(command, tmp_path, capsys):
    from clinragen.contracts.curve import FreshnessCurve

    curve = FreshnessCurve(1.7, delay=0.3, updates="random")
    rows = [f"{f},{0.02 * float(curve.log_gain(f))!r},site" for f in (0, 0.25, 0.5, 1, 2, 4, 8)]
    (tmp_path / "worth.csv").write_text("\n".join(["frequency,worth,site", *rows]))
    setting = ("--set", "age.delay=0.3", "--set", "age.updates=random")
    assert command("clinragen", "contract", "fit", "--measurements", tmp_path / "worth.csv", *setting, "--json") == 0
    fitted = json.loads(capsys.readouterr().out)
    assert fitted["alpha"] == pytest.approx(0.02, rel=1e-3)
    assert fitted["age.largest"] == pytest.approx(1.7, rel=1e-3)
    assert fitted["residual"] < 1e-6
    assert fitted["at_bound"] == []


def test_a_fit_to_what_falls_says_that_alpha_is_at_its_bound_and_reports_the_residual(tmp_path):
    (tmp_path / "worth.csv").write_text("frequency,worth\n1,-0.01\n2,-0.03\n")
    fitted = clinragen.fit_worth(tmp_path / "worth.csv", largest_age=1.0)
    assert fitted.alpha == 0
    assert fitted.at_bound == ("alpha",)
    assert fitted.residual == pytest.approx((0.5 * (0.01**2 + 0.03**2)) ** 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("frequency,worth\n", "holds no measurement"),
        ("frequency,worth\n1,x\n", "line 2: worth 'x': expected a number"),
        ("frequency,worth\n1\n", "line 2: worth '': expected a number"),
        ("frequency,worth\n1,nan\n", "line 2: worth 'nan': expected a number"),
        ("frequency,worth\n-1,2\n", "a frequency is below 0"),
        ("frequency,worth\n1,2\n1,3\n", "1 different frequencies above 0 were measured"),
    ],
)
def test_measurements_that_do_not_do_are_one_line(text, says, tmp_path):
    (tmp_path / "worth.csv").write_text(text)
    with pytest.raises(clinragen.UserError) as refused:
        clinragen.fit_worth(tmp_path / "worth.csv")
    assert says in str(refused.value)
