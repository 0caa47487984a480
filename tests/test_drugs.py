"""What raw drug names of orders are mapped to: hand-labelled names, rules of form and route, and faults of the data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clinragen import drugs
from clinragen.drugs import Drug, drug_classes, drug_of, drugs_by_code, drugs_digest, drugs_of
from clinragen.errors import UserError

LABELLED = Path(__file__).parent / "data" / "drug_names.tsv"
ROOT = Path(__file__).parents[1]
#: words of names of drugs, and of forms, doses and rules
VOCABULARY = sorted(
    {word for group in drugs._lexicon().names.values() for words, _ in group for word in words}
    | drugs._lexicon().fillers
    | {phrase.strip() for rule in drugs._lexicon().rules for phrase in rule.words}
)


def labelled(half: str) -> list[tuple[str, Drug | None]]:
    lines = [line.split("\t") for line in LABELLED.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    return [
        (row["name"], Drug(row["ingredient"], row["class"]) if row["class"] else None)
        for row in rows
        if row["half"] == half
    ]


@pytest.mark.parametrize("half", ["seen", "aside"])
def test_names_labelled_by_hand(half):
    names = labelled(half)
    assert len(names) == 150
    wrong = {name: (drug_of(name), drug) for name, drug in names if drug_of(name) != drug}
    for name, (mapped, drug) in wrong.items():
        print(f"{name}: {mapped}, labelled {drug}")
    assert len(wrong) <= 0.05 * len(names)


def test_labels_are_classes_of_orders():
    assert {drug.drug_class for half in ("seen", "aside") for _, drug in labelled(half) if drug} <= set(drug_classes())


@pytest.mark.parametrize(
    ("name", "ingredient", "drug_class"),
    [
        ("HEPARIN SOD (PORCINE)", "heparin", "sc_heparin"),
        ("heparin 5,000 unit/mL SC", "heparin", "sc_heparin"),
        ("Heparin 25,000 units in D5W 250 mL", "heparin", "parenteral_antithrombotic"),
        ("heparin gtt", "heparin", "parenteral_antithrombotic"),
        ("heparin (PF) 10 unit/mL IV syringe : 5 mL", "heparin", "line_flush"),
        ("Lidocaine 5% patch", "lidocaine", "local_anaesthetic"),
        ("lidocaine drip 2 mg/min", "lidocaine", "antiarrhythmic"),
        ("dexamethasone 0.1 % ophth susp", "dexamethasone", "eye_ear"),
        ("DEXAMETHASONE SODIUM PHOSPHATE 4 MG/ML IJ SOLN", "dexamethasone", "systemic_steroid"),
        ("budesonide 0.5 mg neb", "budesonide", "inhaled_steroid"),
        ("budesonide EC 3 mg PO CPEP", "budesonide", "gi_other"),
        ("fluticasone HFA 110 mcg", "fluticasone", "inhaled_steroid"),
        ("Flonase", "fluticasone", "nasal"),
        ("ciprofloxacin 400 mg in D5W 200 mL", "ciprofloxacin", "fluoroquinolone"),
        ("atorvastatin calcium", "atorvastatin", "statin"),
        ("penicillin G potassium", "penicillin G", "penicillin"),
        ("potassium chloride 20 mEq in 100 mL SW", "potassium chloride", "potassium"),
        ("D5 1/2NS + KCl 20 mEq/L", "fluid with potassium", "maintenance_fluid"),
        ("Ringer's Lactate 1 L", "lactated ringer's", "iv_fluid"),
        ("multivitamin with iron and vitamin K", "multivitamin", "vitamin_mineral"),
        ("Insulin human regular", "regular insulin", "insulin"),
        ("hep B vaccine", "hepatitis B vaccine", "vaccine"),
        ("acetaminophen / oxycodone 325-5", "oxycodone-acetaminophen", "opioid"),
        ("Flagyl + furosemide", "furosemide-metronidazole", "anaerobe_antibiotic"),
        ("glucose 500 MG/ML Prefilled Syringe", "dextrose 50%", "hypoglycemia_rescue"),
        ("insulin lispro 25 / insulin lispro protamine 75 UNT/ML", "insulin lispro protamine-lispro", "insulin"),
        ("triamcinolone acetonide 40 MG/ML Injectable Suspension", "triamcinolone", "systemic_steroid"),
        ("NS 1 L per sepsis bundle", "sodium chloride 0.9%", "iv_fluid"),
        ("mometasone 50 mcg nasal inhaler", "mometasone", "nasal"),
        ("Heparin Sodium IV", "heparin", "parenteral_antithrombotic"),
        ("Vancocin Oral", "vancomycin", "gut_antibiotic"),
        ("Sodium phosphate INTRAVEN", "sodium phosphate", "phosphate"),
        ("potassium chloride 40 mEq in NS 250 mL", "potassium chloride", "potassium"),
        ("NS with potassium chloride 40 mEq", "fluid with potassium", "maintenance_fluid"),
        ("Insulin 100 units in NS 100 mL", "insulin", "insulin"),
        ("Heparin 25,000 units", "heparin", "parenteral_antithrombotic"),
        (".45% NaCl", "sodium chloride 0.45%", "maintenance_fluid"),
        ("NaCl 0.450 %", "sodium chloride 0.45%", "maintenance_fluid"),
        ("DEXTROSE 5 %-NACL 0.45 %", "dextrose-sodium chloride", "maintenance_fluid"),
        ("Goodys powder", "acetaminophen-aspirin-caffeine", "non_opioid_analgesic"),
        ("Goody's powder", "acetaminophen-aspirin-caffeine", "non_opioid_analgesic"),
        ("\uff2c\uff41\uff53\uff49\uff58 40", "furosemide", "loop_diuretic"),  # letters of East Asian width
        ("fluticasone (Flovent)", "fluticasone", "inhaled_steroid"),
        ("Flonase 50 mcg inhaler", "fluticasone", "nasal"),
        ("Unasyn 3 g (ampicillin 2 g)", "ampicillin-sulbactam", "penicillin"),
        ("acetaminophen / chlorpheniramine", "acetaminophen-chlorpheniramine", "non_opioid_analgesic"),
        ("acetaminophen / phenylephrine", "cold remedy", "cough_mucus"),
        ("Insulin syringe 1 mL", "supply", "supply"),
        ("Syringe", "supply", "supply"),
    ],
)
def test_form_and_route_decide_where_the_drug_alone_does_not(name, ingredient, drug_class):
    assert drug_of(name) == Drug(ingredient, drug_class)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "5 mg",
        "%",
        "see comments",
        "studydrug 5 mg in NS 100 mL",
        "zzzate potassium",
        "hydralazyne",
        "INH soln",
        "CTX 1 g",
    ],
)
def test_what_is_not_listed_has_no_drug(name):
    assert drug_of(name) is None


@given(st.text())
def test_every_text_has_an_answer_of_a_listed_class(text):
    drug = drug_of(text)
    assert drug == drug_of(text)
    assert drug is None or (drug.ingredient and drug.drug_class in drug_classes())


@given(st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join))
def test_every_order_of_the_words_of_names_has_an_answer_of_a_listed_class(text):
    drug = drug_of(text)
    assert drug == drug_of(text.upper())
    assert drug is None or (drug.ingredient and drug.drug_class in drug_classes())


@given(
    st.sampled_from(["furosemide", "Zosyn", "hydroxyzine", "hydralazine", "amoxicillin-clavulanate", "norepinephrine"]),
    st.sampled_from(
        ["{}", "1 EACH VIAL : {}", "{} HCL (PF)", "<<{}", "*NF* {}", "{} 5 MG/5ML IV SOLN", "{} sodium PRN"]
    ),
    st.sampled_from([str, str.upper, str.title, lambda name: name.replace("-", " / ")]),
)
def test_case_punctuation_dose_form_and_salt_do_not_matter(name, pattern, spell):
    assert drug_of(pattern.format(spell(name))) == drug_of(name)


def test_each_listed_spelling_alone_is_its_drug():
    entries = {" ".join(words): entry for group in drugs._lexicon().names.values() for words, entry in group}
    assert len(entries) > 5000
    mapped = drugs_of(list(entries))
    wrong = {
        name: mapped[name]
        for name, entry in entries.items()
        if mapped[name] != Drug(entry.ingredient, entry.drug_class)
    }
    assert not wrong


def test_every_class_of_the_graph_has_its_name_and_is_there_unless_its_drugs_moved():
    curated = yaml.safe_load((ROOT / "configs" / "knowledge" / "drugs.yaml").read_text(encoding="utf-8"))["classes"]
    classes = drug_classes()
    assert set(curated) - set(classes) == {"cap_antibiotic", "broad_antibiotic", "diabetic_complication_drug"}
    renamed = {key for key, entry in curated.items() if key in classes and classes[key] != entry["name"]}
    assert renamed == {"iv_fluid", "electrolyte_therapy", "cerebral_vasospasm"}
    members = {drug_of(key) for entry in curated.values() for key in entry["members"]}
    assert None not in members


def test_a_code_has_the_drug_of_most_of_its_named_rows():
    rows = [(1, "heparin 5000 units"), (1, "heparin flush"), (1, "heparin SC"), (1, "not a drug")]
    rows += [(2, "aspirin"), (2, "warfarin"), (3, "not a drug"), ("4", "Lasix")]
    assert drugs_by_code(rows) == {1: Drug("heparin", "sc_heparin"), "4": Drug("furosemide", "loop_diuretic")}


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Replace a text of the data file by another, for the rest of a test."""

    def edit(old: str, new: str) -> None:
        text = (ROOT / "configs" / "concepts" / "drug_classes.yaml").read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "drug_classes.yaml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        monkeypatch.setattr(drugs, "_ORDERS", path)
        drugs._lexicon.cache_clear()
        drugs_digest.cache_clear()

    yield edit
    monkeypatch.undo()
    drugs._lexicon.cache_clear()
    drugs_digest.cache_clear()


def test_the_digest_is_of_the_content_without_comments(edited):
    digest = drugs_digest()
    edited("classes:\n", "# one more comment\nclasses:\n")
    assert drugs_digest() == digest
    edited("classes:\n", "classes:\n  biguanide: {}\n")  # the same, in another order of classes
    assert drugs_digest() != digest
    edited("[Diflucan]", "[Diflucan, Diflukan]")
    assert drugs_digest() != digest
    assert drug_of("diflukan 100 mg") == Drug("fluconazole", "antifungal")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[Diflucan]", "[Diflucan, Lasix, Vfend]", "'Vfend' names both fluconazole and voriconazole"),
        (
            "fluconazole: [Diflucan]",
            "furosemide: [Diflucan]",
            "'furosemide' is in classes loop_diuretic and antifungal",
        ),
        ("to: glycopeptide,", "to: glycopeptid,", "'vancomycin' is in classes glycopeptid and glycopeptide"),
        ("drugs: [budesonide], words: [nasal", "drugs: [budesonid], words: [nasal", "drug 'budesonid' is not defined"),
        ("to: lama}", "to: lamas}", "class 'lamas' is not defined"),
        ("    name: opioid\n", "", "class 'opioid' has no name"),
    ],
)
def test_a_fault_of_the_data_is_told_in_one_line(edited, old, new, message):
    edited(old, new)
    with pytest.raises(UserError, match=message):
        drug_of("aspirin")
