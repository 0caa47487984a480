"""A killed preparation resumes; a repeated one does nothing; a changed one repeats only what depends on the change."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clinragen.errors import UserError
from mimic_prep import protocol
from mimic_prep.cache import cache_of
from mimic_prep.ingest import RawTables
from mimic_prep.mimic import MimicReader
from mimic_prep.pipeline import prepare
from mimic_prep.releases.mimic_iv.tables import MIMIC4

_KILLED = """
import os, signal, sys, threading
from mimic_prep import mimic, pipeline
from mimic_prep.cli import main
threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGKILL)).start()
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def run(tmp_path):
    """Prepare ``tmp_path/raw`` as ``tmp_path/cohort``: what was told on the way."""

    def prepared(overwrite: bool = False, **settings) -> list[str]:
        told: list[str] = []
        chosen = protocol.load("admission", [f"{key.replace('__', '.')}={value}" for key, value in settings.items()])
        raw = RawTables(tmp_path / "raw", "MIMIC-IV", 1)
        prepare(MimicReader(MIMIC4), raw, tmp_path / "cohort", chosen, overwrite=overwrite, tell=told.append)
        return [line.removeprefix(str(tmp_path)) for line in told]

    return prepared


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _stages(told: list[str]) -> set[str]:
    return {line.split(":")[0] for line in told}


_ALL = {"events-chartevents", "events-labevents", "events-outputevents", "series", "texts", "orders"}


def test_the_same_again_does_nothing(hospital, run, tmp_path):
    raw = hospital.write(tmp_path / "raw")
    assert run() == []
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cohort").iterdir()}
    for path in raw.rglob("*.gz"):
        os.utime(path, (1, 1))  # content counts, not time
    assert run() == ["/cohort: same tables, settings and steps as before; nothing to do"]
    assert run(overwrite=True) == ["/cohort: same tables, settings and steps as before; nothing to do"]
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cohort").iterdir()} == before


def test_a_changed_one_is_not_overwritten_unasked(hospital, run, tmp_path):
    hospital.write(tmp_path / "raw")
    run()
    with pytest.raises(UserError, match="made from other tables or settings, or by an older version"):
        run(splits__salt="other")


@pytest.mark.parametrize(
    ("settings", "reused"),
    [
        ({"splits__salt": "other"}, _ALL),
        ({"notes__digest": "always"}, _ALL - {"texts"}),
        ({"rules__drop_warnings": True}, {"texts", "orders"}),
        ({"window__hours": 24}, {"orders"}),
    ],
)
def test_a_changed_setting_redoes_what_depends_on_it(hospital, run, tmp_path, settings, reused):
    hospital.write(tmp_path / "raw")
    run()
    assert _stages(run(overwrite=True, **settings)) == reused
    resumed = _bytes(tmp_path / "cohort")
    for folder in (tmp_path / ".cohort.work", tmp_path / "cohort"):
        folder.rename(tmp_path / f"old{folder.name}")
    run(**settings)
    assert _bytes(tmp_path / "cohort") == resumed


@pytest.mark.parametrize(
    ("change", "reused"),
    [
        (lambda rows: rows.lab(1, "2151-03-01 09:30:00", 50912, 9.9, "mg/dL"), _ALL - {"events-labevents", "series"}),
        (lambda rows: rows.chart(100, "2151-03-01 09:30:00", 220045, 99), _ALL - {"events-chartevents", "series"}),
        (lambda rows: rows.radiology(1, "2151-03-01 09:00:00", "2151-03-01 09:01:00", "Clear."), _ALL - {"texts"}),
    ],
)
def test_a_changed_table_redoes_what_depends_on_it(hospital, run, tmp_path, change, reused):
    hospital.write(tmp_path / "raw")
    run()
    change(hospital)
    hospital.write(tmp_path / "raw")
    assert _stages(run(overwrite=True)) == reused


def test_a_damaged_cohort_is_made_again(hospital, run, tmp_path):
    hospital.write(tmp_path / "raw")
    run()
    whole = _bytes(tmp_path / "cohort")
    (tmp_path / "cohort" / "series.parquet").write_bytes(b"damaged")
    assert _stages(run(overwrite=True)) == _ALL
    assert _bytes(tmp_path / "cohort") == whole


def test_steps_of_earlier_settings_do_not_pile_up(hospital, run, tmp_path):
    hospital.write(tmp_path / "raw")
    run()
    run(overwrite=True, window__hours=24)
    assert len(list((tmp_path / ".cohort.work").iterdir())) == len(_ALL) + 1  # and the lock


def test_one_at_a_time(hospital, run, tmp_path):
    hospital.write(tmp_path / "raw")
    with (
        cache_of(tmp_path / "cohort", print),
        pytest.raises(UserError, match="being prepared by another process"),
    ):
        run()


def test_killed_while_the_old_cohort_was_replaced(hospital, run, tmp_path):
    hospital.write(tmp_path / "raw")
    run()
    whole = _bytes(tmp_path / "cohort")
    (tmp_path / "cohort").rename(tmp_path / ".cohort.0123.old")
    (tmp_path / ".cohort.4567.tmp").mkdir()
    run(overwrite=True)
    assert _bytes(tmp_path / "cohort") == whole
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "cohort", ".cohort.work"}


def test_killed_at_random_moments_and_resumed(tmp_path):
    from mimic_prep.synthetic.write import synthesize

    raw = tmp_path / "raw"
    synthesize(12, 0, raw, workers=1)
    prepare(MimicReader(MIMIC4), RawTables(raw, "MIMIC-IV", 1), tmp_path / "whole", protocol.load("admission"))
    rng = random.Random(3)
    command = ["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort")]
    killed = 0
    for _ in range(8):
        child = subprocess.run(
            [sys.executable, "-c", _KILLED, str(rng.uniform(0.02, 1)), *command], capture_output=True
        )
        killed += child.returncode == -signal.SIGKILL
        assert child.returncode in (0, -signal.SIGKILL)
    last = subprocess.run([sys.executable, "-m", "mimic_prep.cli", *command], capture_output=True)
    assert last.returncode == 0
    assert killed
    assert _bytes(tmp_path / "cohort") == _bytes(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "cohort", ".cohort.work", "whole", ".whole.work"}
