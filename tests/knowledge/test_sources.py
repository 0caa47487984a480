"""External sources: read from the user's folder, merged with provenance, and clear about what is wrong."""

import gzip
import json
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pytest

from clinragen.artifacts import write_table
from clinragen.catalog import phenotypes
from clinragen.errors import UserError
from clinragen.knowledge.graph import build
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.sources import curated, external
from clinragen.schema import SERIES, STAYS, labels_schema

CORE = build()


def with_source(name, folder):
    return build([curated.contribute(), external.contribute(name, folder, CORE.index)])


def test_hpo_adds_synonyms_that_the_linker_then_finds(tmp_path):
    obo = (
        "data-version: hp/releases/2025-01-16\n\n[Term]\nid: HP:0002094\nname: Dyspnea\n"
        'synonym: "Panting heavily" EXACT layperson []\nsynonym: "Gasp" RELATED []\nsynonym: "Cough" EXACT []\n'
    )
    with gzip.open(tmp_path / "hp.obo.gz", "wt") as handle:
        handle.write(obo)
    graph = with_source("hpo", tmp_path)
    assert "panting heavily" in graph.nodes["symptom:dyspnea"]["synonyms"]
    assert "gasp" not in graph.nodes["symptom:dyspnea"]["synonyms"]
    assert [mention.concept for mention in Linker(graph).link("cough, panting heavily")] == [
        "symptom:cough",
        "symptom:dyspnea",
    ]
    assert graph.manifest["sources"]["hpo"]["version"] == "hp/releases/2025-01-16"


def test_hetionet_adds_edges_and_drugs_of_known_diseases(tmp_path):
    (tmp_path / "hetionet_v1.0_clinical_edges.tsv").write_text(
        "source\tmetaedge\ttarget\tsource_name\ttarget_name\n"
        "Disease::1\tDpS\tSymptom::1\tcoronary artery disease\tChest Pain\n"
        "Disease::2\tDpS\tSymptom::1\tgerm cell cancer\tChest Pain\n"
        "Compound::DB01118\tCtD\tDisease::3\tAmiodarone\tatrial fibrillation\n"
        "Compound::DB99999\tCtD\tDisease::1\tNovelumab\tcoronary artery disease\n"
    )
    graph = with_source("hetionet", tmp_path)
    new = [(h, t, d["relation"]) for h, t, d in graph.graph.edges(data=True) if d["origin"] == "hetionet"]
    assert ("symptom:chest_pain", "phenotype:coronary_atherosclerosis", "suggests") in new
    assert ("drug:amiodarone", "disease:atrial_fibrillation", "treats") in new
    assert graph.nodes["drug:novelumab"]["identifiers"] == {"DrugBank": "DB99999"}
    assert len(new) == 3
    assert "hetionet" in graph.manifest["citations"]


def test_rotmensch_adds_weighted_edges(tmp_path):
    (tmp_path / "DerivedKnowledgeGraph_final.csv").write_text(
        'Diseases,Symptoms\npneumonia,"cough (0.412), fever (0.301), moon (0.5)"\nunknownitis,"cough (0.9)"\n'
    )
    graph = with_source("rotmensch", tmp_path)
    weights = {h: d["weight"] for h, _, d in graph.graph.edges(data=True) if d["origin"] == "rotmensch"}
    assert weights == {"symptom:cough": 0.412, "finding:temperature:high": 0.301}


OBO = "data-version: releases/1\n\n"


def term(key: str, name: str, *lines: str) -> str:
    return "\n".join(["[Term]", f"id: {key}", f"name: {name}", *lines, ""]) + "\n"


def edges_of(graph, origin):
    return {(h, t, d["relation"]): d for h, t, d in graph.graph.edges(data=True) if d["origin"] == origin}


def test_hpoa_adds_signs_that_go_with_a_phenotype_more_than_chance_has_it(tmp_path):
    terms = [
        term("HP:0000118", "Phenotypic abnormality"),
        term("HP:0002090", "Pneumonia", "is_a: HP:0000118 ! x"),
        term("HP:0011951", "Aspiration pneumonia", "is_a: HP:0002090 ! x"),
        term("HP:0012735", "Cough", "is_a: HP:0000118 ! x"),
        term("HP:0002315", "Headache", "is_a: HP:0000118 ! x"),
    ]
    (tmp_path / "hp.obo").write_text(OBO + "\n".join(terms))
    rows = ["#version: 1", "database_id\tqualifier\thpo_id\taspect"]
    for number in range(400):
        disease = f"OMIM:{number}"
        if number < 30:  # coughs go with a kind of pneumonia
            rows += [f"{disease}\t\tHP:0011951\tP", f"{disease}\t\tHP:0012735\tP"]
        elif number < 60:
            rows.append(f"{disease}\tNOT\tHP:0002090\tP")
        rows.append(f"{disease}\t\tHP:0002315\tP")  # everybody has a headache
    (tmp_path / "phenotype.hpoa").write_text("\n".join(rows) + "\n")
    found = edges_of(with_source("hpoa", tmp_path), "hpoa")
    assert list(found) == [("symptom:cough", "phenotype:pneumonia", "associated_with")]
    assert (
        "30 of 400 diseases, 2.2 expected"
        in found["symptom:cough", "phenotype:pneumonia", "associated_with"]["evidence"]
    )


def test_loinc2hpo_ties_results_to_findings(tmp_path):
    (tmp_path / "loinc2hpo-annotations.tsv").write_text(
        "loincId\tloincScale\toutcome\thpoTermId\n"
        "2160-0\tQn\tH\tHP:0003259\n2160-0\tQn\tN\tHP:0012100\n9999-9\tQn\tH\tHP:0001945\n"
    )
    assert list(edges_of(with_source("loinc2hpo", tmp_path), "loinc2hpo")) == [
        ("variable:creatinine", "finding:creatinine:high", "measures")
    ]


def test_icd_ccs_needs_no_folder_and_hangs_codes_below_their_phenotype():
    graph = with_source("icd_ccs", None)
    added = edges_of(graph, "icd_ccs")
    assert len(added) > 2000
    assert ("disease:icd9_4820", "phenotype:pneumonia", "is_a") in added
    assert ("disease:atrial_fibrillation", "phenotype:cardiac_dysrhythmias", "is_a") in added
    assert graph.nodes["disease:icd9_4820"]["identifiers"] == {"ICD9": "482.0", "ICD10": "J15.0"}
    phenotypes = {tail for _, tail, _ in added}
    assert len(phenotypes) == 25
    assert [m.concept for m in Linker(graph).link("pneumonia")] == ["phenotype:pneumonia"]


def test_disease_ontology_adds_codes_and_narrower_diseases_from_either_form(tmp_path):
    (tmp_path / "doid.obo").write_text(
        OBO
        + term(
            "DOID:552", "pneumonia", 'synonym: "lung fever" EXACT []', "xref: MESH:D011014", "xref: UMLS_CUI:C0032285"
        )
        + term("DOID:1", "cat pneumonia", 'def: "Pneumonia of cats." [x]', "is_a: DOID:552 ! pneumonia")
        + term("DOID:2", "old pneumonia", "is_a: DOID:552 ! pneumonia", "is_obsolete: true")
        + term("DOID:3", "gout")
    )
    graph = with_source("disease_ontology", tmp_path)
    assert "lung fever" in graph.nodes["phenotype:pneumonia"]["synonyms"]
    assert graph.nodes["phenotype:pneumonia"]["identifiers"]["MESH"] == "D011014"
    assert graph.nodes["disease:doid_1"]["definition"] == "Pneumonia of cats."
    assert list(edges_of(graph, "disease_ontology")) == [("disease:doid_1", "phenotype:pneumonia", "is_a")]
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "HumanDO.tsv").write_text(
        "id\tlabel\tsubClassOf\nDOID:552\tpneumonia\t\nDOID:1\tcat pneumonia\tpneumonia\n"
    )
    (tables / "allXREFinDO.tsv").write_text("id\tlabel\txref\nDOID:552\tpneumonia\tMESH:D011014\n")
    other = with_source("disease_ontology", tables)
    assert other.nodes["phenotype:pneumonia"]["identifiers"]["MESH"] == "D011014"
    assert "disease:doid_1" in other.graph


def test_symptom_ontology_adds_synonyms(tmp_path):
    (tmp_path / "symp.obo").write_text(OBO + term("SYMP:1", "dyspnea", 'synonym: "air hunger" EXACT []'))
    graph = with_source("symptom_ontology", tmp_path / "symp.obo")  # the file itself may be named
    assert "air hunger" in graph.nodes["symptom:dyspnea"]["synonyms"]
    assert graph.nodes["symptom:dyspnea"]["identifiers"]["SYMP"] == "SYMP:1"


def test_pharmacotherapydb_adds_treatments_but_no_non_indications(tmp_path):
    (tmp_path / "indications.tsv").write_text(
        "doid_id\tdrugbank_id\tdisease\tdrug\tcategory\n"
        "DOID:3083\tDB1\tchronic obstructive pulmonary disease\tTiotropium\tDM\n"
        "DOID:3083\tDB2\tchronic obstructive pulmonary disease\tOldium\tSYM\n"
        "DOID:3083\tDB3\tchronic obstructive pulmonary disease\tWarfarin\tNOT\n"
    )
    graph = with_source("pharmacotherapydb", tmp_path)
    weights = {key[0]: data["weight"] for key, data in edges_of(graph, "pharmacotherapydb").items()}
    assert weights == {"drug:tiotropium": 0.6, "drug:oldium": 0.4}
    assert graph.nodes["drug:tiotropium"]["identifiers"]["DrugBank"] == "DB1"


def test_wikidata_joins_concepts_of_the_core(tmp_path):
    disease = {
        "DiseaseURI": "http://www.wikidata.org/entity/Q12192", "Disease": "pneumonia",
        "TreatmentDrugs": ["ceftriaxone", "x"],
        "Cause": ["influenza"], "Symptons": ["cough", "snoring"],
    }  # fmt: skip
    drug = {"MedicineURI": "http://www.wikidata.org/entity/Q1", "Medicine": "warfarin", "ConditionsTreated": ["stroke"]}
    (tmp_path / "WikiDiseaseData.jl").write_text(json.dumps(disease) + "\n")
    (tmp_path / "WikiMedicineData.jl").write_text(json.dumps(drug) + "\n")
    graph = with_source("wikidata", tmp_path)
    assert set(edges_of(graph, "wikidata")) == {
        ("symptom:cough", "phenotype:pneumonia", "suggests"),
        ("disease:influenza", "phenotype:pneumonia", "causes"),
        ("drug:ceftriaxone", "phenotype:pneumonia", "treats"),
        ("drug:warfarin", "phenotype:acute_cerebrovascular_disease", "treats"),
    }
    assert graph.nodes["phenotype:pneumonia"]["identifiers"]["Wikidata"] == "Q12192"


PRESENT = "disease_phenotype_positive,phenotype present"
PRIMEKG = "relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source\n"


def test_primekg_is_read_in_its_public_schema(tmp_path):
    (tmp_path / "kg.csv").write_text(
        PRIMEKG
        + f"{PRESENT},1,12735,effect/phenotype,Cough,HPO,2,5249,disease,pneumonia,MONDO\n"
        + f"{PRESENT},2,5249,disease,pneumonia,MONDO,1,12735,effect/phenotype,Cough,HPO\n"
        + "indication,indication,3,DB00001,drug,Newmycin,DrugBank,2,5249,disease,pneumonia,MONDO\n"
        + "contraindication,contraindication,4,DB00682,drug,Warfarin,DrugBank,2,5249,disease,pneumonia,MONDO\n"
        + "protein_protein,ppi,5,1,gene/protein,A,NCBI,6,2,gene/protein,B,NCBI\n"
    )
    graph = with_source("primekg", tmp_path)
    assert set(edges_of(graph, "primekg")) == {
        ("symptom:cough", "phenotype:pneumonia", "suggests"),
        ("drug:newmycin", "phenotype:pneumonia", "treats"),
    }
    assert graph.nodes["drug:newmycin"]["identifiers"] == {"DrugBank": "DB00001"}


def conso(cui, name, source="MTH", code="NOCODE", language="ENG", suppress="N"):
    return f"{cui}|{language}|P|L1|PF|S1|Y|A1||||{source}|PT|{code}|{name}|0|{suppress}||\n"


def rel(first, relation, second, source="MED-RT"):
    return f"{first}|A1|CUI|RO|{second}|A2|CUI|{relation}|R1||{source}|{source}|||N||\n"


def test_umls_is_read_from_rich_release_format(tmp_path):
    (tmp_path / "MRCONSO.RRF").write_text(
        conso("C1", "Pneumonia")
        + conso("C1", "Lung inflammation of alveoli", "SNOMEDCT_US", "233604007")
        + conso("C1", "Inflammation, lung alveoli", "SNOMEDCT_US", "233604007")
        + conso("C1", "Lungenfieber", language="GER")
        + conso("C1", "Hidden name", suppress="O")
        + conso("C2", "Azithromycin", "RXNORM", "18631")
        + conso("C3", "Something else", "HPO", "HP:0012735")
        + conso("C4", "Fever")
    )
    (tmp_path / "MRSTY.RRF").write_text(
        "C1|T047|B2.2|Disease or Syndrome|AT1||\nC2|T121|A1|Pharmacologic Substance|AT2||\nC4|T047|B2|Disease|AT3||\n"
    )
    (tmp_path / "MRREL.RRF").write_text(
        rel("C1", "may_treat", "C2") + rel("C1", "manifestation_of", "C3", "SNOMEDCT_US") + rel("C2", "may_treat", "C1")
    )
    graph = with_source("umls", tmp_path)
    assert set(edges_of(graph, "umls")) == {
        ("drug:azithromycin", "phenotype:pneumonia", "treats"),  # the second concept of a row relates to the first
        ("symptom:cough", "phenotype:pneumonia", "suggests"),
    }
    codes = graph.nodes["phenotype:pneumonia"]["identifiers"]
    assert (codes["UMLS"], codes["SNOMEDCT"]) == ("C1", "233604007")
    assert graph.nodes["drug:azithromycin"]["identifiers"]["RxNorm"] == "18631"
    synonyms = graph.nodes["phenotype:pneumonia"]["synonyms"]
    assert "lung inflammation of alveoli" in synonyms
    assert not {"inflammation, lung alveoli", "lungenfieber", "hidden name"} & set(synonyms)


def test_mimic_code_adds_rxnorm_codes(tmp_path):
    (tmp_path / "inputevents_to_rxnorm.csv").write_text(
        "omop_concept_name,omop_vocabulary_id,omop_concept_class_id,omop_concept_code\n"
        "norepinephrine Injection,RxNorm,Clinical Drug Form,1745276\n"
        "fentanyl Injection,RxNorm,Clinical Drug Form,1735002\n"
    )
    graph = with_source("mimic_code", tmp_path)
    assert graph.nodes["drug:norepinephrine"]["identifiers"]["RxNorm"] == "1745276"


def cohort(folder, held_out_lactate: float):
    """120 stays: in the training split lactate is high with shock alone; the others are as told."""
    folder.mkdir()
    stays, series, labels = [], [], []
    for stay in range(120):
        train, shock = stay < 80, stay % 2 == 0
        when = datetime(2150, 1, 1)
        stays.append({
            "stay_id": stay, "subject_id": stay, "hadm_id": stay, "intime": when, "outtime": when,
            "prediction_time": when, "age": 60.0, "sex": "F", "split": "train" if train else "test",
        })  # fmt: skip
        value = (4.0 if shock else 1.0) if train else held_out_lactate
        series.append({"stay_id": stay, "hour": 0.0, "variable": "lactate", "value": value})
        series.append({"stay_id": stay, "hour": 0.0, "variable": "creatinine", "value": 3.0})
        labels.append({"stay_id": stay, **{key: key == "shock" and shock for key in phenotypes()}})
    for name, rows, schema in (
        ("stays", stays, STAYS), ("series", series, SERIES), ("labels", labels, labels_schema(list(phenotypes()))),
    ):  # fmt: skip
        write_table(folder / f"{name}.parquet", pa.Table.from_pylist(rows, schema))
    return folder


def test_a_cohort_teaches_edges_from_its_training_split_alone(tmp_path):
    found = edges_of(with_source("cohort", cohort(tmp_path / "a", 1.0)), "cohort")
    assert list(found) == [("finding:lactate:high", "phenotype:shock", "associated_with")]
    (edge,) = found.values()
    assert edge["evidence"] == "in 100% of 40 training stays with it, 0% of 40 without"
    assert edges_of(with_source("cohort", cohort(tmp_path / "b", 9.0)), "cohort") == found


def test_a_source_never_says_the_opposite_of_the_core(tmp_path):
    (tmp_path / "DerivedKnowledgeGraph_final.csv").write_text(
        'Diseases,Symptoms\nshock,"hypotension (0.5), elevated blood pressure (0.5)"\n'
    )
    assert list(edges_of(with_source("rotmensch", tmp_path), "rotmensch")) == [
        ("finding:systolic_bp:low", "phenotype:shock", "suggests")
    ]


def test_two_sources_in_either_order_give_the_same_bytes(tmp_path):
    (tmp_path / "symp.obo").write_text(OBO + term("SYMP:1", "dyspnea", 'synonym: "air hunger" EXACT []'))
    (tmp_path / "edges.csv").write_text(HEADER + "SOB,suggests,CHF,0.6,Our audit 2024,\n")
    parts = [external.contribute(name, tmp_path, CORE.index) for name in ("symptom_ontology", "edges")]
    for name, chosen in (("a", parts), ("b", parts[::-1])):
        build([curated.contribute(), *chosen]).save(tmp_path / name)
    for file in ("nodes.parquet", "edges.parquet", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("name", [name for name, source in external.SOURCES.items() if source.files])
def test_absent_empty_and_damaged_files_give_one_clear_line(tmp_path, name):
    source = external.SOURCES[name]
    with pytest.raises(UserError, match=r"FOLDER with"):
        external.contribute(name, None, CORE.index)
    with pytest.raises(UserError, match="not found"):
        external.contribute(name, tmp_path, CORE.index)
    for content in (b"", b"\x00\xff\xfe{damaged", b"a,b,c\n1,2,3\n"):
        for file in source.files:
            (tmp_path / file).write_bytes(content)
        if content or name not in ("wikidata", "umls"):  # an empty list of records is a list of records
            with pytest.raises(UserError, match=f"knowledge source {name} in .* cannot be read") as caught:
                external.contribute(name, tmp_path, CORE.index)
            assert "\n" not in str(caught.value)
    for file in source.files:
        (tmp_path / file).unlink()
        (tmp_path / f"{file}.gz").write_bytes(gzip.compress(b"x" * 5000)[:-12])
    if name != "cohort":
        with pytest.raises(UserError, match="cannot be read"):
            external.contribute(name, tmp_path, CORE.index)


@pytest.mark.parametrize(
    "line",
    ["7", "null", "[]", "{}", '{"DiseaseURI": 1}', '{"DiseaseURI": "a", "Disease": null}',
     '{"DiseaseURI": "a", "Disease": "flu", "TreatmentDrugs": "x", "Cause": [], "Symptons": []}',
     '{"DiseaseURI": "a", "Disease": "flu", "TreatmentDrugs": [3], "Cause": [], "Symptons": []}'],
)  # fmt: skip
def test_a_record_of_another_shape_names_its_line(tmp_path, line):
    for file in external.SOURCES["wikidata"].files:
        (tmp_path / file).write_text(line + "\n")
    with pytest.raises(UserError, match=r"cannot be read \(.* line 1: "):
        external.contribute("wikidata", tmp_path, CORE.index)


def test_a_fault_of_ours_does_not_pass_for_one_of_the_file(tmp_path, monkeypatch):
    def broken(files, known):
        return {}["foo"]

    monkeypatch.setitem(external.SOURCES, "edges", replace(external.SOURCES["edges"], read=broken))
    (tmp_path / "edges.csv").write_text(HEADER)
    with pytest.raises(KeyError):
        external.contribute("edges", tmp_path, CORE.index)


HEADER = "head,relation,tail,weight,source,evidence\n"


def test_the_user_adds_edges_by_name(tmp_path):
    (tmp_path / "edges.csv").write_text(HEADER + "SOB,suggests,CHF,0.6,Our audit 2024,\n")
    graph = with_source("edges", tmp_path)
    (edge,) = [d for _, _, d in graph.graph.edges(data=True) if d["origin"] == "edges"]
    assert edge["source"] == "Our audit 2024"
    assert graph.manifest["citations"]["Our audit 2024"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (HEADER + "xyzzy,suggests,CHF,0.6,a,b\n", "line 2: no concept is called 'xyzzy'"),
        (HEADER + "SOB,cures,CHF,0.6,a,b\n", "line 2: relation 'cures'"),
        (HEADER + "SOB,suggests,CHF,6,a,b\n", "line 2: weight"),
        (HEADER + "SOB,suggests,CHF,much,a,b\n", "weight 'much' is no number"),
        ("head,tail\nSOB,CHF\n", "column relation is missing"),
        ("", "column head is missing"),
    ],
)
def test_a_slip_in_the_users_edges_names_the_line(tmp_path, content, says):
    (tmp_path / "edges.csv").write_text(content)
    with pytest.raises(UserError, match=says):
        external.contribute("edges", tmp_path, CORE.index)


def test_missing_unknown_and_broken_sources(tmp_path):
    with pytest.raises(UserError, match=r"hp\.obo not found"):
        external.contribute("hpo", tmp_path, CORE.index)
    with pytest.raises(UserError, match="did you mean 'umls'"):
        external.contribute("umlz", tmp_path, CORE.index)
    (tmp_path / "hp.obo.gz").write_bytes(b"\x1f\x8b\x08\x00 truncated")
    with pytest.raises(UserError, match="cannot be read"):
        external.contribute("hpo", tmp_path, CORE.index)
