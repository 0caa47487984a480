"""Manifests are read by keys that are checked, and written again without loss."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from clinragen.errors import UserError
from clinragen.manifests import GraphManifest, PredictionsManifest, RunManifest, StageManifest
from clinragen.shape import Count, Share, differs, of

ENCODER = {
    "run_version": 1,
    "clinragen": "0.1.0",
    "stage": "pretrain",
    "cohort": "outputs/cohort",
    "cohort_sha256": "ab",
    "identity": "cd",
    "model_sha256": "ef",
    "stays": {"train": 9, "validation": 3},
    "best": {"epoch": 2, "loss": 0.25},
    "seconds": 1.5,
}
RUN = {**ENCODER, "stage": "notes", "inputs": ["note"], "targets": ["note", "diagnoses"]}


@pytest.fixture
def stored(tmp_path):
    """Writes a manifest as JSON and gives its path."""

    def write(values: dict[str, Any]):
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(values))
        return path

    return write


def test_what_is_read_is_written_again_without_loss(stored):
    """Entries of a later release stay, and those that an earlier one did not write are not made up."""
    values = {**RUN, "kind": "run", "of_a_later_release": [1, 2]}
    manifest = RunManifest.read(stored(values))
    assert (manifest.stage, manifest.inputs, manifest.best) == ("notes", ["note"], {"epoch": 2, "loss": 0.25})
    assert manifest.task is None
    assert manifest.to_json() == values
    changed = replace(manifest, cohort=None, exported_by="0.2.0")
    assert changed.to_json() == {**values, "cohort": None, "exported_by": "0.2.0"}


def test_a_new_manifest_says_its_version_and_every_entry_but_those_that_seldom_are():
    manifest = StageManifest(**{key: value for key, value in ENCODER.items() if key != "run_version"})
    assert manifest.to_json() == ENCODER
    graph = GraphManifest(sources={}, citations={}, nodes=3, edges=2)
    assert graph.to_json() == {"graph_version": 1, "sources": {}, "citations": {}, "nodes": 3, "edges": 2}


def test_a_manifest_is_still_read_by_its_keys(stored):
    assert RunManifest.read(stored(RUN))["inputs"] == ["note"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_sha256": None}, "model_sha256: expected a text, found nothing"),
        ({"inputs": ["notes"]}, r"inputs\[0\]: expected one of note, series, found a text"),
        ({"inputs": []}, "inputs: expected at least one"),
        ({"stays": {"train": "many"}}, r"stays\.train: expected a whole number, found a text"),
        ({"run_version": 99}, "install the clinragen that wrote it"),
    ],
)
def test_a_damaged_entry_is_named_with_its_file(stored, change, message):
    path = stored({**RUN, **change})
    with pytest.raises(UserError, match=message) as caught:
        RunManifest.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_entry_is_named(stored):
    with pytest.raises(UserError, match=r"manifest\.json: targets: is missing: train it anew"):
        RunManifest.read(stored({key: value for key, value in RUN.items() if key != "targets"}))


def test_predictions_of_the_release_before_are_read_under_todays_names(stored):
    text = dict.fromkeys(("model", "model_hash", "cohort", "cohort_hash", "split"), "x")
    values = {**text, "labels": ["shock"], "thresholds": {"shock": 0.5}, "series_input": "shuffled"}
    assert PredictionsManifest.read(stored(values)).series_input == "permuted"


class Row(TypedDict):
    """An entry of a file."""

    name: Literal["a", "b"]
    count: Count
    score: float | None
    share: NotRequired[Share]


@dataclass
class Table:
    """A file."""

    rows: list[Row]
    by_name: dict[str, bool]
    remark: str | None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"rows": [], "by_name": {}}, None),
        ({"rows": [{"name": "a", "count": 0, "score": None}], "by_name": {"a": True}, "remark": None}, None),
        ({"rows": [{"name": "c", "count": 0, "score": 1}], "by_name": {}}, "rows[0].name: expected one of a, b, found"),
        ({"rows": [{"name": "a", "count": -1, "score": 1}], "by_name": {}}, "rows[0].count: expected a count, found"),
        ({"rows": [{"name": "a", "count": 1}], "by_name": {}}, "rows[0].score: is missing"),
        ({"rows": [{"name": "a", "count": 1, "score": ""}], "by_name": {}}, "score: expected a number or null, found"),
        ({"rows": [{"name": "a", "count": 1, "score": 1, "share": 2}], "by_name": {}}, "share: expected a number from"),
        ({"rows": [], "by_name": {"a": 1}}, "by_name.a: expected true or false, found 1"),
        ({"rows": [], "by_name": {}, "remark": 5}, "remark: expected a text, found 5"),
        ({"rows": {}, "by_name": {}}, "rows: expected a list, found an empty mapping"),
    ],
)
def test_a_type_says_what_a_json_value_must_look_like(value, told):
    found = differs(value, of(Table))
    assert (told is None) == (found is None)
    assert (told or "") in (found or "")


def test_a_type_that_no_json_value_is_of_is_refused():
    with pytest.raises(TypeError, match="bytes"):
        of(bytes)
