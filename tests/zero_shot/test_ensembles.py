"""What is looked for in charts: the concepts that speak for a label, and what counts of a text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.knowledge.concepts import EVIDENCE_RELATIONS
from clinragen.zero_shot import described_labels, settings
from clinragen.zero_shot.areas import evaluate
from clinragen.zero_shot.described_labels import DescribedLabel
from clinragen.zero_shot.ensembles import LabelEnsemble
from clinragen.zero_shot.readings import without_denials
from clinragen.zero_shot.sentences import label_vectors, passages


@pytest.fixture(scope="module")
def of(graph, linker):
    return lambda label: LabelEnsemble.of(label, graph, linker, settings.load())


def test_each_name_is_in_each_template(of):
    one = of(DescribedLabel("copd", "COPD", ("chronic bronchitis",)))
    templates = settings.load().templates
    assert len(one.sentences) == 2 * len(templates)
    assert {template.replace("{}", "COPD") for template in templates} < set(one.sentences)


def test_what_points_to_a_concept_speaks_for_it_by_its_weight(of, graph):
    ties = of(DescribedLabel("lungs", "pneumonia")).ties
    assert ties["phenotype:pneumonia"] == (1.0, "is", "phenotype:pneumonia")
    for link in graph.into("phenotype:pneumonia", EVIDENCE_RELATIONS):
        assert ties[link.node].strength >= link.weight * EVIDENCE_RELATIONS[link.relation]
    assert all(0 < tie.strength <= 1 for tie in ties.values())


def test_a_description_names_signs_and_denies_others(of):
    one = of(DescribedLabel("odd", "odd illness", description="Fever and cough, without hemoptysis."))
    assert one.ties["symptom:cough"] == (0.5, "named", "symptom:cough")
    assert "symptom:hemoptysis" not in one.ties
    assert "hemoptysis" not in one.text


def test_a_label_as_a_note_says_what_speaks_for_it_and_not_what_is_denied(of, graph):
    one = of(DescribedLabel("lungs", "pneumonia", description="Rusty sputum without hemoptysis."))
    assert one.as_note.startswith("pneumonia. Rusty sputum")
    assert graph.name("symptom:cough") in one.as_note
    assert "hemoptysis" not in one.as_note.split(". ")[1]


def test_a_name_that_is_a_finding_is_looked_for_in_the_series(of):
    assert of(DescribedLabel("k", "hyperkalemia")).ties["finding:potassium:high"].strength == 1


def test_labels_of_a_label_set_have_the_conditions_of_their_codes(of):
    labels = {label.key: label for label in described_labels.read("icd_chapters")}
    circulatory, neoplasms = of(labels["circulatory"]), of(labels["neoplasms"])
    assert circulatory.ties["phenotype:congestive_heart_failure"].relation == "is"
    assert circulatory.ties["disease:atrial_fibrillation"].relation == "is"
    assert "phenotype:pneumonia" not in [node for node, tie in circulatory.ties.items() if tie.relation == "is"]
    assert "carcinoma" in neoplasms.text.lower()  # by the titles of its codes alone


def test_denied_and_open_concepts_leave_blanks(linker):
    text = "Fever since Monday. Denies chest pain, photophobia or cough. Mother had a stroke. Cough but no dyspnea."
    shown = without_denials(text, "history_of_present_illness", linker)
    assert len(shown) == len(text)
    assert "Fever since Monday" in shown
    for word in ("chest pain", "photophobia", "stroke", "dyspnea"):
        assert word not in shown
    assert shown.rstrip(" .").endswith("Cough but no")


@given(
    st.lists(st.sampled_from(["Fever. ", "No cough. ", "dyspnea\n", "denies ", "rash, ", "\n\n", "é "]), max_size=12)
)
def test_blanks_keep_every_offset(linker, parts):
    text = "".join(parts)
    shown = without_denials(text, "plan", linker)
    assert len(shown) == len(text)
    assert all(one in (other, " ") for one, other in zip(shown, text, strict=True))


def test_passages_are_short_and_say_something():
    note = [("plan", f"{'word ' * 90}.\n--\nCough; rash")]
    cut = passages(note)
    assert [len(passage.split()) for passage in cut] == [40, 40, 11, 1, 1]


def test_a_label_vector_is_what_its_names_add_to_the_templates(of):
    ensembles = [of(DescribedLabel(name, name)) for name in ("pneumonia", "sepsis")]

    def encode(sentences):
        return np.array([[len(s), "pneumonia" in s, "sepsis" in s] for s in sentences], dtype=float)

    vectors = label_vectors(ensembles, settings.load().templates, encode)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors[0, 1] > 0 == vectors[0, 2]
    assert vectors[1, 2] > 0 == vectors[1, 1]


def test_areas_count_labels_with_enough_stays():
    gold = np.zeros((20, 2), dtype=bool)
    gold[:6, 0], gold[:2, 1] = True, True
    found = evaluate(gold, {"score": gold.astype(float)}, np.arange(20), ["often", "seldom"])
    assert found["labels_counted"] == 1
    assert found["macro_auroc"]["score"]["value"] == 1
    assert found["labels"]["seldom"]["score"]["value"] == 1
