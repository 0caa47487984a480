"""The rules as data: what is shipped is whole, and a wrong rule is an error that says where."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from clinragen.errors import UserError
from clinragen.safety import rules as module
from clinragen.safety.rules import FOLDER, citation, rules


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A copy of the rules with one text replaced, read anew."""

    def read(file: str, old: str, new: str):
        shutil.copytree(FOLDER, tmp_path / "safety")
        path = tmp_path / "safety" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        monkeypatch.setattr(module, "FOLDER", tmp_path / "safety")
        return rules.__wrapped__()

    return read


def test_every_group_is_of_use():
    checked = rules()
    used = {name for rule in checked.pairs for name in rule.a | rule.b}
    used |= {name for rule in checked.limits for name in rule.drugs}
    used |= {name for rule in checked.cross_reactions for name in (rule.from_, rule.to)}
    used |= {rule.group for rule in checked.duplicates} | checked.lasting
    used |= {name for rule in checked.duplicates for pair in rule.unless for name in pair}
    used |= {inner for group in checked.groups.values() for inner in group.groups}
    used |= {key for key, group in checked.groups.items() if group.words}
    assert set(checked.groups) - used == set()


def test_every_reason_is_part_of_a_sentence():
    checked = rules()
    for rule in (*checked.pairs, *checked.limits, *checked.cross_reactions, *checked.duplicates):
        assert rule.because
        assert not rule.because.endswith(".")


def test_the_rules_that_the_page_shows_are_shipped():
    page = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")
    excerpts = re.findall(r"```yaml\n# configs/safety/(\S+)\n(.*?)```", page, re.DOTALL)
    assert [file for file, _ in excerpts] == ["interactions.yaml", "measurements.yaml"]
    for file, text in excerpts:
        shipped = (FOLDER / file).read_text(encoding="utf-8").splitlines()
        assert set(text.splitlines()) <= set(shipped)


def test_sources_are_cited_in_full():
    assert citation("kdigo_aki").startswith("KDIGO clinical practice guideline")
    assert "warfarin" in citation("fda:warfarin")
    with pytest.raises(UserError, match="unknown source of a safety rule"):
        citation("hearsay")


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            "interactions.yaml",
            "{a: [warfarin], b: [amiodarone,",
            "{a: [warfarin], b: [amiodaron,",
            "'amiodaron' is neither",
        ),
        ("interactions.yaml", "severity: avoid", "severity: bad", "unknown severity"),
        ("interactions.yaml", 'source: "fda:warfarin"', "source: hearsay", "unknown source"),
        ("groups.yaml", "classes: [statin]", "classes: [statins]", "unknown class of drugs"),
        ("groups.yaml", "  statins: {", "  warfarin: {", "warfarin is a drug"),
        ("measurements.yaml", "potassium: mEq/L", "potassium: mg/dL", "the unit of potassium is mEq/L"),
        ("measurements.yaml", "potassium: mEq/L, ", "", "no unit is stated for potassium"),
        ("measurements.yaml", "lactate: mmol/L", "lactat: mmol/L", "did you mean 'lactate'"),
    ],
)
def test_a_wrong_rule_is_an_error(edited, file, old, new, says):
    with pytest.raises(UserError, match=says):
        edited(file, old, new)


def test_a_rule_can_be_added(edited):
    row = '  - {a: [melatonin], b: [warfarin], severity: caution, because: bleeding, source: "fda:warfarin"}\n'
    pairs = edited("interactions.yaml", "pairs:\n", f"pairs:\n{row}").pairs
    assert pairs[0].a == {"melatonin"}
    assert len(pairs) == len(rules().pairs) + 1
