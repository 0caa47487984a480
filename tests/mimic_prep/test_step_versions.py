"""A step whose output changes has a new version, so that no finished step or cohort of before is taken for its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mimic_prep import prepare as preparation
from mimic_prep import steps
from tests.mimic_prep import step_outputs
from tests.mimic_prep.step_outputs import RECORDED, outputs


def complaints(now: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """What is to be done about steps that differ from the record, one line each."""
    said = []
    for name in sorted(now | recorded):
        if now.get(name) == recorded.get(name):
            continue
        if name in now and name in recorded and now[name]["versions"] == recorded[name]["versions"]:
            where = (
                "Reader.version of its reader"
                if name.startswith("reader")
                else f"VERSIONS['{name}'] of mimic_prep.steps"
            )
            said.append(f"the output of '{name}' changed and its version did not: raise {where}, then")
        said.append(f"{name}: type `python -m tests.mimic_prep.step_outputs` and commit {RECORDED.name}")
    return said


def test_no_output_changes_without_its_version() -> None:
    assert complaints(outputs(), json.loads(RECORDED.read_text())) == []


def test_a_change_without_a_version_is_named() -> None:
    recorded = json.loads(RECORDED.read_text())
    changed = recorded | {"series": recorded["series"] | {"sha256": "0"}}
    assert complaints(changed, recorded)[0].startswith("the output of 'series' changed and its version did not: raise")
    raised = {"versions": recorded["series"]["versions"] | {"series": 2}, "sha256": "0"}
    [line] = complaints(recorded | {"series": raised}, recorded)
    assert line.startswith("series: type `python -m tests.mimic_prep.step_outputs`")


@pytest.mark.parametrize("step", ["events", "series", "texts", "labels", "outcomes"])
def test_a_raised_version_prepares_anew_what_depends_on_it_and_no_more(step, tmp_path: Path, monkeypatch) -> None:
    raw = step_outputs.hospital().write(tmp_path / "raw")

    def run() -> list[str]:
        said: list[str] = []
        monkeypatch.setattr("mimic_prep.pipeline.prepare", _hearing(said, real))
        preparation.prepare(raw, tmp_path / "cohort", source="mimic-iv", workers=1, overwrite=True)
        return [line.split(":")[0] for line in said if "taken as it is" in line]

    from mimic_prep import pipeline

    real = pipeline.prepare
    run()
    kept = ["events-chartevents", "events-labevents", "events-outputevents", "series", "orders", "texts"]
    monkeypatch.setitem(steps.VERSIONS, step, 2)
    anew = {"events": kept[:4], "series": ["series"], "texts": ["texts"], "labels": ["texts"], "outcomes": []}
    assert run() == [name for name in kept if name not in anew[step]]


def _hearing(said: list[str], prepare: Any) -> Any:
    def run(*args: Any, **options: Any) -> Any:
        return prepare(*args, **options | {"tell": said.append})

    return run


def test_a_comment_in_the_catalogue_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    from clinragen.config import CONFIG_ROOT

    concepts = tmp_path / "concepts"
    concepts.mkdir()
    for path in (CONFIG_ROOT / "concepts").iterdir():
        (concepts / path.name).write_bytes(path.read_bytes())
    before = steps.catalogue_hash()
    monkeypatch.setattr(steps, "CONFIG_ROOT", tmp_path)
    catalogue = concepts / "variables.yaml"
    try:
        steps.catalogue_hash.cache_clear()
        catalogue.write_text("# a remark\n" + catalogue.read_text())
        assert steps.catalogue_hash() == before
        steps.catalogue_hash.cache_clear()
        catalogue.write_text(catalogue.read_text().replace("plausible: [", "plausible: [0.001, ", 1))
        assert steps.catalogue_hash() != before
    finally:
        steps.catalogue_hash.cache_clear()
