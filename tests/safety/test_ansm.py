"""The French thesaurus of interactions, from made-up files in its form."""

from __future__ import annotations

import json

import pytest

from clinragen.chart.measurements import measurements
from clinragen.drugs import drug_of
from clinragen.errors import UserError
from clinragen.safety.ansm import AnsmThesaurus
from clinragen.safety.cautions import DrugOrder
from clinragen.safety.context import PatientContext
from clinragen.safety.screen import screen, unchecked

SUBSTANCES = [
    {"substance": "warfarine", "drug_classes": ["antivitamines K"]},
    {"substance": "métronidazole", "drug_classes": []},
    {"substance": "aciclovir", "drug_classes": ["médicaments néphrotoxiques"]},
    {"substance": "acide acetylsalicylique", "drug_classes": ["antiagrégants plaquettaires"]},
    {"substance": "ginkgo", "drug_classes": []},
    {"substance": "substance inconnue", "drug_classes": ["antivitamines K"]},
]


def _pair(main: str, plus: str, *levels: str, mechanism: str = "Risque hémorragique."):
    stated = [{"level": level, "info": ""} for level in levels]
    return {
        "main_drug": main,
        "between_main_and_plus_drug": "",
        "plus_drug": plus,
        "severity_levels": stated,
        "interaction_mechanism": mechanism,
        "description": mechanism,
    }


PAIRS = [
    _pair("ANTIVITAMINES K", "METRONIDAZOLE", "Précaution d'emploi"),
    _pair("ANTIVITAMINES K", "ANTIAGRÉGANTS PLAQUETTAIRES", "CONTRE-INDICATION", "Association DECONSEILLEE"),
    _pair("WARFARINE", "ACICLOVIR", "A prendre en compte"),
    _pair("MÉDICAMENTS NÉPHROTOXIQUES", "MÉDICAMENTS NÉPHROTOXIQUES", "CONTRE-INDICATION", "A prendre en compte"),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "thesaurus.json").write_text(json.dumps(PAIRS), encoding="utf-8")
    (tmp_path / "index.json").write_text(json.dumps(SUBSTANCES), encoding="utf-8")
    return tmp_path


def _between(thesaurus: AnsmThesaurus, one: str, two: str):
    drugs = drug_of(one), drug_of(two)
    assert drugs[0] is not None
    assert drugs[1] is not None
    return list(thesaurus.interactions(*drugs))


def test_interactions_of_substances_and_of_classes_in_either_order(folder):
    thesaurus = AnsmThesaurus.load(folder)
    expected = [("caution", 'antivitamines k with metronidazole, "Risque hémorragique."', "ansm")]
    assert _between(thesaurus, "Coumadin", "Flagyl") == expected
    assert _between(thesaurus, "Flagyl", "Coumadin") == expected
    assert _between(thesaurus, "Coumadin", "cefazolin") == []


def test_of_several_levels_the_mildest_is_told_and_the_lowest_is_left_out(folder):
    thesaurus = AnsmThesaurus.load(folder)
    severity, sentence, _ = _between(thesaurus, "warfarin", "aspirin 81 mg")[0]
    assert severity == "avoid"
    assert sentence.endswith("graver under conditions")
    assert _between(thesaurus, "warfarin", "acyclovir") == []
    assert _between(thesaurus, "acyclovir", "acyclovir") == []


def test_the_screen_reads_it_beside_the_curated_core(folder):
    thesaurus = AnsmThesaurus.load(folder)
    order = DrugOrder("warfarin", "anticoagulant", "order", 1.0)
    patient = PatientContext(1, 60, "M", series=measurements({}), in_force=(order,))
    drug = drug_of("metronidazole")
    assert drug is not None
    assert {caution.source for caution in screen(drug, patient)} == {"fda:warfarin"}
    assert {caution.source for caution in screen(drug, patient, thesaurus)} == {"fda:warfarin", "ansm"}


def test_what_it_does_not_cover_is_said(folder):
    thesaurus = AnsmThesaurus.load(folder)
    assert (thesaurus.matched, thesaurus.substances) == (4, 6)  # ginkgo is listed as none
    assert any("2 of 6 substances" in line for line in unchecked(thesaurus=thesaurus))
    assert not any("no thesaurus of interactions was given" in line for line in unchecked(thesaurus=thesaurus))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "expected the two JSON files"),
        ({"a.json": "{"}, "cannot be read as JSON"),
        ({"a.json": "[]"}, "expected a list of objects"),
        ({"a.json": '[{"substance": 1}]', "b.json": '[{"main_drug": "A"}]'}, "do not have the form"),
    ],
)
def test_other_files_are_an_error(tmp_path, files, says):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        AnsmThesaurus.load(tmp_path)
