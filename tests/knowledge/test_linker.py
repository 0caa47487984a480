"""Text to concepts: hand-written sentences, offsets, contexts and speed."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clinragen.knowledge.context import shorthand
from clinragen.knowledge.graph import ConceptGraph, build
from clinragen.knowledge.linker import Linker, tokens

SENTENCES = yaml.safe_load((Path(__file__).parent / "linker_sentences.yaml").read_text())["sentences"]
GRAPH = build()
LINKER = Linker(GRAPH)


def scores(rows: list[dict]) -> tuple[float, float]:
    """Precision and recall over (concept, context)."""
    hit = found = wanted = 0
    for row in rows:
        got = {(mention.concept, mention.context) for mention in LINKER.link(row["s"])}
        gold = set((row["m"] or {}).items())
        hit, found, wanted = hit + len(got & gold), found + len(got), wanted + len(gold)
    return hit / found, hit / wanted


def test_precision_and_recall_on_hand_written_sentences():
    assert len(SENTENCES) >= 200
    precision, recall = scores(SENTENCES)
    assert precision >= 0.90
    assert recall >= 0.90


@pytest.mark.parametrize("part", [True, "second", "third", "fourth", "fifth"])
def test_precision_and_recall_on_the_sentences_held_aside(part):
    rows = [row for row in SENTENCES if row.get("held") == part]
    assert len(rows) >= 50
    precision, recall = scores(rows)
    assert precision >= 0.90
    assert recall >= 0.90


def test_the_sentences_name_concepts_of_the_graph():
    for row in SENTENCES:
        for concept in row["m"] or {}:
            assert concept in GRAPH.graph, concept


def contexts(text: str, section: str | None = None) -> dict[str, str]:
    return {mention.concept: mention.context for mention in LINKER.link(text, section)}


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("Swelling of both ankles", "symptom:peripheral_edema"),
        ("Weakness of the R arm", "symptom:hemiparesis"),
        ("Haematemesis and oedema", "symptom:hematemesis"),
        ("Anaemia", "finding:hemoglobin:low"),
    ],
)
def test_sides_possessives_and_british_spelling_are_matched(text, concept):
    assert contexts(text)[concept] == "affirmed"


def test_the_cath_lab_is_a_room():
    assert contexts("Taken to the cath lab") == {}


def test_a_year_makes_history():
    assert contexts("Stroke in 2009") == {"phenotype:acute_cerebrovascular_disease": "historical"}


def test_longest_match_wins():
    assert list(contexts("acute kidney injury")) == ["phenotype:acute_renal_failure"]
    assert list(contexts("hypoxic respiratory failure")) == ["disease:hypoxic_respiratory_failure"]
    assert list(contexts("ST-elevation myocardial infarction")) == ["disease:stemi"]


def test_offsets_are_those_of_the_text_as_given():
    text = "Ünwohl – déjà vu.\n\nÉtat: denies   CHEST PAIN;\n- Shortness of\nbreath İ"
    found = {text[mention.start : mention.end] for mention in LINKER.link(text)}
    assert found == {"CHEST PAIN", "Shortness of\nbreath"}


def test_a_wrapped_line_is_one_sentence_and_a_list_is_many():
    assert contexts("Denies chest pain,\nfever and chills")["symptom:chills"] == "negated"
    assert contexts("- no chest pain\n- fever")["finding:temperature:high"] == "affirmed"
    assert contexts("1. no chest pain\n2. fever")["finding:temperature:high"] == "affirmed"


def test_sentence_span_surrounds_the_mention():
    text = "He is well. No fever today. Cough."
    fever = LINKER.link(text)[0]
    assert text[fever.sentence[0] : fever.sentence[1]].strip() == "No fever today"


def test_section_gives_the_context_of_unmarked_mentions():
    assert contexts("CAD", "past_medical_history") == {"phenotype:coronary_atherosclerosis": "historical"}
    assert contexts("stroke", "family_history") == {"phenotype:acute_cerebrovascular_disease": "family"}
    assert contexts("no CAD", "past_medical_history") == {"phenotype:coronary_atherosclerosis": "negated"}


def test_exact_case_forms_match_only_so():
    assert contexts("AF on warfarin") == {"disease:atrial_fibrillation": "affirmed", "drug:warfarin": "affirmed"}
    assert "disease:atrial_fibrillation" not in contexts("as far af we know")


def test_decimal_and_abbreviation_do_not_end_a_sentence():
    assert contexts("No fever with T 37.1 or cough")["symptom:cough"] == "negated"
    assert contexts("Denies fever per Dr. Smith and cough")["symptom:cough"] == "negated"
    assert contexts("A. fib. C. diff colitis.") == {
        "disease:atrial_fibrillation": "affirmed",
        "disease:abdominal_infection": "affirmed",
    }


def test_every_name_and_synonym_links_to_its_own_concept():
    for node, data in GRAPH.nodes(data=True):
        if data["kind"] == "variable" or data["direction"] in ("rising", "falling"):
            continue
        for form in (data["name"], *data["synonyms"]):
            text = form.lstrip("=")
            assert [mention.concept for mention in LINKER.link(text)] == [node], (node, form)


@given(st.text(max_size=300))
def test_any_text_gives_ordered_mentions_within_it(text):
    end = 0
    for mention in LINKER.link(text):
        assert end <= mention.start < mention.end <= len(text)
        assert mention.sentence[0] <= mention.start
        assert mention.end <= mention.sentence[1]
        end = mention.end


@given(st.lists(st.sampled_from([row["s"] for row in SENTENCES]), min_size=1, max_size=5))
def test_sentences_apart_link_as_they_do_alone(parts):
    alone = [(m.concept, m.context) for part in parts for m in LINKER.link(part)]
    together = [(m.concept, m.context) for m in LINKER.link("\n\n".join(parts))]
    assert together == alone


def test_a_graph_without_variables_links_all_the_same():
    bare = ConceptGraph(GRAPH.graph.subgraph([n for n in GRAPH.nodes if not n.startswith("variable:")]), {})
    assert [m.concept for m in Linker(bare).link("fever")] == ["finding:temperature:high"]


def test_time_grows_with_the_text_and_no_faster():
    """How fast it is on a machine, ``benchmarks/linker_speed.py`` prints."""
    text = "\n\n".join(row["s"] for row in SENTENCES)
    LINKER.link(text)

    def seconds(times: int) -> float:
        began = time.process_time()
        LINKER.link(text * times)
        return time.process_time() - began

    assert min(seconds(32) for _ in range(2)) < 2 * 4 * min(seconds(8) for _ in range(3))


def test_each_part_of_a_shorthand_is_a_mention_of_its_own():
    text = "Lungs: no w/r/r, no m/r/g"
    assert [(text[m.start : m.end], m.concept, m.context) for m in LINKER.link(text)] == [
        ("w", "symptom:wheeze", "negated"),
        ("r", "symptom:rhonchi", "negated"),
        ("r", "symptom:crackles", "negated"),
        ("m", "symptom:murmur", "negated"),
    ]


def test_shorthand_names_concepts_of_the_graph():
    for form, concepts in shorthand().items():
        assert len(form.split("/")) == len(concepts)
        assert all(concept is None or concept in GRAPH.graph for concept in concepts), form


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", "...", "no", "denies", ", , ,"])
def test_text_without_concepts(text):
    assert LINKER.link(text) == []


def test_tokens_split_as_documented():
    assert tokens("T-wave 1.5, h/o") == ["t", "wave", "1.5", ",", "h", "/", "o"]
