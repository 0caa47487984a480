"""The CONSORT-style figure agrees with the manifest."""

from __future__ import annotations

from xml.etree import ElementTree

from mimic_prep.consort import draw

_COHORT = {"patients": 900, "splits": {"train": 700, "validation": 100, "test": 200}}


def _texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_count_is_in_the_figure():
    steps = [{"reason": "younger than 18 & <1", "stays": 40}, {"reason": "no one", "stays": 0}]
    texts = _texts(draw({"entered": 1040, "excluded": steps, "kept": 1000}, _COHORT))
    for expected in ("1,040", "40", "1,000", "900", "700", "100", "200", "younger than 18 & <1"):
        assert expected in texts
    assert "no one" not in texts


def test_a_cohort_without_exclusions():
    assert "Excluded" not in _texts(draw({"entered": 5, "excluded": [], "kept": 5}, _COHORT))


def test_the_cohort_folder_holds_it(hospital, prepared):
    texts = _texts((prepared(hospital).root / "attrition.svg").read_text())
    assert "younger than 18 years" in texts
