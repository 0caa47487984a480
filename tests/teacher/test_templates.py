"""A user's own templates: any error in them gives one line, and nothing escapes the sandbox."""

import os
import time

import pytest

from clinragen.errors import UserError
from clinragen.teacher.prompts import SHIPPED, Prompts
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.stays import StayRecord

STAY = StayRecord(
    7, ["shock"], [("history_of_present_illness", "72F with Zebra-like oliguria.")], {"lactate": [(1.0, 5.1)]}
)
HARMLESS = "Write about {{ diagnoses | join(', ') }}.\n"

#: template -> (the line that is at fault, a word of the error)
BROKEN = {
    "{{ no_such_name }}": (1, "no_such_name"),
    "fine\n{{ no_such_name }}": (2, "no_such_name"),
    "fine\n\n{{ sections[0].nothing.more }}": (3, "nothing"),
    "{{ sections[99][0] }}": (1, "no element 99"),
    "{% for x in sections %}\n{{ x }": (2, "expected"),
    "{% for x in sections %}": (1, "endfor"),
    "{% nosuchtag %}": (1, "nosuchtag"),
    "{{ 'a' | nosuchfilter }}": (1, "nosuchfilter"),
    "{{ ''.__class__.__mro__ }}": (1, "unsafe"),
    "{{ sections.__class__ }}": (1, "unsafe"),
    "\n{{ cycler.__init__.__globals__.os.popen('id').read() }}": (2, "unsafe"),
    "{{ self.__init__.__globals__ }}": (1, "unsafe"),
    "{{ ''.format.__globals__ }}": (1, "format"),
    "{{ '{0.__class__}'.format(1) }}": (1, "format"),
    "{{ sections.append(1) }}": (1, "append"),
    "{{ {}.update(a=1) }}": (1, "update"),
    "{{ lipsum(10 ** 9) }}": (1, "lipsum"),
    "{{ 1 / 0 }}": (1, "division"),
    "{{ 'a' + 1 }}": (1, ""),
    "{{ fence() }}": (1, "callable"),
    "{% include 'nothing.j2' %}": (1, "nothing.j2"),
    "{% include '../../etc/passwd' %}": (1, "etc/passwd"),
    "{% extends 'nothing.j2' %}": (1, "nothing.j2"),
    "{% import '_macros.j2' as parts %}\n{{ parts.nothing(1) }}": (2, "nothing"),
    "{{ 'a' | center(10 ** 9) }}": (1, "center"),
    "{{ 5 | random }}": (1, "random"),
}

#: Without end, or larger than memory.
BOMBS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% for a in range(10 ** 9) %}{% endfor %}",
    "{% for a in 'x' * 90000 %}{% for b in 'x' * 90000 %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}\n{{ m() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(200) }}",
    "{% macro m(x, n) %}{% if n %}{{ m(x ~ x, n - 1) }}{% endif %}{% endmacro %}{{ m('xx', 60) }}",
    "{% macro m(x, n) %}{% set y %}{{ x }}{{ x }}{% endset %}{% if n %}{{ m(y, n - 1) }}{% endif %}{% endmacro %}"
    "{{ m('x', 60) }}",
    "{% set ns = namespace(x='xx') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{{ 'x' * 10 ** 10 }}",
    "{{ [1] * 10 ** 10 }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ (10 ** 4000) * (10 ** 4000) * 10 ** 4000 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'x'.ljust(10 ** 10) }}",
    "{{ 'x'.zfill(10 ** 10) }}",
    "{{ '\\t'.expandtabs(10 ** 10) }}",
    "{{ (3).to_bytes(10 ** 10) }}",
    "{{ ('x' * 90000) | replace('x', 'y' * 90000) }}",
    "{{ range(90000) | join('y' * 90000) }}",
    "{{ 3.14159 | round(10 ** 9, 'ceil') }}",
    "{{ [1] | batch(10 ** 10, 'x') | list }}",
    "{{ [1] | slice(10 ** 10) | list }}",
    "{% include 'note.j2' %}",
    "{% include 'note.j2' %}{% include 'note.j2' %}",
    "{% extends 'note.j2' %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "-" * 20000 + "1 }}",
    "x" * 1_500_000,
)  # fmt: skip


def prompts(folder, graph, **changes):
    return Prompts(TeacherSettings(prompts=str(folder), **changes), graph)


def refused(folder, graph) -> str:
    with pytest.raises(UserError) as raised:
        prompts(folder, graph)
    told = str(raised.value)
    assert told.isprintable()
    assert len(told) < 500
    assert str(folder) in told
    return told


@pytest.mark.parametrize("template", BROKEN)
def test_a_broken_template_is_named_with_its_line_before_the_run(template, graph, tmp_path):
    line, word = BROKEN[template]
    (tmp_path / "note.j2").write_text(template)
    told = refused(tmp_path, graph)
    assert f"note.j2, line {line}:" in told
    assert word in told


@pytest.mark.parametrize("template", BOMBS)
def test_a_template_without_bounds_is_stopped(template, graph, tmp_path):
    (tmp_path / "note.j2").write_text(template)
    begun = time.perf_counter()
    assert "note.j2" in refused(tmp_path, graph)
    assert time.perf_counter() - begun < 20


@pytest.mark.parametrize("name", ["system.j2", "note.j2", "series.j2", "retry.j2", "_macros.j2"])
def test_every_template_is_tried(name, graph, tmp_path):
    (tmp_path / name).write_text("fine\n{% if")
    assert f"{name}, line 2:" in refused(tmp_path, graph)


def test_other_files_in_their_place_are_named(graph, tmp_path):
    for name, make in (
        ("folder", lambda path: path.mkdir()),
        ("pipe", os.mkfifo),
        ("bytes", lambda path: path.write_bytes(b"fine \xff\xfe")),
        ("dangling", lambda path: path.symlink_to("nowhere")),
    ):
        folder = tmp_path / name
        folder.mkdir()
        make(folder / "note.j2")
        assert "note.j2" in refused(folder, graph)


def test_an_error_that_only_a_patient_brings_out_shows_nothing_of_the_patient(graph, tmp_path):
    (tmp_path / "note.j2").write_text(
        "fine\n{% if 'Zebra' in sections[0][1] %}{{ {}[sections[0][1]].x }}{{ sections[0][1] + 1 }}{% endif %}"
    )
    ready = prompts(tmp_path, graph)
    with pytest.raises(UserError, match=r"note\.j2, line 2: ") as raised:
        ready.messages(STAY, "note", structured=False)
    assert "Zebra" not in str(raised.value)


def test_what_templates_are_for_still_works(graph, tmp_path):
    (tmp_path / "note.j2").write_text(
        """{% import "_macros.j2" as parts %}
{%- for name, text in sections -%}
{{ loop.index }} {{ name | title }}: {{ text | lower | replace("oliguria", "anuria") | truncate(200) }}
{% endfor -%}
{%- set count = sections | length -%}
{{ count * 2 + 1 }} {{ "%" }} {{ "a" ~ "b" }} {{ names | default("none") }} {{ series_lines | map("upper") | first }}
{{ name.split(" ")[0] if name is defined else "-" }}
{{ (diagnoses | sort | join("; ")).upper() }} {{ 2.345 | round(1) }}
{{ parts.form(mode, structured, labels, opening) }}"""
    )
    text = prompts(tmp_path, graph).messages(STAY, "note", structured=False)[1]["content"]
    assert text.startswith("1 History Of Present Illness: 72f with zebra-like anuria.\n3 % ab none ")
    assert "-\nSHOCK 2.3" in text
    assert 'Begin with "Based on the medical notes"' in text


def test_templates_under_their_earlier_names_still_count(graph, tmp_path, capsys):
    (tmp_path / "again.j2").write_text("Mind {{ wrong | join(', ') }}.")
    (tmp_path / "parts.j2").write_text(
        (SHIPPED / "_macros.j2").read_text().replace("BEGIN PATIENT DATA", "BEGIN CHART")
    )
    (tmp_path / "series.j2").write_text(
        """{% import "parts.j2" as parts %}
{{ parts.data(fence, sections, captions, note_rationale) }}{{ captions | length }} lines"""
    )
    ready = prompts(tmp_path, graph)
    asked = ready.messages(STAY, "note", structured=False)
    assert "BEGIN CHART" in asked[1]["content"]
    assert ready.retry(asked, "text", ["fever"])[-1]["content"] == "Mind fever."
    series = ready.messages(STAY, "series", structured=False)[1]["content"]
    assert "BEGIN CHART" in series
    assert "1 lines" in series
    told = capsys.readouterr().err
    assert f"note: prompt template {tmp_path / 'again.j2'} is now called retry.j2" in told
    assert f"note: prompt template {tmp_path / 'parts.j2'} is now called _macros.j2" in told


def test_a_template_under_its_present_name_goes_before_the_earlier_one(graph, tmp_path):
    (tmp_path / "again.j2").write_text("Old.")
    (tmp_path / "retry.j2").write_text("New.")
    ready = prompts(tmp_path, graph)
    assert ready.retry([], "text", ["fever"])[-1]["content"] == "New."


def test_the_earlier_key_for_the_number_of_lines_still_counts(graph, capsys):
    settings = TeacherSettings(captions=3)
    settings.check()
    assert settings.series_lines == 3
    assert "the key captions is now series_lines" in capsys.readouterr().err
