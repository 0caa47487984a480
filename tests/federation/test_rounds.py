"""Sites and coordinator from the first message to the finished model, by the commands that people type."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.cohort.folder import Cohort
from clinragen.federation import privacy
from clinragen.federation.files import read_tensors
from clinragen.federation.manifest import Federation, stays_behind
from clinragen.federation.series_regression import SeriesRegression
from clinragen.federation.update import Tensors
from clinragen.federation.work import Statistic, small_cells
from tests.conftest import call

SETTINGS = {"variables": ["heart_rate", "lactate", "potassium"], "rounds": 2, "local_steps": 3}
POLICY = 'smallest_cell: 10\nlargest_norm: 100.0\nmay_leave: ["*"]\nprivacy: null\n'
DP = POLICY.replace("null", "{epsilon: 8.0, delta: 1.0e-5, clip: 1.0}")


def settings(**changes: object) -> list[str]:
    """The options that make the work small."""
    values = {f"settings.{name}": value for name, value in SETTINGS.items()} | changes
    return [word for key, value in values.items() for word in ("--set", f"{key}={str(value).replace(chr(39), '')}")]


@dataclass
class Consortium:
    """Sites with the same cohort, each with a folder of its own."""

    root: Path
    cohort: Path
    names: tuple[str, ...] = ("north", "south", "east")

    @property
    def federation(self) -> Path:
        return self.root / "coordinator"

    def set_up(self, policy: str = POLICY, **changes: object) -> Consortium:
        self.root.mkdir(exist_ok=True)
        (self.root / "policy.yaml").write_text(policy)
        members = []
        for name in self.names:
            folder = self.root / name
            joined = ("--out", folder, "--name", name, "--cohort", self.cohort, "--policy", self.root / "policy.yaml")
            assert call("clinragen", "federate", "join", *joined) == 0
            members += ["--member", folder / "member.json"]
        least = {"least_sites": len(self.names)} | changes
        made = call(
            "clinragen", "federate", "init", "--out", self.federation, "--name", "alps", *members, *settings(**least)
        )
        assert made == 0
        return self

    def round(self, *options: object) -> int:
        inboxes = [word for name in self.names for word in ("--inbox", self.outbox(name)) if self.outbox(name).exists()]
        return call("clinragen", "federate", "round", "--federation", self.federation, *inboxes, *options)

    def outbox(self, name: str) -> Path:
        return self.root / f"{name}-outbox"

    def site(self, name: str, *options: object) -> int:
        return call(
            "clinragen", "federate", "site", "--federation", self.federation / "federation.json",
            "--site", self.root / name, "--cohort", self.cohort,
            "--inbox", self.federation / "outbox", "--outbox", self.outbox(name), *options,
        )  # fmt: skip

    def run(self) -> Tensors:
        """All rounds, and the finished model."""
        assert self.round() == 0
        for _ in range(self.manifest.rounds):
            for name in self.names:
                assert self.site(name) == 0
            assert self.round() == 0
        return self.model(self.manifest.rounds + 1)

    @property
    def manifest(self) -> Federation:
        return Federation.read(self.federation / "federation.json")

    def model(self, number: int) -> Tensors:
        tensors = read_tensors((self.federation / "outbox" / f"round-{number:04}.safetensors").read_bytes())
        assert tensors is not None
        return tensors

    def files(self) -> dict[str, bytes]:
        """Everything that was written, but for locks."""
        paths = (path for path in self.root.rglob("*") if path.is_file() and path.name != ".lock")
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}


@pytest.fixture
def consortium(hospital, tmp_path) -> Consortium:
    return Consortium(tmp_path / "sites", hospital.cohort)


@pytest.fixture(scope="module")
def opened(hospital, tmp_path_factory) -> Consortium:
    """Three sites and an open round 1. Tests work on copies."""
    made = Consortium(tmp_path_factory.mktemp("opened") / "sites", hospital.cohort).set_up()
    assert made.round() == 0
    return made


@pytest.fixture
def copied(opened, tmp_path) -> Consortium:
    shutil.copytree(opened.root, tmp_path / "sites")
    return Consortium(tmp_path / "sites", opened.cohort)


def plainly_trained(cohort: Cohort, rounds: int) -> Tensors:
    """The same training without a federation."""
    work = SeriesRegression(SETTINGS)
    model = dict(work.start())
    sums = work.statistics(cohort, model, "standardise")
    for statistic in sums.values():  # cells that do not leave a site
        small = statistic.stays < 10
        statistic.values[small] = 0
        statistic.stays[small] = 0
    model = dict(work.advance(model, sums, "standardise"))
    for number in range(rounds):
        model |= work.train(cohort, model, number + 2)[0]
    return model


def test_one_site_alone_is_plain_training_to_the_bit(consortium):
    consortium.names = ("north",)
    model = consortium.set_up(least_sites=1).run()
    plain = plainly_trained(Cohort.load(consortium.cohort), 2)
    assert model.keys() == plain.keys()
    assert np.abs(model["weights"]).max() > 0.01
    for name, array in plain.items():
        assert model[name].tobytes() == array.tobytes(), name


def test_three_sites_with_the_same_stays_train_as_one_does(consortium, capsys):
    model = consortium.set_up().run()
    assert "finished: the model is in" in capsys.readouterr().out
    plain = plainly_trained(Cohort.load(consortium.cohort), 2)
    for name, array in plain.items():
        assert model[name] == pytest.approx(array, abs=1e-6), name
    assert consortium.site("north") == 0
    assert "all rounds are done" in capsys.readouterr().out


def test_secure_aggregation_gives_the_mean_though_each_update_is_noise(consortium):
    model = consortium.set_up(**{"privacy": "secure", "rule.name": "mean"}).run()
    plain = plainly_trained(Cohort.load(consortium.cohort), 2)
    for name, array in plain.items():
        assert model[name] == pytest.approx(array, abs=1e-5), name
    sent = read_tensors((consortium.outbox("north") / "north-0002.safetensors").read_bytes())
    assert sent is not None
    assert sent["weights"].dtype == np.uint64
    assert 0.3 < (sent["weights"] > 2**63).mean() < 0.7
    other = read_tensors((consortium.outbox("south") / "south-0002.safetensors").read_bytes())
    assert other is not None
    assert (sent["weights"] != other["weights"]).all()


def test_secure_aggregation_and_screening_exclude_each_other(consortium, capsys):
    with pytest.raises(AssertionError):
        consortium.set_up(privacy="secure")
    assert "whoever sees only sums cannot screen" in capsys.readouterr().err


def test_differential_privacy_adds_noise_tells_epsilon_and_stops(consortium, capsys):
    consortium.names = ("north",)
    noisy = DP.replace("clip: 1.0", "clip: 1.0, noise: 2.0")
    consortium.set_up(noisy, least_sites=1, privacy="dp", largest_norm=1e6, **{"settings.rounds": 50})
    assert consortium.round() == 0
    capsys.readouterr()
    spent = []
    while consortium.site("north") == 0:
        spent.append(float(capsys.readouterr().out.split("epsilon spent: ")[1].split()[0]))
        assert consortium.round() == 0
        capsys.readouterr()
        assert len(spent) < 40
    assert 2 < len(spent) < 40
    assert spent == sorted(spent)
    assert spent[-1] <= 8
    error = capsys.readouterr().err
    assert "the policy's is 8: the budget is spent, nothing leaves this site" in error
    assert error.count("\n") == 1
    assert not (consortium.outbox("north") / f"north-{len(spent) + 1:04}.note").exists()


def test_less_noise_in_the_middle_does_not_make_earlier_rounds_cheaper_or_dearer(consortium, capsys):
    consortium.names = ("north",)
    consortium.set_up(DP.replace("clip: 1.0", "clip: 1.0, noise: 6.0"), least_sites=1, privacy="dp", largest_norm=1e6)
    assert consortium.round() == 0
    spent = []
    for noise in (6.0, 3.0, 60.0):
        (consortium.root / "north" / "policy.yaml").write_text(DP.replace("clip: 1.0", f"clip: 1.0, noise: {noise}"))
        capsys.readouterr()
        assert consortium.site("north") == 0
        spent.append(float(capsys.readouterr().out.split("epsilon spent: ")[1].split()[0]))
        assert consortium.round() == 0
    expected = [privacy.epsilon(sum_, 1e-5) for sum_ in (6 / 36, 6 / 36 + 1 / 9, 6 / 36 + 1 / 9 + 1 / 3600)]
    assert spent == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (None, "without a policy nothing leaves this site"),
        ("", "smallest_cell|mapping|missing"),
        (POLICY.replace("smallest_cell: 10\n", ""), "smallest_cell is missing, so nothing leaves"),
        (POLICY.replace("privacy: null\n", ""), "privacy is missing, so nothing leaves"),
        (POLICY + "may_leaf: []\n", "unknown key 'may_leaf'"),
        (POLICY.replace("largest_norm: 100.0", "largest_norm: -1.0"), "expected a number above 0, so nothing leaves"),
        (POLICY.replace("largest_norm: 100.0", "largest_norm: .nan"), "expected a number above 0, so nothing leaves"),
        (POLICY.replace("smallest_cell: 10", "smallest_cell: 0"), "expected at least 1, so nothing leaves"),
        (POLICY.replace('["*"]', "[]"), "may_leave does not name tensor 'moments': nothing leaves"),
        (POLICY.replace('["*"]', "[moments, stays]"), "may_leave does not name tensor 'positives': nothing leaves"),
        (POLICY.replace("smallest_cell: 10", "smallest_cell: 1000"), "no update of fewer than 1000 leaves this site"),
        (DP, "demands differential privacy, and the federation's privacy is none: nothing leaves"),
        (POLICY.replace("null", "{epsilon: 8.0}"), "privacy.clip is missing, so nothing leaves"),
    ],
)
def test_a_policy_fails_closed_with_one_line(copied, policy, says, capsys):
    path = copied.root / "north" / "policy.yaml"
    path.unlink() if policy is None else path.write_text(policy)
    assert copied.site("north") == 2
    error = capsys.readouterr().err
    assert any(part in error for part in says.split("|"))
    assert error.count("\n") == 1
    assert not copied.outbox("north").exists()
    assert not (copied.root / "north" / "rounds").exists()


def test_a_change_beyond_the_policy_s_norm_does_not_leave(copied, capsys):
    for name in copied.names:
        assert copied.site(name) == 0
    assert copied.round() == 0
    policy = copied.root / "north" / "policy.yaml"
    policy.write_text(policy.read_text().replace("100.0", "1.0e-6"))
    assert copied.site("north") == 2
    assert "largest_norm is 1e-06: nothing leaves this site" in capsys.readouterr().err
    assert not (copied.outbox("north") / "north-0002.note").exists()


def test_a_round_waits_for_sites_and_says_for_which(copied, capsys):
    assert copied.site("south") == 0
    assert copied.round() == 0
    assert "round 1 is open; missing: east, north" in capsys.readouterr().out
    assert json.loads((copied.federation / "rounds" / "0001.json").read_text())["missing"] == ["east", "north"]
    assert copied.site("north") == 0
    assert copied.round("--close") == 0  # three are needed
    assert "round 1 is open; missing: east" in capsys.readouterr().out
    assert copied.site("east") == 0
    assert copied.round() == 0
    assert "round 1 closed: 3 sites" in capsys.readouterr().out
    assert not (copied.federation / "rounds" / "0001.json").exists()


def test_what_is_refused_is_logged_with_site_and_reason(copied, capsys):
    for name in copied.names:
        assert copied.site(name) == 0
    tensors = copied.outbox("south") / "south-0001.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"?")
    assert copied.round() == 0
    assert "refused: south: altered tensors" in capsys.readouterr().out
    [refused] = json.loads((copied.federation / "rounds" / "0001.json").read_text())["refused"]
    assert (refused["site"], refused["reason"]) == ("south", "altered tensors")
    assert copied.site("south") == 0  # it sends again what it had sent
    assert copied.round() == 0
    assert "round 1 closed: 3 sites" in capsys.readouterr().out


def test_an_update_of_an_earlier_round_under_a_new_name_is_refused_as_a_replay(copied, capsys):
    for name in copied.names:
        assert copied.site(name) == 0
    assert copied.round() == 0
    for suffix in ("note", "safetensors"):
        source = copied.outbox("east") / f"east-0001.{suffix}"
        shutil.copy(source, source.with_name(f"east-0002.{suffix}"))
    capsys.readouterr()
    assert copied.round() == 0
    assert "refused: east: replay" in capsys.readouterr().out


def test_a_message_that_is_not_the_coordinator_s_moves_nothing(copied, capsys):
    note = copied.federation / "outbox" / "round-0001.note"
    note.write_text(note.read_text().replace('"round":1', '"round":9'))
    assert copied.site("north") == 2
    assert "copy it from the coordinator anew" in capsys.readouterr().err
    assert not copied.outbox("north").exists()


def test_two_models_for_one_round_are_noticed(copied, capsys):
    assert copied.site("north") == 0
    record = copied.root / "north" / "rounds" / "0001" / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"parent": "0" * 64}))
    assert copied.site("north") == 2
    assert "the coordinator sent two; nothing leaves this site" in capsys.readouterr().err


def test_other_code_than_the_federation_s_computes_nothing(copied, monkeypatch, capsys):
    monkeypatch.setattr("clinragen.federation.site.code_sha256", lambda: "0" * 64)
    assert copied.site("north") == 2
    assert "this is another release: install the coordinator's; nothing leaves" in capsys.readouterr().err


class Killed(BaseException):
    """The process ends here."""


def test_killed_before_any_file_takes_its_name_it_goes_on_to_the_same_bytes(copied, tmp_path, monkeypatch):
    """Sites and coordinator, each killed before the first, second, ... file that gets its final name."""
    whole = Consortium(tmp_path / "whole", copied.cohort)
    shutil.copytree(copied.root, whole.root)
    for step in (*(partial(whole.site, name) for name in whole.names), whole.round):
        assert step() == 0
    kills = sum(
        killed(step, monkeypatch) for step in (*(partial(copied.site, name) for name in copied.names), copied.round)
    )
    assert kills > 20
    assert copied.files() == whole.files()


def killed(step: Callable[[], int], monkeypatch: pytest.MonkeyPatch, after: Callable[[], object] = lambda: None) -> int:
    """Run a command that ends before its first, second, ... file gets its name; how often until it got through.

    ``after`` is called after each of these ends.
    """
    for kills in range(100):
        with monkeypatch.context() as patch:
            kill_at(kills, patch)
            with suppress(Killed):
                assert step() == 0
                return kills
        after()
    raise AssertionError("it never got through")


def kill_at(countdown: int, patch: pytest.MonkeyPatch) -> None:
    """End the process when so many files have got their names."""
    left = [countdown]

    def killing[**P, R](name: Callable[P, R]) -> Callable[P, R]:
        def named(*args: P.args, **kwargs: P.kwargs) -> R:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return name(*args, **kwargs)

        return named

    patch.setattr(Path, "replace", killing(Path.replace))
    patch.setattr(os, "link", killing(os.link))


def test_no_name_id_or_canary_leaves_and_no_cell_below_ten(hospital, tmp_path, restamp):
    cohort = tmp_path / "cohort"
    shutil.copytree(hospital.cohort, cohort)
    canary = "Xylophon Quetzalcoatl of 17 Rue Morgue, born 1931-02-29"
    notes = pl.read_parquet(cohort / "notes.parquet").with_columns(text=pl.concat_str("text", pl.lit(f"\n{canary}")))
    notes.write_parquet(cohort / "notes.parquet")
    restamp(cohort)
    consortium = Consortium(tmp_path / "sites", cohort).set_up()
    consortium.run()
    opened = Cohort.load(cohort)
    assert canary in opened.notes["text"][0]
    ids = opened.stays.select("stay_id", "subject_id", "hadm_id").to_numpy().ravel()
    planted = [canary[at : at + 8].encode() for at in range(len(canary) - 8)]
    planted += [str(number).encode() for number in ids] + [int(number).to_bytes(8, "little") for number in ids]
    sent = sorted(path for name in consortium.names for path in consortium.outbox(name).iterdir())
    assert len(sent) == 2 * 3 * 3
    assert {path.suffix for path in sent} == {".note", ".safetensors"}
    for path in sent:
        content = path.read_bytes()
        assert [part for part in planted if part in content] == [], path.name
    sums = read_tensors((consortium.outbox("north") / "north-0001.safetensors").read_bytes())
    assert sums is not None
    for name in ("moments", "positives", "stays"):
        cells = np.concatenate([sums[stays_behind(name)].ravel(), sums[name].ravel() if name != "moments" else []])
        assert ((cells == 0) | (cells >= 10)).all()
    plain = SeriesRegression(SETTINGS).statistics(opened, {}, "standardise")
    assert ((plain["positives"].values > 0) & (plain["positives"].values < 10)).any()  # there was something to hide
    assert (sums["positives"] > 0).any()


@given(
    counts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8),
    least=st.integers(1, 15),
)
def test_no_count_leaves_that_tells_of_few_stays_by_itself_or_by_what_is_left(counts, least):
    positive = np.array([min(pair) for pair in counts])
    of = np.array([max(pair) for pair in counts])
    small = small_cells(Statistic(positive, positive, of=of), least)
    told = positive[~small]
    left = of[~small] - told
    assert ((told == 0) | ((told >= least) & (left >= least))).all()
    assert not small[(positive >= least) & (of - positive >= least)].any()  # and nothing else is lost


def test_the_contract_and_the_age_of_data_stand_in_what_a_site_signs(consortium, tmp_path, capsys):
    consortium.names = ("north",)
    (tmp_path / "item.json").write_text('{"name": "weekly", "frequency": 1.5}')
    joined = ("--out", consortium.root / "north", "--name", "north", "--cohort", consortium.cohort)
    assert call("clinragen", "federate", "join", *joined, "--contract", tmp_path / "item.json") == 0
    (consortium.root / "north" / "policy.yaml").write_text(POLICY)
    options = ("--member", consortium.root / "north" / "member.json", *settings(least_sites=1))
    assert call("clinragen", "federate", "init", "--out", consortium.federation, "--name", "alps", *options) == 0
    assert consortium.round() == 0
    assert consortium.site("north", "--age-hours", -1) == 2
    assert "expected hours from 0" in capsys.readouterr().err
    assert consortium.site("north", "--age-hours", 36) == 0
    note = (consortium.outbox("north") / "north-0001.note").read_text()
    assert '"age_hours":36.0' in note
    assert '"contract":{"frequency":1.5,"name":"weekly"}' in note
    assert consortium.round() == 0
    assert "round 1 closed: 1 sites" in capsys.readouterr().out


def test_a_site_joins_once_and_nothing_leaves_by_the_first_policy(consortium, capsys):
    joined = ("--out", consortium.root / "north", "--name", "north", "--cohort", consortium.cohort)
    assert call("clinragen", "federate", "join", *joined) == 0
    assert (consortium.root / "north" / "secret").stat().st_mode & 0o077 == 0
    assert "may_leave: []" in (consortium.root / "north" / "policy.yaml").read_text()
    assert call("clinragen", "federate", "join", *joined) == 2
    assert "already exists" in capsys.readouterr().err
    assert call("clinragen", "federate", "join", *joined[:3], "No rth", *joined[4:]) == 2


def test_a_simulation_can_be_repeated_to_the_byte(hospital, tmp_path, capsys):
    for name in ("one", "other"):
        simulated = ("--cohort", hospital.cohort, "--out", tmp_path / name, "--by", "sex")
        assert call("clinragen", "federate", "simulate", *simulated, *settings()) == 0
    assert "2 sites, 0 updates refused" in capsys.readouterr().out
    first, second = (Consortium(tmp_path / name, hospital.cohort).files() for name in ("one", "other"))
    assert first == second
    assert "federation/outbox/round-0004.safetensors" in first


def test_a_column_that_makes_no_sites_is_refused(hospital, tmp_path, capsys):
    simulated = ("--cohort", hospital.cohort, "--out", tmp_path / "out", "--by")
    assert call("clinragen", "federate", "simulate", *simulated, "networks") == 2
    assert "did you mean 'network'?" in capsys.readouterr().err
    assert call("clinragen", "federate", "simulate", *simulated, "hospital") == 2
    assert "expected at least two sites" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
