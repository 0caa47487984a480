"""Every format follows one rule: today's and readable older files are read, others refused with the way out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from clinragen.artifacts import write_json, write_table
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.schema import RATIONALES as RATIONALE_COLUMNS
from clinragen.schema import STAYS, CohortPaths
from clinragen.teacher.journal import Journal
from clinragen.versions import COHORT, FORMATS, GRAPH, RATIONALES, Format

WHERE = Path("folder/manifest.json")
ALL = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


@ALL
def test_what_is_written_today_is_read(form: Format) -> None:
    assert form.check(form.mark, WHERE) == form.version


@ALL
def test_older_ones_are_read_as_far_back_as_it_says(form: Format) -> None:
    later = replace(form, version=form.version + 2, oldest=form.version)
    assert later.check(form.mark, WHERE) == form.version


@ALL
def test_newer_and_older_ones_are_refused_with_the_way_out(form: Format) -> None:
    for version, says in ((form.version + 1, "install the clinragen that wrote it"), (form.oldest, "no longer read")):
        reader = replace(form, oldest=form.version + 1, version=form.version + 1) if says == "no longer read" else form
        with pytest.raises(UserError, match=says) as error:
            reader.check({form.key: version}, WHERE)
        assert str(WHERE) in str(error.value)
        assert form.anew in str(error.value)


@ALL
@pytest.mark.parametrize("version", ["1", 1.0, True, 0, -1, [1]])
def test_what_is_no_version_is_none(form: Format, version: object) -> None:
    with pytest.raises(UserError, match=re.escape(form.key)):
        form.check({form.key: version}, WHERE)


def test_files_without_a_version_are_of_the_first_where_none_was_written() -> None:
    assert RATIONALES.check({}, WHERE) == 1
    with pytest.raises(UserError, match="graph_version is None, expected version 1 of a concept graph: build it anew"):
        GRAPH.check({}, WHERE)


def test_the_documentation_lists_them() -> None:
    page = (Path(__file__).parents[1] / "docs" / "versions.md").read_text(encoding="utf-8")
    for form in FORMATS:
        assert re.search(rf"`{form.key}` \| {form.version} \| {form.oldest} \|", page), form.name


def test_a_journal_of_a_newer_clinragen_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    record = {"key": "ab" * 32, "stay_id": 1, "kind": "note", "model": "m", "text": "t", "finish_reason": "stop"}
    path = tmp_path / "teacher.journal.jsonl"
    path.write_text(json.dumps(record | {"usage": {}}) + "\n")
    assert len(Journal(path)) == 1  # says no version, and is of the first
    newer = json.dumps(record | {"usage": {}, "journal_version": 2}) + "\n"
    path.write_text(newer)
    for writable in (False, True):
        with pytest.raises(UserError, match="journal of version 2") as error:
            Journal(path, writable=writable)
        assert str(path) in str(error.value)
    assert path.read_text() == newer


def test_rationales_of_a_newer_clinragen_are_refused(tmp_path: Path) -> None:
    time = datetime(2150, 1, 1)
    stay = dict.fromkeys(("stay_id", "subject_id", "hadm_id", "age"), 1) | {"sex": "F", "split": "train"}
    stays = stay | dict.fromkeys(("intime", "outtime", "prediction_time"), time)
    paths = CohortPaths(tmp_path)
    write_table(paths.stays, pa.Table.from_pylist([stays], schema=STAYS))
    write_table(paths.rationales("evidence"), RATIONALE_COLUMNS.empty_table())
    write_json(paths.manifest, COHORT.mark)
    cohort = Cohort.load(tmp_path)
    described = paths.rationale_manifest("evidence")
    for manifest in ({}, RATIONALES.mark):
        write_json(described, manifest)
        assert cohort.rationales("evidence").height == 0
    write_json(described, {"rationales_version": 2})
    with pytest.raises(UserError, match="rationale set of version 2"):
        cohort.rationales("evidence")


@pytest.mark.parametrize("form", [form for form in FORMATS if form.kinds], ids=lambda form: form.name)
def test_a_folder_of_another_kind_is_called_what_it_is(form: Format) -> None:
    """A cohort given as an index is no damaged index: the message must not send its user to build it anew."""
    manifest = {"kind": "rating pack", **form.mark}
    with pytest.raises(UserError, match=f"expected a {form.name}.*rating pack") as told:
        form.check(manifest, WHERE)
    assert form.anew not in str(told.value)
    assert form.check(manifest | {"kind": form.kinds[0]}, WHERE) == form.version
