"""`stage.token_weight`: from a teacher's server to a trained student, what is refused, and what changes nothing."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import Cuts, StayDataset
from clinragen.inference.predict import TrainedModel
from clinragen.schema import CohortPaths

pytestmark = pytest.mark.slow  # what its fixtures make takes seconds

SETTINGS = ("--set", "stage.precision=32-true", "--set", "stage.token_weight=0.5")


@pytest.fixture
def train(hospital, command, taught, capsys, tmp_path):
    """``train(name, ...)``: exit code and lines of a first stage in ``tmp_path / name``."""

    def run(name: str, *more: object, cohort: Path = taught) -> tuple[int, list[str]]:
        capsys.readouterr()
        given = ("--cohort", cohort, "--model", hospital.model, "--teacher", "llm", "--out", tmp_path / name)
        code = command("clinragen", "train", "notes", *given, *SETTINGS, *more)
        return code, capsys.readouterr().err.strip().splitlines()

    return run


@pytest.fixture
def own(taught, tmp_path) -> CohortPaths:
    """The taught cohort with rationales that a test may change."""
    cohort = tmp_path / "own"
    cohort.mkdir()
    for path in taught.iterdir():
        if path.is_file():
            (cohort / path.name).symlink_to(path)
    shutil.copytree(taught / "rationales", cohort / "rationales")
    return CohortPaths(cohort)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def rewrite(path: Path, change: Callable[[list[dict]], list[dict]]) -> None:
    """Change the rows of a Parquet file."""
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), table.schema), path)


@pytest.fixture
def trained(runs) -> TrainedModel:
    return TrainedModel.load(runs.multimodal)


def dataset(trained: TrainedModel, cohort: Path, **changes) -> StayDataset:
    """Training stays of a cohort with soft targets, as that model reads them."""
    plain = trained.dataset(Cohort.load(cohort), "train")
    return replace(plain, teacher="llm", soft_targets=True, cuts=Cuts(), **changes)


def test_a_stage_learns_from_log_probabilities_and_says_how_many_it_could_use(train, tmp_path):
    code, lines = train("run", "--set", "stage.epochs=3")
    assert code == 0
    found = json.loads((tmp_path / "run" / "manifest.json").read_text())["soft_targets"]
    assert 0.9 * found["rationales"] <= found["spelt"] <= found["rationales"]
    assert 0.5 * found["tokens"] < found["aligned"] < found["tokens"]
    assert f"soft targets at {found['aligned']:,} of {found['tokens']:,} tokens" in " ".join(" ".join(lines).split())
    with open(tmp_path / "run" / "metrics.csv") as handle:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(handle)]
    for split in ("train", "validation"):
        assert rows[-1][f"{split}/kl"] < rows[0][f"{split}/kl"]
        total = rows[0][f"{split}/nll"] + rows[0][f"{split}/bce"] + 0.5 * rows[0][f"{split}/kl"]
        assert rows[0][f"{split}/loss"] == pytest.approx(total, rel=1e-4)


class Stopped(BaseException):
    """Stands for a kill: nothing of the run's own code handles it."""


def test_a_run_that_was_stopped_ends_as_one_that_was_not(train, own, tmp_path, monkeypatch):
    """Soft targets are encoded anew for each run, for tokens do not outlast the run that made them."""
    from clinragen.stages.progress import StageProgress

    settings = ("--set", "stage.epochs=1", "--set", "stage.checkpoint_steps=1")
    assert train("whole", *settings)[0] == 0

    def stop(self, epoch):
        if (tmp_path / "broken" / "resume" / "state.safetensors").exists():
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(StageProgress, "step", stop)
        with pytest.raises(Stopped):
            train("broken", *settings)
    rewrite(own.logprobs("llm"), lambda rows: rows[1:])
    code, lines = train("broken", *settings, cohort=own.root)
    assert (code, "other data or settings" in lines[-1]) == (2, True)
    assert train("broken", *settings)[0] == 0
    expected, got = (weights(tmp_path / name) for name in ("whole", "broken"))
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


def test_a_teacher_without_log_probabilities_is_refused_in_one_line(train, hospital, command, capsys, own, tmp_path):
    own.logprobs("llm").unlink()
    code, lines = train("out", cohort=own.root)
    lines = [line for line in lines if line.startswith("error: ")]
    assert (code, len(lines)) == (2, 1)
    for part in (str(own.logprobs("llm")), "sampling.logprobs=true", "stage.token_weight=0"):
        assert part in lines[0]
    given = ("--cohort", own.root, "--model", hospital.model, "--teacher", "llm", "--out", tmp_path / "out")
    assert command("clinragen", "distill", *given, "--set", "multimodal.stage.token_weight=1") == 2
    assert "llm.logprobs.parquet not found" in capsys.readouterr().err  # before the first stage, not after the second
    assert not (tmp_path / "out").exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def without_a_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["top_tokens"]), path)


def too_few(path: Path) -> None:
    rewrite(path, lambda rows: [row | {"logprobs": row["logprobs"][1:]} for row in rows])


def no_number(path: Path) -> None:
    nothing = [float("nan")]
    rewrite(path, lambda rows: [row | {"logprobs": nothing * len(row["logprobs"])} for row in rows])


@pytest.mark.parametrize(
    ("harm", "says"),
    [(cut, "Parquet"), (without_a_column, "top_tokens"), (too_few, "damaged"), (no_number, "damaged")],
)
def test_damaged_log_probabilities_are_named_in_one_line(train, own, tmp_path, harm, says):
    harm(own.logprobs("llm"))
    code, lines = train("out", cohort=own.root)
    lines = [line for line in lines if line.startswith("error: ")]
    assert (code, len(lines)) == (2, 1)
    assert "llm.logprobs.parquet" in lines[0]
    assert says in lines[0]
    assert not (tmp_path / "out").exists()


def test_rationales_that_were_edited_since_have_no_soft_targets(train, trained, taught, own, tmp_path):
    whole, edited = dataset(trained, taught), {"text": "Lab test shows another story."}
    victim = int(whole.stay_ids[0])
    rewrite(own.rationales("llm"), lambda rows: [row | edited if row["stay_id"] == victim else row for row in rows])
    part = dataset(trained, own.root)
    assert part.alignment.spelt == whole.alignment.spelt - 2
    assert [len(data[0].soft.places) > 0 for data in (whole, part)] == [True, False]
    assert part[1].soft.places.tolist() == whole[1].soft.places.tolist()
    rewrite(own.rationales("llm"), lambda rows: [row | edited for row in rows])
    code, lines = train("out", cohort=own.root)
    lines = [line for line in lines if line.startswith("error: ")]
    assert (code, len(lines)) == (2, 1)
    assert "no token of the targets of stage 'notes' has log-probabilities" in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("order", ["rationales_first", "diagnoses_first"])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("room", [1000, 60])
def test_places_stand_in_the_rationales_of_any_target(trained, taught, order, separate, room):
    trained.model.config.target_order = order
    data = dataset(trained, taught, max_target_tokens=room, separate=separate)
    assert (data.cuts.targets > 0) == (room == 60)
    counted = 0
    for epoch in range(1 + separate):
        data.begin(epoch)
        for stay in (data[row] for row in range(len(data))):
            heads = {name: " ".join(map(str, ids)) for name, ids in data.targets.markers.items()}
            for place, ids, probs in zip(*stay.soft, strict=True):
                before = " ".join(map(str, stay.target_ids[:place]))
                last = max(heads, key=lambda name: before.rfind(heads[name]))
                assert heads[last] in before
                assert last != "diagnoses"
                assert probs[ids == stay.target_ids[place]].sum() > 0.05
            counted += len(stay.soft.places)
    assert counted == data.alignment.aligned > 0


def test_several_rationales_of_a_stay_have_soft_targets_of_their_own(trained, taught, own):
    one, other = dataset(trained, taught).stay_ids[:2].tolist()
    for path in (own.rationales("llm"), own.logprobs("llm")):
        rewrite(
            path,
            lambda rows: (
                rows + [row | {"stay_id": one} for row in rows if (row["stay_id"], row["kind"]) == (other, "series")]
            ),
        )
    data, seen = dataset(trained, own.root), []
    for epoch in (0, 1):
        data.begin(epoch)
        seen.append(data[0])
    assert seen[0].target_ids != seen[1].target_ids
    for stay in seen:
        series = [place for place in stay.soft.places if place > len(stay.target_ids) // 2]
        assert series
        assert all((ids == stay.target_ids[place]).any() for place, ids in zip(*stay.soft[:2], strict=True))
