"""Values of one minute under several codes, and the specimen that a value is of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clinragen.errors import UserError
from mimic_prep.cli import main
from mimic_prep.releases.fhir.vocabulary import Vocabulary, load_mapping
from tests.mimic_prep.fhir_export import Outcome, Resource, base, concept, observation, write

SITE = "urn:oid:1.2.3"
ORDERED = """
codes:
  - {system: "urn:oid:1.2.3", code: ART, variable: systolic_bp, unit: mmHg}
  - {system: "urn:oid:1.2.3", code: CUFF, variable: systolic_bp, unit: mmHg}
"""


def _pressures() -> list[Resource]:
    """An arterial line, a cuff and a pressure by LOINC, all of the same minute."""
    same = {"effectiveDateTime": "2030-01-05T10:00:00-05:00", "issued": "2030-01-05T10:00:00-05:00"}
    return [
        observation(20, value=100, unit="mm[Hg]", **same) | {"code": concept("ART", SITE)},
        observation(21, value=130, unit="mm[Hg]", **same) | {"code": concept("CUFF", SITE)},
        observation(22, "8480-6", 150, "mm[Hg]", **same),
    ]


def _series(tmp_path: Path, resources: list[Resource], *options: str) -> dict[str, float]:
    """Variable -> its values of the first stay."""
    raw, out = write(tmp_path / "raw", resources), tmp_path / "cohort"
    assert main(["fhir", "--raw", str(raw), "--out", str(out), "--workers", "1", *options]) == 0
    rows = pl.read_parquet(out / "series.parquet")
    return dict(rows.select("variable", "value").iter_rows())


@pytest.mark.slow
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_the_order_of_the_mapping_decides_among_values_of_a_minute(order, tmp_path):
    mapping = tmp_path / "site.yaml"
    mapping.write_text(ORDERED)
    pressures = _pressures()
    resources = [*base(), *(pressures[number] for number in order)]
    assert _series(tmp_path, resources, "--codes", str(mapping))["systolic_bp"] == 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (ORDERED.splitlines()[:2] + ORDERED.splitlines()[3:1:-1], 130),
        (
            [
                *ORDERED.splitlines()[:2],
                '  - {system: "http://loinc.org", code: 8480-6, variable: systolic_bp}',
                *ORDERED.splitlines()[2:],
            ],
            150,
        ),
        (["codes: []"], 150),
    ],
    ids=["the cuff first", "LOINC first", "LOINC alone"],
)
def test_another_order_gives_another_value(lines, expected, tmp_path):
    mapping = tmp_path / "site.yaml"
    mapping.write_text("\n".join(lines))
    assert _series(tmp_path, [*base(), *_pressures()], "--codes", str(mapping))["systolic_bp"] == expected


def test_ranks_follow_the_mapping_and_then_the_catalogue(tmp_path):
    mapping = tmp_path / "site.yaml"
    mapping.write_text(ORDERED)
    vocabulary = Vocabulary(load_mapping(str(mapping)))

    def rank(*codings: tuple[str, str]) -> int:
        given = {"coding": [{"system": system, "code": code} for system, code in codings]}
        meaning, why, _ = vocabulary.meaning(given)
        assert why is None
        return meaning.rank

    loinc = "http://loinc.org"
    assert [rank((SITE, "ART")), rank((SITE, "CUFF")), rank((loinc, "8480-6")), rank((loinc, "76215-3"))] == [
        0,
        1,
        2,
        3,
    ]
    assert rank((loinc, "8480-6"), (SITE, "CUFF")) == 1  # a listed code decides, though LOINC says what it is
    assert rank((loinc, "8867-4")) == 0


def _gas(kind: Any, number: int = 30, code: str = "2703-7", **more: Any) -> list[Resource]:
    """A gas, and its Specimen."""
    specimen = {
        "resourceType": "Specimen", "id": f"s{number}", "type": kind, "subject": {"reference": "Patient/p1"}, **more
    }  # fmt: skip
    unit = {"2703-7": "mm[Hg]", "2744-1": "[pH]", "2160-0": "mg/dL"}[code]
    value = {"2703-7": 44, "2744-1": 7.3, "2160-0": 9.9}[code]
    return [specimen, observation(number, code, value, unit, specimen={"reference": f"Specimen/s{number}"})]


SNOMED = "http://snomed.info/sct"
#: type of the specimen, and whether a pO2, a pH and a creatinine count
TYPES: dict[str, tuple[Any, tuple[bool, bool, bool]]] = {
    "arterial": (concept("122552005", SNOMED), (True, True, True)),
    "arterial by name": ({"text": "Arterial blood specimen"}, (True, True, True)),
    "HL7 v2": (concept("BLDA", "http://terminology.hl7.org/CodeSystem/v2-0487"), (True, True, True)),
    "blood": ({"coding": [{"system": SNOMED, "code": "119297000", "display": "Blood specimen"}]}, (True, True, True)),
    "not said": (None, (True, True, True)),
    "a shape that FHIR does not have": ("blood", (True, True, True)),
    "venous": ({"coding": [{"system": SNOMED, "code": "122555007"}]}, (False, True, True)),
    "mixed venous": ({"text": "Mixed venous blood"}, (False, True, True)),
    "capillary": (concept("BLDC", "http://terminology.hl7.org/CodeSystem/v2-0487"), (False, True, True)),
    "pleural": ({"text": "Pleural fluid"}, (False, False, False)),
    "urine": (concept("122575003", SNOMED), (False, False, False)),
    "sputum": ({"text": "Sputum"}, (False, False, False)),
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_the_type_of_the_specimen_decides_what_counts(kind, tmp_path):
    given, counts = TYPES[kind]
    codes = ("2703-7", "2744-1", "2160-0")
    gases = [one for number, code in enumerate(codes, 30) for one in _gas(given, number, code)]
    made = Outcome(write(tmp_path / "raw", [*base(), *gases]), tmp_path / "work")
    values = set(made.values()) & {44.0, 7.3, 9.9}
    assert values == {value for value, counted in zip((44.0, 7.3, 9.9), counts, strict=True) if counted}
    assert made.skipped["of another specimen than the variable is of"] == counts.count(False)


def test_a_specimen_by_its_url_its_newest_version_and_one_that_is_absent(tmp_path):
    older, gas = _gas({"text": "Arterial blood"}, meta={"lastUpdated": "2030-01-01T00:00:00Z"})
    newer = older | {"type": {"text": "Venous blood"}, "meta": {"lastUpdated": "2030-01-02T00:00:00Z"}}
    corrected = Outcome(write(tmp_path / "a", [*base(), newer, gas, older]), tmp_path / "work-a")
    assert 44.0 not in corrected.values()
    lost = Outcome(write(tmp_path / "b", [*base(), gas]), tmp_path / "work-b")
    assert 44.0 in lost.values()
    entries = [{"fullUrl": f"urn:uuid:{n}", "resource": one} for n, one in enumerate([*base(), newer])]
    by_url = gas | {"specimen": {"reference": f"urn:uuid:{len(entries) - 1}"}}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [*entries, {"resource": by_url}]}
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "bundle.json").write_text(json.dumps(bundle))
    assert 44.0 not in Outcome(folder, tmp_path / "work-c").values()


def test_a_site_says_what_its_specimens_are_called(tmp_path):
    mapping = tmp_path / "site.yaml"
    mapping.write_text("specimens: {other_blood: ['^ZVK$']}\n")
    export = write(tmp_path / "raw", [*base(), *_gas({"text": "ZVK"})])
    assert 44.0 in Outcome(export, tmp_path / "before").values()
    assert 44.0 not in Outcome(export, tmp_path / "after", codes=str(mapping)).values()
    mapping.write_text("specimens: {venous: ['x']}\n")
    with pytest.raises(UserError, match="unknown kind of specimens 'venous'"):
        Outcome(export, tmp_path / "wrong", codes=str(mapping))


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ({"specimen": {"display": "Venous blood"}}, False),
        ({"specimen": {"display": "Arterial blood"}}, True),
        (
            {
                "specimen": {"reference": "#s"},
                "contained": [{"resourceType": "Specimen", "id": "s", "type": {"text": "Venous"}}],
            },
            False,
        ),
        ({"specimen": {"reference": "#s"}, "contained": []}, True),
        ({"specimen": {"reference": "https://x.org/fhir/Specimen/s/_history/2"}}, False),
        ({"specimen": [{"reference": "Specimen/s"}]}, False),
    ],
)
def test_an_observation_that_says_itself_what_its_specimen_is(more, counts, tmp_path):
    venous = {"resourceType": "Specimen", "id": "s", "type": {"text": "Venous blood"}}
    gas = observation(30, "2703-7", 44, "mm[Hg]", **more)
    made = Outcome(write(tmp_path / "raw", [*base(), venous, gas]), tmp_path / "work")
    assert (44.0 in made.values()) is counts


def test_times_that_are_all_midnight_are_said(tmp_path):
    dated = [
        one | {"effectiveDateTime": f"{one['effectiveDateTime'][:10]}T00:00:00-05:00"}
        if "effectiveDateTime" in one
        else one
        for one in base()
    ]
    made = Outcome(write(tmp_path / "raw", dated), tmp_path / "work")
    assert any("midnight" in warning for warning in made.laid_out.placed.warnings)
    usual = Outcome(write(tmp_path / "usual", base()), tmp_path / "work-usual")
    assert not any("midnight" in warning for warning in usual.laid_out.placed.warnings)
