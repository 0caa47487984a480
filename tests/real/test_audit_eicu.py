"""The admission diagnosis of eICU names labels outright: the audit says so, and nothing else of the demo leaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimic_prep.cli import main

pytestmark = pytest.mark.real


def test_the_admission_diagnosis_is_flagged(shared, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    assert main(["eicu", "--raw", str(shared("eicu-demo")), "--out", str(cohort)]) == 0
    assert main(["audit", str(cohort)]) == 1
    checks = json.loads((cohort / "audit" / "audit.json").read_text())["checks"]
    assert [key for key, check in checks.items() if check["status"] == "leak"] == ["named"]
    told = [row for row in checks["named"]["rows"] if row["flagged"]]
    assert {row["section"] for row in told} == {"admission_diagnosis"}
    assert "septicemia" in {row["phenotype"] for row in told}
