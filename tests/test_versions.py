"""Every format follows one rule: today's and readable older files are read, others refused with the way out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from clinragen.errors import UserError
from clinragen.versions import FORMATS, GRAPH, RATIONALES, Format

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
