"""A user's file of variables: what it may say, what is refused, and in what a process has them."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clinragen import added_variables, catalog
from clinragen.added_variables import AddedVariables
from clinragen.errors import UserError
from clinragen.knowledge.added import check, with_variables
from clinragen.knowledge.graph import build
from clinragen.knowledge.relabel import open_graph
from clinragen.label_sets import LabelSet, Phenotype, shipped

GOOD: dict[str, Any] = {
    "sources": {"book": "A Handbook. 2024"},
    "variables": {
        "procalcitonin": {
            "label": "procalcitonin",
            "kind": "lab",
            "unit": "ng/mL",
            "loinc": "33959-8",
            "reference": [None, 0.25],
            "source": "book",
            "plausible": [0, 1000],
            "decimals": 2,
            "accepts": {"pg/mL": [0.001, 0]},
            "items": {
                "mimic4": {"labevents": [59001, {"item": 59002, "unit": "pg/mL"}]},
                "clif": {"clif_labs": ["pct"]},
            },
            "findings": {
                "names": ["PCT"],
                "high": {"name": "elevated procalcitonin", "definition": "Above.", "suggests": {"septicemia": 0.7}},
            },
        }
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good file with another value at a path below its variable; the value ``del`` removes it."""
    content = copy.deepcopy(GOOD)
    place: Any = content["variables"]["procalcitonin"]
    *way, last = path.split("/")
    for name in way:
        place = place[name]
    if value == "del":
        del place[last]
    else:
        place[last] = value
    return content


@pytest.fixture
def load(tmp_path):
    def read(content: Any) -> AddedVariables:
        path = tmp_path / "mine.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return added_variables.load([str(path)])

    return read


FAULTS = [
    ("no yaml", "variables: [", "is not valid YAML"),
    ("a list", "- variables", "expected a mapping"),
    ("nothing", "variables: {}", "expected 'variables:'"),
    ("key at the top", GOOD | {"variabels": {}}, "unknown key 'variabels': did you mean 'variables'"),
    ("name", {"variables": {"Pro-calcitonin": {}}}, "a key is made of small letters"),
    ("taken name", {"variables": {"lactate": {}}}, "the catalogue has a variable of this name"),
    ("no mapping", {"variables": {"procalcitonin": 3}}, "expected a mapping with label"),
    ("unknown key", changed("refrence", [0, 1]), "unknown key 'refrence': did you mean 'reference'"),
    ("irrigation", changed("irrigation", {}), "unknown key 'irrigation'"),
    ("missing", changed("plausible", "del"), r"variables\.procalcitonin\.plausible is missing"),
    ("label", changed("label", "pro;calcitonin"), r"label: expected letters"),
    ("taken label", changed("label", "Lactate"), "'Lactate' is the label of lactate"),
    ("kind", changed("kind", "labs"), "unknown kind 'labs'"),
    ("unit", changed("unit", 3), r"\.unit: expected a unit"),
    ("decimals", changed("decimals", 2.5), "decimals: expected a whole number"),
    ("bin", changed("bin", "mean"), "unknown bin 'mean'"),
    ("loinc", changed("loinc", "33959-9"), "'33959-9' is no LOINC code"),
    ("taken loinc", changed("loinc", "8867-4"), "8867-4 is a code of heart_rate"),
    ("source", changed("source", "tiets"), "unknown source of .* 'tiets': did you mean 'tietz'"),
    ("plausible", changed("plausible", [1000, 0]), "plausible: expected"),
    ("inverted", changed("reference", [0.5, 0.25]), "reference: 0.5 is above 0.25"),
    ("outside", changed("reference", [None, 2000]), "reference: 2000 lies outside plausible 0 to 1000"),
    ("not numbers", changed("reference", ["a", 1]), "reference: expected"),
    ("NaN", changed("reference", [float("nan"), 1]), "reference: expected"),
    ("accepts", changed("accepts", {"pg/mL": [0, 0]}), r"accepts\.pg/mL: expected"),
    ("no conversion", changed("accepts", {}), r"no conversion from 'pg/mL' to ng/mL: add it to accepts"),
    ("rescale", changed("rescale", [{"min": 1, "max": 2, "unit": "g/L"}]), "no conversion from 'g/L'"),
    ("release", changed("items", {"mimic5": {}}), "unknown source 'mimic5'"),
    ("table", changed("items", {"mimic4": {"labs": [1]}}), "unknown table 'labs'"),
    ("item of another", changed("items", {"mimic4": {"labevents": [50813]}}), "item 50813 is one of lactate"),
    ("specimen", changed("items", {"mimic4": {"labevents": [52033]}}), "item 52033 is one of the specimen"),
    ("item as text", changed("items", {"mimic4": {"labevents": ["59001"]}}), "'59001' is no item of mimic4"),
    ("item twice", changed("items", {"mimic4": {"labevents": [7, 7]}}), "item 7 is one of procalcitonin"),
    ("parts", changed("sum_of", ["lactat"]), "unknown variable 'lactat'"),
    ("pattern", changed("untestable", "("), "untestable: expected a regular expression"),
    ("side", changed("findings/hihg", {}), "unknown key 'hihg'"),
    ("no bound", changed("findings/low", {"name": "low", "definition": "x"}), "reference has no bound on this side"),
    ("weight", changed("findings/high/suggests", {"shock": 2}), "suggests: expected a weight above 0"),
    ("no definition", changed("findings/high/definition", ""), "definition: expected a text"),
    ("flag", changed("findings", {}) | {}, None),
    ("interpolation", changed("label", "${oc.env:HOME}"), "settings are not interpolated"),
]


@pytest.mark.parametrize(("content", "says"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_mistake_is_one_line_that_names_the_place(load, content, says):
    if says is None:  # a flag without a name for what it flags
        content["variables"]["procalcitonin"] |= {"unit": "flag", "items": {}, "accepts": {}}
        says = r"findings\.high is missing: a flag is written by the name of its finding"
    with pytest.raises(UserError, match=says) as error:
        load(content)
    assert "\n" not in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_a_flag_needs_a_finding_that_does_not_hold_its_label(load):
    content = changed("findings/high/name", "ecmo connected")
    content["variables"]["procalcitonin"] |= {"label": "ECMO", "unit": "flag", "items": {}, "accepts": {}}
    with pytest.raises(UserError, match="a flag's finding may not hold its label"):
        load(content)
    content["variables"]["procalcitonin"]["label"] = "extracorporeal support"
    assert load(content).variables["procalcitonin"].unit == "flag"


def test_what_the_graph_knows_is_checked_against_it(load):
    graph = build()
    with pytest.raises(UserError, match=r"unknown diagnosis of .* 'sepsis"):
        check(load(changed("findings/high/suggests", {"sepsis_of_mine": 0.5})), graph, shipped())
    with pytest.raises(UserError, match="'fever' is a name of finding:temperature:high"):
        check(load(changed("findings/high/name", "fever")), graph, shipped())
    mine = LabelSet("mine", (Phenotype("sepsis_of_mine", "sepsis of mine"),))
    check(load(changed("findings/high/suggests", {"sepsis_of_mine": 0.5})), graph, mine)


@pytest.mark.parametrize("name", added_variables.names())
def test_shipped_files_can_be_used(name):
    check(added_variables.load([name]), build(), shipped())


def test_the_file_and_its_form_in_a_manifest_say_the_same(load):
    added = load(GOOD)
    again = added_variables.of_manifest(added.marked(), "manifest.json")
    assert again.variables == added.variables
    assert again.marked() == added.marked()
    variable = added.variables["procalcitonin"]
    assert (variable.low, variable.high, variable.source) == (None, 0.25, "A Handbook. 2024")
    assert variable.items["mimic4"] == {"labevents": {59001: None, 59002: "pg/mL"}}
    damaged = added.marked()
    damaged["added_variables"]["variables"]["procalcitonin"]["unit"] = 3
    with pytest.raises(UserError, match=r"manifest\.json.*unit: expected a unit.*prepare the cohort anew"):
        added_variables.of_manifest(damaged, "manifest.json")


def test_files_add_to_one_another_but_not_twice(load, tmp_path):
    other = copy.deepcopy(GOOD)
    row = other["variables"].pop("procalcitonin")
    other["variables"]["presepsin"] = row | {"label": "presepsin", "loinc": None, "items": {}, "findings": {}}
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(yaml.safe_dump(GOOD))
    second.write_text(yaml.safe_dump(other))
    added = added_variables.load([str(first), str(second)])
    assert list(added.rows) == ["procalcitonin", "presepsin"]
    assert added.variables["presepsin"].loinc == ""
    with pytest.raises(UserError, match="another file has a variable of this name"):
        added_variables.load([str(first), str(first)])
    with pytest.raises(UserError, match="unknown file of variables 'mine'"):
        added_variables.load(["mine"])


def test_a_process_has_what_it_opened_and_a_preparation_what_it_was_asked_for(load):
    added = load(GOOD)
    assert "procalcitonin" not in catalog.variables()
    added_variables.opened(added.marked(), "one")
    added_variables.opened(added.marked(), "two")
    assert list(catalog.variables())[-1] == "procalcitonin"
    assert catalog.loinc_variables()["33959-8"] == "procalcitonin"
    with catalog.only({}, {}, ""):
        assert "procalcitonin" not in catalog.variables()
        assert "33959-8" not in catalog.loinc_variables()
    assert "procalcitonin" in catalog.variables()
    moved = load(changed("items", {"eicu": {"lab": ["PCT"]}}))
    added_variables.opened(moved.marked(), "three")  # from another source: the same meaning
    with pytest.raises(UserError, match=r"four: its variable procalcitonin is not that of one \(differs in: unit\)"):
        added_variables.opened(load(changed("unit", "ug/L")).marked(), "four")


def test_the_graph_is_extended_and_its_folder_stays_as_it_is(load, tmp_path):
    added = load(GOOD)
    core = build()
    extended = with_variables(core, added)
    assert "variable:procalcitonin" not in core.graph
    assert [link.node for link in extended.into("finding:procalcitonin:high")] == ["variable:procalcitonin"]
    assert extended.strength("finding:procalcitonin:high", "septicemia") == 0.7
    assert extended.manifest.nodes == core.manifest.nodes + 2
    assert extended.manifest.citations["book"] == "A Handbook. 2024"
    assert with_variables(extended, added) is extended
    assert with_variables(core, added_variables.NONE) is core
    extended.save(tmp_path / "graph")
    assert open_graph(tmp_path / "graph", shipped(), added).graph.edges == extended.graph.edges
    labels = LabelSet("mine", (Phenotype("infection", "infection", covers=("septicemia",)),))
    assert open_graph(None, labels, added).strength("finding:procalcitonin:high", "infection") > 0


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(_JSON, st.sampled_from(["variables", "sources", "ucum", *GOOD["variables"]["procalcitonin"]]))
def test_any_json_in_a_manifest_is_read_or_refused(value, key):
    content = copy.deepcopy(GOOD)
    (content if key in ("variables", "sources", "ucum") else content["variables"]["procalcitonin"])[key] = value
    with contextlib.suppress(UserError):
        added = added_variables.of_manifest({"added_variables": content}, "manifest.json")
        assert all(variable.key == name for name, variable in added.variables.items())
