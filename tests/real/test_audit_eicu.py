"""The default protocol has no leak on the eICU demo; the admission diagnosis names labels, as the audit reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimic_prep.cli import main

pytestmark = pytest.mark.real


@pytest.fixture
def audited(shared, tmp_path: Path):
    """Prepare the demo with settings, audit it with options: the exit code and the checks."""

    def run(settings: list[str], *options: str) -> tuple[int, dict]:
        cohort = tmp_path / "cohort"
        given = [word for setting in settings for word in ("--set", setting)]
        assert main(["eicu", "--raw", str(shared("eicu-demo")), "--out", str(cohort), "--overwrite", *given]) == 0
        code = main(["audit", str(cohort), *options])
        return code, json.loads((cohort / "audit" / "audit.json").read_text())["checks"]

    return run


def test_with_default_settings_nothing_leaks(audited) -> None:
    code, checks = audited([])
    assert code == 0
    assert {check["status"] for check in checks.values()} <= {"pass", "note"}


def test_the_admission_diagnosis_is_flagged_unless_it_is_meant_so(audited) -> None:
    code, checks = audited(["notes.also=[admission_diagnosis]"])
    assert code == 1
    assert [key for key, check in checks.items() if check["status"] == "leak"] == ["named"]
    told = [row for row in checks["named"]["rows"] if row["flagged"]]
    assert {row["section"] for row in told} == {"admission_diagnosis"}
    assert "septicemia" in {row["phenotype"] for row in told}
    code, checks = audited(["notes.also=[admission_diagnosis]"], "--allow", "admission_diagnosis")
    assert code == 0
    assert checks["named"]["status"] == "note"
