"""The files of a FHIR export: forms, versions, deletions, faults. Names, order and repetition change nothing."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clinragen.errors import UserError
from mimic_prep.cli import main
from mimic_prep.release_check import check_release
from mimic_prep.releases.fhir.clock import Clock
from mimic_prep.releases.fhir.files import Block
from mimic_prep.releases.fhir.numbers import NumberReader
from mimic_prep.releases.fhir.observations import ROWS, ObservationReader
from mimic_prep.releases.fhir.vocabulary import Vocabulary, load_mapping
from tests.mimic_prep.fhir_export import OF_FIRST, Outcome, Resource, at, base, concept, encoded, observation, write

USUAL = [1.1, 70.0, 71.0, 72.0, 73.0, 90.0]


def _lines(resources: list[Resource]) -> list[str]:
    return [json.dumps(one) for one in resources]


def _of(tmp_path: Path, **files: str | bytes) -> Outcome:
    raw = tmp_path / "raw"
    raw.mkdir(exist_ok=True)
    for name, content in files.items():
        path = raw / name.replace("__", ".")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Outcome(raw, tmp_path / "work")


def bundle(resources: list[Resource], **more: object) -> Resource:
    entries = [{"fullUrl": f"https://x.org/{one['resourceType']}/{one['id']}", "resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries, **more}


FORMS: dict[str, Callable[[list[Resource]], dict[str, str | bytes]]] = {
    "carriage returns": lambda all_: {"a__ndjson": "\r\n".join(_lines(all_))},
    "blank lines": lambda all_: {"a__ndjson": "\n\n".join(_lines(all_)) + "\n \n"},
    "byte order mark": lambda all_: {"a__ndjson": "\ufeff" + "\n".join(_lines(all_))},
    "gzip": lambda all_: {"a__ndjson__gz": gzip.compress("\n".join(_lines(all_)).encode())},
    "gzip without the suffix": lambda all_: {"a__ndjson": gzip.compress("\n".join(_lines(all_)).encode())},
    "a file for each resource": lambda all_: {f"r{n}__json": json.dumps(one, indent=2) for n, one in enumerate(all_)},
    "a bundle": lambda all_: {"b__json": json.dumps(bundle(all_), indent=1)},
    "a bundle in one line": lambda all_: {"b__json": json.dumps(bundle(all_))},
    "lines of bundles": lambda all_: {"b__ndjson": "\n".join(json.dumps(bundle([one])) for one in all_)},
    "bundle within a bundle": lambda all_: {"b__json": json.dumps(bundle([{**bundle(all_), "id": "inner"}]))},
    "a list": lambda all_: {"l__json": json.dumps(all_)},
    "pages of a search": lambda all_: {f"p{n}__json": json.dumps(bundle(all_[n::3])) for n in range(3)},
    "mixed forms": lambda all_: {"a__ndjson": "\n".join(_lines(all_[:5])), "b__json": json.dumps(bundle(all_[5:]))},
    "with its manifest": lambda all_: {
        "export__json": json.dumps({"transactionTime": at(0), "output": []}), "a__ndjson": "\n".join(_lines(all_)),
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_export_is_read(form, tmp_path):
    made = _of(tmp_path, **FORMS[form](base()))
    assert made.values() == USUAL
    assert made.table("icu/icustays").height == 2
    assert not made.bad


def test_several_resources_of_a_line_are_told_apart(tmp_path):
    seen = {"meta": {"lastUpdated": "2030-01-01T00:00:00Z"}}
    newer = {"meta": {"lastUpdated": "2030-01-02T00:00:00Z"}}
    lines = [
        bundle([*base(), observation(8, value=61, **seen), observation(9, value=62, **seen)]),
        bundle([observation(10, code="x"), observation(9, value=63, **newer), observation(11, value=64)]),
    ]
    made = _of(tmp_path, b__ndjson="\n".join(map(json.dumps, lines)))
    assert made.values() == sorted([*USUAL, 61, 63, 64])
    assert made.skipped == {"older version of a resource": 1, "code that no variable has": 1}


def test_bundles_may_refer_by_full_url(tmp_path):
    resources = json.loads(
        json.dumps(base()).replace("Patient/p1", "urn:uuid:0AB").replace("Encounter/icu1", "urn:uuid:1")
    )
    content = bundle(resources)
    for entry in content["entry"]:
        entry["fullUrl"] = {"p1": "urn:uuid:0ab", "icu1": "urn:uuid:1"}.get(entry["resource"]["id"], entry["fullUrl"])
    made = _of(tmp_path, b__json=json.dumps(content))
    assert made.values() == USUAL
    assert not made.bad


VERSIONS = {
    "newest wins": (["2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"], 2.0),
    "newest wins in any order": (["2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"], 1.0),
    "instants, not text": (["2030-01-02T00:00:00+05:00", "2030-01-01T20:00:00Z"], 2.0),
    "dated before undated": (["2030-01-02T00:00:00Z", None], 1.0),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_the_newest_version_counts(case, tmp_path):
    stamps, value = VERSIONS[case]
    added = [
        observation(9, value=20.0 + number, **({"meta": {"lastUpdated": stamp}} if stamp else {}))
        for number, stamp in enumerate(stamps, 1)
    ]
    made = Outcome(write(tmp_path / "raw", [*base(), *added]), tmp_path / "work")
    assert made.values() == sorted([*USUAL, 20.0 + value])
    assert made.skipped["older version of a resource"] == 1


def test_a_correction_that_withdraws_a_value_withdraws_it(tmp_path):
    first = observation(9, value=99, meta={"lastUpdated": "2030-01-01T00:00:00Z"})
    second = {**first, "status": "entered-in-error", "meta": {"lastUpdated": "2030-01-02T00:00:00Z"}}
    made = Outcome(write(tmp_path / "raw", [*base(), first, second]), tmp_path / "work")
    assert made.values() == USUAL
    assert made.skipped == {"older version of a resource": 1, "entered in error": 1}


@pytest.mark.parametrize(
    ("stamp", "gone"), [(None, True), ("2030-02-01T00:00:00Z", True), ("2029-12-01T00:00:00Z", False)]
)
def test_deleted_resources_are_dropped_unless_they_are_newer(stamp, gone, tmp_path):
    seen = {"meta": {"lastUpdated": "2030-01-01T00:00:00Z"}}
    doomed = [observation(9, value=99, **seen), {**base()[4], "id": "x", **seen}]
    entries = [{"request": {"method": "DELETE", "url": url}} for url in ("Observation/o9", "Condition/x")]
    deletions = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": entries,
        **({"timestamp": stamp} if stamp else {}),
    }
    made = _of(tmp_path, a__ndjson="\n".join(_lines([*base(), *doomed])), deleted__ndjson=json.dumps(deletions))
    assert made.skipped["deleted, as the export says"] == 2 * gone
    assert made.values() == ([*USUAL] if gone else sorted([*USUAL, 99.0]))


BROKEN: dict[str, tuple[str, str]] = {
    "cut off line": ('{"resourceType": "Observation", "id": ', "line that is no JSON"),
    "text": ("no JSON at all", "line that is no JSON"),
    "number": ("7", "no resourceType"),
    "not a number": ('{"resourceType": "Observation", "valueQuantity": {"value": NaN}}', "line that is no JSON"),
    "list": ("[1, 2]", "no resourceType"),
    "entry without a resource": ('{"resourceType": "Bundle", "entry": [{}]}', "entry without a resource"),
    "entry that is no object": ('{"resourceType": "Bundle", "entry": [3]}', "entry without a resource"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_is_quarantined_with_its_number(case, tmp_path):
    line, why = BROKEN[case]
    made = _of(tmp_path, a__ndjson="\n".join([*_lines(base()), line]))
    assert made.bad == {why: 1}
    assert made.values() == USUAL


def _without(name: str, kind: str = "IMP") -> list[Resource]:
    """The export without the resources whose type or id begins so; ``kind``: the class of its encounters."""
    others = [one for one in base() if not one["resourceType"].startswith(name) and not one["id"].startswith(name)]
    return [one | {"class": {"code": kind}} if one["resourceType"] == "Encounter" else one for one in others]


REFUSED: dict[str, tuple[dict[str, str | bytes], str]] = {
    "nothing": ({"readme__txt": "x"}, "holds no .ndjson"),
    "packed otherwise": ({"a__ndjson__zip": b"PK"}, "in a form that is not read"),
    "cut off gzip": ({"a__ndjson__gz": gzip.compress(b'{"resourceType": "Patient"}\n' * 9999)[:60]}, "damaged"),
    "cut off document": ({"a__json": '{\n"resourceType": "Bundle", "entry": ['}, "is no JSON"),
    "no patient": ({"a__ndjson": "\n".join(_lines(_without("Patient")))}, "no Patient that can be used: it needs"),
    "no encounter": ({"a__ndjson": '{"resourceType": "Patient", "id": "1"}'}, "no Encounter that can be used"),
    "no stay": ({"a__ndjson": "\n".join(_lines(_without("icu", kind="AMB")))}, "no Encounter is a stay"),
    "offsets of two zones": (
        {"a__ndjson": "\n".join(_lines([*base(), observation(9, effectiveDateTime="2030-01-05T15:00:00Z")]))}, "--zone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_ends_with_one_line(case, tmp_path, capsys):
    files, says = REFUSED[case]
    (tmp_path / "raw").mkdir()
    for name, content in files.items():
        path = tmp_path / "raw" / name.replace("__", ".")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert main(["fhir", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "cohort")]) == 2
    error = capsys.readouterr().err.strip()
    assert says in " ".join(error.split())
    assert "Traceback" not in error
    assert not (tmp_path / "cohort").exists()


def _bytes(cohort: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in sorted(cohort.glob("*.parquet")) if path.name != "quarantine.parquet"
    }


def test_names_order_and_repetition_change_no_byte(tmp_path):
    resources = [*base(), observation(7, value=60, meta={"lastUpdated": at(1)}), observation(7, value=61)]
    plain = write(tmp_path / "plain", resources)
    mixed = [*resources, *resources[3:9]]
    random.Random(7).shuffle(mixed)
    for number in range(3):
        write(tmp_path / "mixed", mixed[number::3], f"part-{9 - number}.jsonl")
    for name in ("plain", "mixed"):
        assert main(["fhir", "--raw", str(tmp_path / name), "--out", str(tmp_path / f"{name}-cohort"), "--json"]) == 0
    assert plain.exists()
    assert _bytes(tmp_path / "plain-cohort") == _bytes(tmp_path / "mixed-cohort")


def _read(lines: list[Resource]) -> tuple[dict[int, dict[str, object]], set[int]]:
    """Rows of the reader of numbers by number of their line, and the lines that it leaves to the other reader."""
    written = [json.dumps(line, ensure_ascii=False).encode(errors="replace") for line in lines]
    reader = NumberReader(Vocabulary(load_mapping("default")), Clock("written"))
    others = reader.add(Block(1, b"\n".join(written), np.cumsum([len(line) + 1 for line in written])[:-1] - 1))
    rows, more = reader.take()
    assert all(written[number - 1] == line for number, line in [*others, *more])
    return {row["line"]: row for row in rows.to_pylist()}, {number for number, _ in [*others, *more]}


def _compare(line: Resource, row: dict[str, object]) -> None:
    (expected,) = ObservationReader(Vocabulary(load_mapping("default")), Clock("written")).rows(line)
    names = [name for name in ROWS if name not in ("entry", "version", "line")]
    if row["skip"] or row["bad"]:
        names = ["skip", "bad"]
    assert {name: row[name] for name in names} == {name: expected.get(name) for name in names}, line


def test_many_at_a_time_reads_as_one_at_a_time():
    changes: list[Resource] = [
        {}, {"code": concept("x", "urn:y")}, {"code": {}}, {"valueQuantity": {"value": 3}}, {"issued": None},
        {"valueQuantity": {"value": 3, "unit": "mm[Hg]"}}, {"effectiveDateTime": "2030"}, {"encounter": None},
        {"subject": {"reference": "Patient/a/_history/1"}}, {"meta": {"lastUpdated": at(3)}},
        {"specimen": {"reference": "Specimen/1"}}, {"effectiveDateTime": "x", "code": concept("1-8")},
        {"code": concept("8867-4", text="Fr\u00e9quence"), "meta": {}},
        {"valueQuantity": {"value": 3, "code": " /min"}},
    ]  # fmt: skip
    lines = [observation(number, **change) for number, change in enumerate(changes)]
    rows, others = _read(lines)
    assert not others
    for number, line in enumerate(lines, 1):
        _compare(line, rows[number])


UNUSUAL: list[Resource] = [
    {"encounter": {"identifier": {"value": "4"}}}, {"encounter": {"reference": " "}}, {"context": {"reference": "E/1"}},
    {"encounter": None, "context": {"reference": "Encounter/icu1"}}, {"comment": "hemolyzed"}, {"component": []},
    {"note": [{"text": "x"}]}, {"id": "a b"}, {"id": ""}, {"id": 7}, {"id": 'a"b'}, {"id": "\u00e9"}, {"id": [1]},
    {"valueQuantity": {"value": 1e301}}, {"valueQuantity": {"value": "3"}}, {"valueQuantity": {"value": True}},
    {"valueQuantity": {"value": 3, "unit": 5}}, {"valueQuantity": {"value": 3, "comparator": "<"}},
    {"valueQuantity": [{"value": 3}]}, {"subject": {"reference": "Group/1"}}, {"subject": {"display": "x"}},
    {"specimen": {"reference": "#s"}}, {"specimen": {"display": "x"}}, {"meta": {"lastUpdated": 3}},
    {"effectiveDateTime": 2030}, {"issued": 2030}, {"status": "Final"}, {"status": "cancelled"},
    {"resourceType": "Observations"}, {"dataAbsentReason": {"text": "x"}}, {"modifierExtension": [{"url": "x"}]},
]  # fmt: skip


@pytest.mark.parametrize("together", [True, False])
def test_unusual_lines_are_read_one_at_a_time(together):
    lines = [observation(number, **change) for number, change in enumerate(UNUSUAL)]
    for group in [lines] if together else [[observation(90), line, observation(91)] for line in lines]:
        rows, others = _read(group)
        unusual = [number for number, line in enumerate(group, 1) if line in lines]
        assert sorted(others) == unusual
        assert sorted(rows) == [number for number in range(1, len(group) + 1) if number not in unusual]


def test_lines_that_are_all_unusual_are_left_with_whatever_their_times_hold():
    rows, others = _read([observation(0, subject={"reference": "Group/1"}, effectiveDateTime="2030")])
    assert (rows, others) == ({}, {1})


def test_lines_are_numbered_as_they_stand_in_the_file(tmp_path):
    whole = json.dumps(observation(1, "8480-6"))
    broken = json.dumps(observation(2)).replace('"code"', '\n"code"', 1)
    lines = [json.dumps(observation(10)), f"{whole} {whole}", broken, json.dumps(observation(13, unit="x"))]
    outcome = _of(tmp_path, a__ndjson="\n".join([*_lines(base()), *lines]))
    first = len(base()) + 1
    assert outcome.quarantine == {
        (first + 1, "line that is no JSON"), (first + 2, "line that is no JSON"), (first + 3, "line that is no JSON"),
        (first + 4, "unit that is unknown for the variable"),
    }  # fmt: skip


def _note(text: str | bytes, content_type: str, **more: object) -> Resource:
    attachment = {"contentType": content_type, "data": encoded(text)}
    return {
        "resourceType": "DocumentReference", "id": "n", "status": "current", "date": at(1), **OF_FIRST,
        "type": concept("18842-5"), "content": [{"attachment": attachment}], **more,
    }  # fmt: skip


NOTES: dict[str, list[Resource]] = {
    "plain": [_note("Chief Complaint:\nFever\n", "text/plain")],
    "html": [_note("<html><head><style>p{}</style></head><p>Chief Complaint:</p><p>Fever</p></html>", "text/html")],
    "rtf": [_note(r"{\rtf1\ansi{\fonttbl{\f0 A;}}\b Chief Complaint:\b0\par Fever\par}", "application/rtf")],
    "character set": [_note("Chief Complaint:\nFever".encode("utf-16"), "text/plain; charset=utf-16")],
    "binary": [
        _note("", "text/plain", content=[{"attachment": {"contentType": "text/plain", "url": "Binary/b"}}]),
        {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": encoded("Chief Complaint:\nFever")},
    ],
    "composition": [
        {
            "resourceType": "Composition", "id": "n", "status": "final", "date": at(1), **OF_FIRST,
            "type": concept("18842-5"), "section": [{"title": "Chief Complaint", "text": {"div": "<div>Fever</div>"}}],
        }
    ],
    "report": [
        {
            "resourceType": "DiagnosticReport", "id": "n", "status": "final", "issued": at(1), **OF_FIRST,
            "code": concept("18842-5"),
            "presentedForm": [{"contentType": "text/plain", "data": encoded("Chief Complaint:\nFever")}],
        }
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", NOTES)
def test_notes_of_every_form_are_read(case, tmp_path):
    made = Outcome(write(tmp_path / "raw", [*base(), *NOTES[case]]), tmp_path / "work")
    (row,) = made.table("fhir/notes").iter_rows(named=True)
    assert row["kind"] == "discharge"
    assert row["text"].split() == ["Chief", "Complaint:", "Fever"]
    assert row["hadm_id"] is not None  # by patient and time, where the resource names no encounter
    assert not made.bad


STAYS: dict[str, Resource] = {
    "by its class": {"class": {"code": "IMP", "display": "ICU"}, "location": []},
    "by its type": {"type": [concept("305351004", "http://snomed.info/sct")], "location": []},
    "by its service": {"serviceType": {"text": "Critical Care"}, "location": []},
    "by the name of its place": {"location": [{"location": {"display": "Intensivstation 2"}}]},
}


@pytest.mark.parametrize("case", STAYS)
def test_intensive_care_is_recognised(case, tmp_path):
    resources = base()
    for one in resources:
        if one["id"].startswith("icu"):
            one.update(STAYS[case])
    made = Outcome(write(tmp_path / "raw", resources), tmp_path / "work")
    assert made.laid_out.placed.kind == "encounter"
    assert made.table("icu/icustays")["hadm_id"].n_unique() == 2
    assert made.values() == USUAL


def _without_icu(**whole: object) -> list[Resource]:
    resources = [one for one in base() if not one["id"].startswith("icu")]
    for one in resources:
        if one["id"].startswith("h"):
            one.update(whole)
    return resources


def test_spans_of_locations_classes_or_whole_encounters_are_stays(tmp_path):
    place = {"reference": "Location/loc"}
    spans = [
        {"location": place, "period": {"start": at(start), "end": at(end)}} for start, end in ((1, 4), (4, 9), (30, 40))
    ]
    made = Outcome(write(tmp_path / "a", _without_icu(location=spans)), tmp_path / "aw")
    assert made.laid_out.placed.kind == "location"
    assert made.table("icu/icustays").height == 4  # the first two spans touch
    made = Outcome(write(tmp_path / "d", _without_icu(location=[{"location": place}])), tmp_path / "dw")
    assert made.laid_out.placed.kind == "location"  # an only place without a period is that of the whole encounter
    history = [{"class": {"code": "ACUTE", "display": "ICU"}, "period": {"start": at(1), "end": at(9)}}]
    made = Outcome(write(tmp_path / "b", _without_icu(classHistory=history)), tmp_path / "bw")
    assert made.laid_out.placed.kind == "class"
    made = Outcome(write(tmp_path / "c", _without_icu()), tmp_path / "cw")
    assert made.laid_out.placed.kind == "hospital"
    assert made.laid_out.placed.warnings


def test_a_mapping_gives_meaning_to_local_codes_units_and_diagnoses(tmp_path):
    mapping = tmp_path / "site.yaml"
    mapping.write_text(
        'codes: [{system: "urn:s", code: PULSE, variable: heart_rate, unit: bpm}]\nunits: {Schläge: /min}\n'
        'diagnoses: [{system: "http://snomed.info/sct", code: "1", icd10: A41.9}]\n'
    )
    local = concept("PULSE", "urn:s")
    added = [
        observation(9, code="", valueQuantity={"value": 61}) | {"code": local},
        observation(10, value=62, unit="Schläge") | {"code": local},
        {**base()[4], "id": "x", "code": concept("1", "http://snomed.info/sct")},
    ]
    raw = write(tmp_path / "raw", [*base(), *added])
    assert Outcome(raw, tmp_path / "without").unmapped == {
        ("urn:s", "PULSE", ""): 2,
        ("http://snomed.info/sct", "1", ""): 1,
    }
    made = Outcome(raw, tmp_path / "with", codes=str(mapping))
    assert made.values() == sorted([*USUAL, 61, 62])
    assert "A41.9" in made.table("hosp/diagnoses_icd")["icd_code"].to_list()
    mapping.write_text('codes: [{system: "urn:s", code: PULSE, variable: heart_rat}]')
    with pytest.raises(UserError, match="heart_rate"):
        load_mapping(str(mapping))


def test_a_preparation_ends_with_a_cohort_and_a_template_that_can_be_filled(tmp_path):
    raw = write(tmp_path / "raw", [*base(), observation(9, "99999-9")])
    out = tmp_path / "cohort"
    assert main(["fhir", "--raw", str(raw), "--out", str(out)]) == 0
    assert {"codes_to_fill.yaml", "identities.csv", "labels.parquet", "series.parquet"} <= {
        path.name for path in out.iterdir()
    }
    assert "99999-9" in (out / "codes_to_fill.yaml").read_text()
    load_mapping(str(out / "codes_to_fill.yaml"))
    assert "Encounter/icu1" in (out / "identities.csv").read_text()
    assert not out.with_name(".cohort.fhir").exists()
    assert main(["audit", str(out)]) == 0
    assert main(["check-release", "--raw", str(raw)]) == 0


@pytest.mark.slow
def test_the_number_of_processes_that_read_changes_no_byte(tmp_path, monkeypatch):
    """Files are read beside each other, one of them twice in the export; a damaged one is named as ever."""
    monkeypatch.setattr("mimic_prep.releases.fhir.convert._BYTES_OF_PROCESS", 1)
    (tmp_path / "more.yaml").write_text(
        "sources: {here: a site}\n"
        "variables:\n  procalcitonin: {label: procalcitonin, kind: lab, unit: ng/mL, loinc: 33959-8,"
        " reference: [null, 0.5], source: here, plausible: [0, 1000], decimals: 2}\n"
    )
    lines = _lines([*base(), observation(40, code="33959-8", value=9.1, unit="ng/mL")])
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(4):  # the last holds the same as the first
        (raw / f"{number}.ndjson").write_text("\n".join(lines[number % 3 :: 3]))
    made = []
    for workers in ("1", "3"):
        out = tmp_path / workers
        given = ["--workers", workers, "--variables", str(tmp_path / "more.yaml")]
        assert main(["fhir", "--raw", str(raw), "--out", str(out), *given]) == 0
        made.append({path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()})
    assert made[0] == made[1]
    assert b"procalcitonin" in made[1]["series.parquet"]
    (raw / "4.ndjson.gz").write_bytes(gzip.compress("\n".join(lines).encode())[:-9])
    assert main(["fhir", "--raw", str(raw), "--out", str(tmp_path / "cut"), "--workers", "3"]) == 2


@pytest.mark.parametrize("kind", ["Patient", "Encounter", "Observation"])
@pytest.mark.parametrize("form", ["lines", "bundle"])
def test_the_check_of_an_export_names_the_type_that_is_missing(kind, form, tmp_path):
    for absent in (None, kind):
        resources = [one for one in base() if one["resourceType"] != absent]
        if form == "bundle":
            entries = [{"resource": one} for one in resources]
            raw = tmp_path / f"{absent}"
            raw.mkdir()
            (raw / "all.json").write_text(json.dumps({"resourceType": "Bundle", "entry": entries}, indent=1))
        else:
            raw = write(tmp_path / f"{absent}", resources)
        assert check_release(raw).problems == ([f"no {kind} in any file: ask for it, too"] if absent else [])


def test_what_the_clock_or_the_encounters_lack_is_told(tmp_path):
    """Times that are all in UTC without a zone, and stays that are part of an encounter which is not there."""

    def warned(name: str, resources: list[Resource], *more: str) -> str:
        raw = write(tmp_path / name, resources)
        out = tmp_path / f"{name}-cohort"
        assert main(["fhir", "--raw", str(raw), "--out", str(out), *more]) == 0
        return " ".join(json.loads((out / "manifest.json").read_text())["warnings"])

    in_utc = [json.loads(line.replace("-05:00", "Z")) for line in _lines(base())]
    assert "the times are in UTC" in warned("utc", in_utc)
    assert "the times are in UTC" not in warned("zoned", in_utc, "--zone", "America/New_York")
    usual = warned("usual", base())
    assert "the times are in UTC" not in usual
    assert "part of an Encounter" not in usual
    lone = [one for one in base() if one["id"] != "h1"]
    assert "1 of 2 stays are part of an Encounter that the export does not have" in warned("lone", lone)


def test_a_folder_of_another_kind_is_told_apart(tmp_path, capsys):
    export = write(tmp_path / "export", base())
    assert main(["omop", "--raw", str(export), "--out", str(tmp_path / "out")]) == 2
    assert "which mimic-prep fhir reads" in capsys.readouterr().err
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "person.csv").write_text("person_id\n1\n")
    assert main(["fhir", "--raw", str(tmp_path / "tables"), "--out", str(tmp_path / "out")]) == 2
    assert "check-release" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
