"""A phenotype is found by its key, name, published name or synonym, in any case, wherever one is named."""

from pathlib import Path

import pytest

from clinragen import catalog, label_sets
from clinragen.errors import UserError
from clinragen.knowledge.graph import build
from clinragen.knowledge.relabel import relabel
from clinragen.label_sets import Phenotype

#: As the benchmark of MIMIC-III and its paper print them (Harutyunyan et al. 2019), by their CCS category.
PUBLISHED = {
    2: ["Septicemia (except in labor)"],
    49: ["Diabetes mellitus without complication"],
    50: ["Diabetes mellitus with complications"],
    53: ["Disorders of lipid metabolism"],
    55: ["Fluid and electrolyte disorders"],
    98: ["Essential hypertension"],
    99: ["Hypertension with complications and secondary hypertension", "Hypertension with complications"],
    100: ["Acute myocardial infarction"],
    101: ["Coronary atherosclerosis and other heart disease", "Coronary atherosclerosis and related"],
    105: ["Conduction disorders"],
    106: ["Cardiac dysrhythmias"],
    108: ["Congestive heart failure; nonhypertensive"],
    109: ["Acute cerebrovascular disease"],
    122: ["Pneumonia (except that caused by tuberculosis or sexually transmitted disease)", "Pneumonia"],
    127: ["Chronic obstructive pulmonary disease and bronchiectasis", "Chronic obstructive pulmonary disease"],
    130: ["Pleurisy; pneumothorax; pulmonary collapse"],
    131: ["Respiratory failure; insufficiency; arrest (adult)", "Respiratory failure"],
    133: ["Other lower respiratory disease"],
    134: ["Other upper respiratory disease"],
    151: ["Other liver diseases"],
    153: ["Gastrointestinal hemorrhage"],
    157: ["Acute and unspecified renal failure"],
    158: ["Chronic kidney disease"],
    238: ["Complications of surgical procedures or medical care", "Complications of surgical/medical care"],
    249: ["Shock"],
}


@pytest.mark.parametrize(("ccs", "name"), [(ccs, name) for ccs, names in PUBLISHED.items() for name in names])
def test_a_published_name_is_that_of_one_phenotype(ccs, name):
    for form in (name, name.upper(), f"  {name.lower()} "):
        assert catalog.phenotype(form).ccs == (ccs,)


@pytest.mark.parametrize("key", list(label_sets.shipped()))
def test_keys_and_names_are_found_in_any_case(key):
    name = label_sets.shipped()[key].name
    for form in (key, key.upper(), key.replace("_", " "), key.replace("_", "-"), name, name.title()):
        assert catalog.phenotype(form).key == key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("AKI", "acute_renal_failure"),
        ("aki", "acute_renal_failure"),
        ("stroke", "acute_cerebrovascular_disease"),
        ("CHF", "congestive_heart_failure"),
        ("heart failure", "congestive_heart_failure"),
        ("heart attack", "acute_myocardial_infarction"),
        ("sepsis", "septicemia"),
        ("COPD exacerbation", "copd"),
        ("pleurisy pneumothorax pulmonary collapse", "pleurisy_pneumothorax"),
    ],
)
def test_synonyms_are_found(name, key):
    assert catalog.phenotype(name).key == key


@pytest.mark.parametrize(
    ("name", "near"), [("septicema", "septicemia"), ("acute renal failre", "acute_renal_failure"), ("shok", "shock")]
)
def test_what_is_not_found_is_told_with_the_nearest(name, near):
    with pytest.raises(UserError, match=rf"did you mean '{near}'"):
        catalog.phenotype(name)


@pytest.mark.parametrize("name", ["", "  ", "xyzzy", "\x00", "a" * 100_000, "(((", "\u202exyzzy"])
def test_what_no_label_is_called_is_one_short_line(name):
    with pytest.raises(UserError) as caught:
        catalog.phenotype(name)
    assert len(str(caught.value)) < 2000
    assert str(caught.value).isprintable()


def test_in_another_label_set_only_its_own_labels_are_found():
    lungs = Phenotype("lungs", "disease of the lungs", published=("Respiratory system",))
    own = label_sets.LabelSet("own", (lungs, label_sets.shipped()["shock"]))
    assert own.find("Disease of the Lungs").key == "lungs"
    assert own.find("respiratory SYSTEM").key == "lungs"
    assert own.find("Shock").key == "shock"
    with pytest.raises(UserError, match="unknown phenotype 'septicemia'"):
        own.find("septicemia")


def test_a_model_of_other_labels_is_refused():
    own = label_sets.shipped()
    own.check_same(own.names, Path("run"))
    for change in (lambda names: names[1:], lambda names: names[::-1], lambda names: [("gout", "gout"), *names[1:]]):
        with pytest.raises(UserError, match="run was trained on another label set"):
            own.check_same(dict(change(list(own.names.items()))), Path("run"))


def test_label_sets_are_values():
    one, other = (label_sets.LabelSet(name, tuple(label_sets.shipped().values())) for name in ("one", "other"))
    assert one == other == label_sets.shipped()
    assert hash(one) == hash(other)
    assert label_sets.LabelSet("turned", tuple(reversed(one.labels))) != one
    with pytest.raises(AttributeError):
        one.name = "else"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["Acute and unspecified renal failure", "PLEURISY; PNEUMOTHORAX; PULMONARY COLLAPSE"])
def test_the_graph_knows_published_names(name):
    graph = build()
    assert graph.find(name) == f"phenotype:{catalog.phenotype(name).key}"
    others = relabel(graph, label_sets.LabelSet("own", (Phenotype("lungs", "disease of the lungs"),)))
    assert others.find(name) == f"disease:{catalog.phenotype(name).key}"
    with pytest.raises(UserError, match=f"unknown concept .*{name.casefold()}"):
        graph.find(name[:-1])
    with pytest.raises(UserError, match="unknown concept"):
        graph.find("no such thing at all" * 9999)


def test_a_label_file_may_name_phenotypes(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("labels: [Septicemia (except in labor), shock, AKI]\n")
    assert list(label_sets.load(str(path)).values()) == [
        label_sets.shipped()[key] for key in ("septicemia", "shock", "acute_renal_failure")
    ]
    path.write_text("labels: [shock, Shock]\n")
    with pytest.raises(UserError, match=r"mine\.yaml: labels\.1: .*shock.* twice"):
        label_sets.load(str(path))
    path.write_text("labels: [shok]\n")
    with pytest.raises(UserError, match=r"mine\.yaml: labels\.0: .*did you mean 'shock'"):
        label_sets.load(str(path))
    path.write_text("labels: [shock, 5]\n")
    with pytest.raises(UserError, match=r"mine\.yaml: labels\.1: expected the name of a phenotype"):
        label_sets.load(str(path))


def test_a_published_name_stays_with_the_cohort_and_old_manifests_are_read(tmp_path):
    manifest = {"label_set": label_sets.shipped().to_json()}
    assert label_sets.of_manifest(manifest) == label_sets.shipped()
    for row in manifest["label_set"]["labels"]:
        row.pop("published")
    old = label_sets.of_manifest(manifest)
    assert old == label_sets.shipped()
    assert old.find("Acute and unspecified renal failure").key == "acute_renal_failure"


@pytest.mark.parametrize(
    "labels", [5, "x", [], {"a": 1}, [1], [{"key": []}], [{"key": "a"}], [{"key": "a", "name": {}}],
               [{"key": "a", "name": "a", "nonsense": 1}], [None], [{"key": "a", "name": "a", "ccs": "x"}],
               [{"key": "a", "name": "a"}, {"key": "a", "name": "b"}]]
)  # fmt: skip
def test_a_damaged_label_set_of_a_manifest_is_one_line(labels):
    with pytest.raises(UserError, match="label_set is damaged"):
        label_sets.of_manifest({"label_set": {"name": "x", "labels": labels}})


@pytest.mark.parametrize("labels", [None, 5, [], {}, {"shock": 1}, {"shock": None}, ["shock"]])
def test_a_damaged_label_set_of_a_model_is_one_line(tmp_path, labels):
    import json

    path = tmp_path / "clinragen.json"
    path.write_text(json.dumps({"labels": labels}))
    with pytest.raises(UserError, match=r"clinragen\.json: labels is damaged"):
        label_sets.of_model(path)
