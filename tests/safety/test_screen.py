"""The screen: which cautions a drug gets, why, and what does not change them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.chart.measurements import measurements
from clinragen.drugs import Drug, drug_of
from clinragen.safety.allergies import read_allergies
from clinragen.safety.cautions import DrugOrder, MeasuredValue, NotePhrase
from clinragen.safety.context import PatientContext
from clinragen.safety.screen import gravest, screen, unchecked


def _drug(name: str) -> Drug:
    drug = drug_of(name)
    assert drug is not None
    return drug


def _patient(allergies=None, values=None, drugs=(), earlier=(), **fields) -> PatientContext:
    """A man of 60 with an allergy list, series {variable: [(hour, value)]}, and drugs by name.

    His creatinine is normal where the series says nothing of it; ``values={}`` is no series at all.
    """
    values = values if values == {} else {"creatinine": [(1, 1.0)], **(values or {})}

    def orders(names, kind):
        listed = [DrugOrder(drug.ingredient, drug.drug_class, kind, 1.0) for drug in map(_drug, names)]
        return tuple(sorted(listed, key=lambda order: order.ingredient))

    return PatientContext(
        stay_id=1,
        age=fields.pop("age", 60),
        sex=fields.pop("sex", "M"),
        allergies=None if allergies is None else read_allergies([("note", allergies)]),
        series=measurements(values),
        in_force=orders(drugs, "order"),
        earlier=orders(earlier, "home"),
        **fields,
    )


def _cautions(name: str, patient: PatientContext) -> list[tuple[str, str]]:
    return [(caution.kind, caution.severity) for caution in screen(_drug(name), patient)]


@pytest.mark.parametrize(
    ("allergies", "drug", "cautions"),
    [
        ("Penicillins", "ampicillin-sulbactam", [("allergy", "avoid")]),
        ("Penicillins: anaphylaxis", "Zosyn", [("allergy", "contraindicated")]),
        ("amoxicillin (hives)", "nafcillin", [("cross_reaction", "avoid")]),
        ("Penicillins", "meropenem", [("cross_reaction", "caution")]),
        ("Penicillins", "aztreonam", []),
        ("Penicillins", "cefazolin", []),
        ("Penicillins", "ceftriaxone", []),
        ("Penicillins: anaphylaxis", "ceftriaxone", [("cross_reaction", "caution")]),
        ("Penicillins", "cephalexin", [("cross_reaction", "caution")]),
        ("amoxicillin", "cefadroxil", [("cross_reaction", "avoid")]),
        ("Penicillins (tolerates cephalexin)", "cephalexin", []),
        ("Penicillins: anaphylaxis (tolerates cephalosporins)", "ceftriaxone", []),
        ("ceftazidime: hives", "aztreonam", [("cross_reaction", "avoid")]),
        ("penicillin: nausea", "meropenem", []),  # an intolerance is no allergy to others
        ("penicillin: nausea", "penicillin G potassium", [("allergy", "caution")]),
        ("Sulfa (Sulfonamide Antibiotics)", "Bactrim", [("allergy", "avoid")]),
        ("Sulfa (Sulfonamide Antibiotics)", "furosemide", []),  # sulfonamides that are no antibiotics
        ("Sulfa (Sulfonamide Antibiotics)", "hydrochlorothiazide", []),
        ("Sulfa (Sulfonamide Antibiotics)", "celecoxib", []),
        ("aspirin: angioedema", "ketorolac", [("cross_reaction", "contraindicated")]),
        ("aspirin: GI upset", "ketorolac", []),
        ("lisinopril: angioedema", "enalapril", [("cross_reaction", "contraindicated")]),
        ("lisinopril: angioedema", "Entresto", [("cross_reaction", "contraindicated")]),
        ("lisinopril: cough", "enalapril", [("cross_reaction", "caution")]),
        ("lisinopril: cough", "losartan", []),
        ("Dilantin: rash", "carbamazepine", [("cross_reaction", "avoid")]),
        ("Dilantin: rash", "lamotrigine", [("cross_reaction", "caution")]),
        ("Dilantin: rash", "levetiracetam", []),
        ("morphine", "hydromorphone", [("cross_reaction", "caution")]),
        ("morphine", "fentanyl", []),
        ("heparin (HIT)", "enoxaparin", [("allergy", "contraindicated")]),
        ("heparin (HIT)", "heparin flush", [("allergy", "contraindicated")]),  # however little
        ("heparin (HIT)", "argatroban", []),
        ("Percocet", "acetaminophen", [("allergy", "caution")]),  # which part it was is not known
        ("acetaminophen", "Percocet", [("allergy", "avoid")]),
        ("ciprofloxacin: hives", "ciprofloxacin ophthalmic drops", [("allergy", "avoid")]),
        ("shellfish, latex", "iohexol", []),
        ("IV dye: hives", "iohexol", [("allergy", "avoid")]),
        ("No Known Allergies", "penicillin G potassium", []),
    ],
)
def test_allergies_and_cross_reactions(allergies, drug, cautions):
    assert _cautions(drug, _patient(allergies)) == cautions


@pytest.mark.parametrize(
    ("in_force", "drug", "cautions"),
    [
        (["warfarin"], "warfarin 5 mg", [("duplicate", "caution")]),
        (["apixaban"], "enoxaparin", [("duplicate", "avoid")]),
        (["warfarin"], "enoxaparin", [("duplicate", "caution")]),  # until warfarin acts
        (["ibuprofen"], "ketorolac", [("interaction", "contraindicated"), ("duplicate", "avoid")]),
        (["Percocet"], "acetaminophen", [("duplicate", "caution")]),
        (["lisinopril"], "losartan", [("interaction", "avoid")]),
        (["metoprolol"], "timolol eye drops", []),
        (["normal saline"], "normal saline", []),  # ordered in parallel
        (["warfarin"], "amiodarone", [("interaction", "avoid")]),
        (["Biaxin"], "simvastatin", [("interaction", "contraindicated")]),
        (["Biaxin"], "pravastatin", []),
        (["Isordil"], "sildenafil", [("interaction", "contraindicated")]),
        (["omeprazole"], "clopidogrel", [("interaction", "avoid")]),
        (["pantoprazole"], "clopidogrel", []),
        (["methotrexate"], "Bactrim", [("interaction", "avoid")]),
        (["sertraline"], "linezolid", [("interaction", "avoid")]),
        (["spironolactone"], "potassium chloride", [("interaction", "avoid")]),
        (["valproate"], "meropenem", [("interaction", "avoid")]),
    ],
)
def test_duplicates_and_interactions(in_force, drug, cautions):
    assert _cautions(drug, _patient(drugs=in_force)) == cautions


def test_an_interaction_is_the_same_in_either_order():
    for one, two in [("warfarin", "amiodarone"), ("simvastatin", "clarithromycin"), ("sildenafil", "nitroglycerin")]:
        assert _cautions(one, _patient(drugs=[two])) == _cautions(two, _patient(drugs=[one])) != []


def test_a_drug_from_before_counts_only_if_it_acts_on():
    assert _cautions("sertraline", _patient(earlier=["phenelzine"])) == [("interaction", "contraindicated")]
    assert _cautions("warfarin", _patient(earlier=["amiodarone"])) == [("interaction", "avoid")]
    assert _cautions("warfarin", _patient(earlier=["metronidazole"])) == []
    caution = screen(_drug("warfarin"), _patient(earlier=["amiodarone"]))[0]
    assert caution.because.startswith("with amiodarone, which was taken before admission and acts on for long")


@pytest.mark.parametrize(
    ("variable", "value", "drug", "cautions"),
    [
        ("creatinine", 3.1, "metformin", [("renal", "contraindicated")]),  # 22 mL/min/1.73 m2
        ("creatinine", 2.0, "metformin", [("renal", "avoid")]),  # 38
        ("creatinine", 1.0, "metformin", []),  # 86
        ("creatinine", 3.1, "gabapentin", [("renal", "caution")]),
        ("creatinine", 3.1, "ketorolac", [("renal", "contraindicated")]),  # its own limit before that of all NSAIDs
        ("creatinine", 3.1, "magnesium", [("renal", "caution")]),  # of whichever salt
        ("creatinine", 3.1, "furosemide", []),
        ("bilirubin_total", 4.0, "simvastatin", [("hepatic", "avoid")]),
        ("bilirubin_total", 3.0, "simvastatin", []),  # a limit itself is not beyond it
        ("alt", 150, "valproate", [("hepatic", "avoid")]),
        ("potassium", 5.6, "potassium chloride", [("measurement", "contraindicated")]),
        ("potassium", 5.3, "potassium chloride", [("measurement", "avoid")]),
        ("potassium", 5.3, "lisinopril", [("measurement", "caution")]),
        ("potassium", 3.0, "digoxin", [("measurement", "caution")]),
        ("platelets", 40, "enoxaparin", [("measurement", "caution"), ]),
        ("inr", 3.4, "warfarin", [("measurement", "avoid")]),
        ("glucose", 55, "insulin lispro", [("measurement", "contraindicated")]),
        ("systolic_bp", 82, "metoprolol", [("measurement", "avoid")]),
        ("heart_rate", 45, "diltiazem", [("measurement", "avoid")]),
        ("platelets", 40, "alteplase", [("measurement", "contraindicated")]),
    ],
)  # fmt: skip
def test_kidneys_liver_and_other_values(variable, value, drug, cautions):
    assert _cautions(drug, _patient(values={variable: [(3, value)]})) == cautions


def test_the_last_value_counts():
    assert _cautions("potassium chloride", _patient(values={"potassium": [(1, 6.5), (8, 3.9)]})) == []


def test_dialysis_is_the_gravest_limit_and_needs_no_creatinine():
    phrase = NotePhrase("note", "past_medical_history", 3, 8, "ESRD on HD")
    caution = screen(_drug("metformin"), _patient(dialysis=phrase))[0]
    assert (caution.kind, caution.severity, caution.evidence) == ("renal", "contraindicated", (phrase,))
    assert "ESRD on HD" in caution.because


def test_what_only_the_kidneys_may_forbid_waits_for_creatinine():
    caution = screen(_drug("ketorolac"), _patient(values={}))[0]
    assert (caution.kind, caution.severity, caution.evidence) == ("renal", "avoid", ())
    assert caution.because.startswith(
        "creatinine was not measured before the prediction time, and an estimated GFR below 30"
    )
    assert _cautions("metformin", _patient(values={})) == [("renal", "avoid")]
    assert _cautions("gabapentin", _patient(values={})) == []  # a low GFR asks for a smaller dose only
    assert _cautions("ketorolac", _patient()) == []


def test_a_caution_says_what_to_check_in_the_chart():
    patient = _patient("Penicillins (hives)", {"creatinine": [(2, 1.0), (10, 3.1)]}, ["warfarin"])
    renal = screen(_drug("metformin"), patient)[0]
    assert renal.because.startswith(
        "creatinine 3.1 mg/dL at hour 10 (estimated GFR 22 mL/min/1.73 m2; it has risen from 1.0 mg/dL at hour 2"
    )
    assert renal.evidence == (MeasuredValue("creatinine", 2, 1.0), MeasuredValue("creatinine", 10, 3.1))
    assert 'the allergy list names "Penicillins (hives)"' in screen(_drug("ampicillin"), patient)[0].because
    interaction = screen(_drug("amiodarone"), patient)[0]
    assert interaction.because == "with warfarin, which is in force: the INR rises"
    assert interaction.evidence == (DrugOrder("warfarin", "anticoagulant", "order", 1.0),)


def test_what_was_not_checked_is_said():
    blank = "; ".join(unchecked(_patient(values={}, orders_read=False)))
    for missing in ("no allergy list", "creatinine was not measured", "bilirubin", "no orders", "thesaurus", "QT"):
        assert missing in blank
    whole = _patient(
        "No Known Allergies",
        {key: [(1, 1.0)] for key in ("creatinine", "bilirubin_total", "alt", "potassium")},
        ["warfarin"],
    )
    assert unchecked(whole) == unchecked()
    assert "see cerner" in unchecked(_patient("see cerner"))[0]
    assert any("3 orders in force" in line for line in unchecked(replace(whole, unnamed_orders=3)))
    assert any("sex" in line for line in unchecked(replace(whole, sex=None)))


def test_a_patient_without_anything_has_no_caution():
    assert screen(_drug("warfarin"), _patient()) == []
    assert gravest([]) is None


_NAMES = [
    "warfarin", "amiodarone", "heparin drip", "enoxaparin", "apixaban", "ketorolac", "ibuprofen", "aspirin 81",
    "simvastatin", "clarithromycin", "Percocet", "acetaminophen", "morphine", "lorazepam", "sertraline", "linezolid",
    "lisinopril", "losartan", "potassium chloride", "spironolactone", "metformin", "digoxin", "furosemide", "Zosyn",
    "insulin glargine", "normal saline", "ciprofloxacin ophthalmic", "heparin flush", "phenelzine", "meropenem",
    "valproate", "vancomycin",
]  # fmt: skip
_DRUGS = st.sampled_from(_NAMES)


def _identity(name: str, patient: PatientContext) -> set[tuple[str, str, str]]:
    return {(caution.kind, caution.severity, caution.source) for caution in screen(_drug(name), patient)}


@given(_DRUGS, st.lists(_DRUGS, max_size=6), st.lists(_DRUGS, max_size=3), _DRUGS, st.booleans())
def test_a_further_drug_never_removes_a_caution(name, drugs, earlier, further, ended):
    before = _patient("Penicillins / codeine: nausea", {"creatinine": [(1, 2.5)]}, drugs, earlier)
    more = ([*drugs], [*earlier, further]) if ended else ([*drugs, further], [*earlier])
    after = _patient("Penicillins / codeine: nausea", {"creatinine": [(1, 2.5)]}, *more)
    assert _identity(name, before) <= _identity(name, after)


@given(_DRUGS, st.permutations(_NAMES[:12]))
def test_the_order_of_drugs_does_not_matter(name, drugs):
    patient = _patient(drugs=drugs)
    orders = tuple(DrugOrder(drug.ingredient, drug.drug_class, "order", 1.0) for drug in map(_drug, drugs))
    assert screen(_drug(name), replace(patient, in_force=orders)) == screen(_drug(name), patient)


@given(_DRUGS, st.text(max_size=60))
def test_any_allergy_list_can_be_screened(name, text):
    assert {caution.kind for caution in screen(_drug(name), _patient(text))} <= {"allergy", "cross_reaction"}
