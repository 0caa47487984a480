"""A pack compares authors fairly and blindly: what raters get says nothing of who wrote what."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from clinragen.rating.draw import balanced_orders, draw_stays
from clinragen.rating.key import read_pack

from .conftest import SECRET, write


def test_a_page_holds_no_name_of_an_author_and_no_id_of_a_stay(pack):
    pages = sorted((pack.root / "raters").iterdir())
    assert [page.name for page in pages] == ["rater-1.html", "rater-2.html"]
    for page in pages:
        html = re.sub("<style>.*?</style>", "", page.read_text(), flags=re.S)
        for word in (SECRET, "student", "teacher", "baseline", "judge", "seed", str(pack.root)):
            assert word not in html.lower(), word
        for item in pack.items:
            assert str(item.stay_id) not in html
            assert str(item.subject_id) not in html.replace("#", "")
            assert item.name in html


def test_every_rater_sees_every_text_of_every_stay_under_its_letter(pack):
    items = {item.name: item for item in pack.items}
    for rater in pack.key.raters:
        assert {placing.item for placing in rater.placings} == set(items)
        for placing in rater.placings:
            assert sorted(placing.authors) == sorted(items[placing.item].arguments)
            assert [placing.letter(placing.author(letter)) for letter in "ABC"] == ["A", "B", "C"]


def test_positions_are_balanced_and_differ_among_raters(pack):
    for rater in pack.key.raters:
        positions = Counter((author, at) for placing in rater.placings for at, author in enumerate(placing.authors))
        counts = [positions[author.name, at] for author in pack.key.authors for at in range(3)]
        assert max(counts) - min(counts) <= 1
    one, two, _ = pack.key.raters
    assert [placing.item for placing in one.placings] != [placing.item for placing in two.placings]
    assert one.secret != two.secret


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 999))
def test_any_number_of_authors_is_balanced(authors, stays, seed):
    names = [f"author {number}" for number in range(authors)]
    orders = balanced_orders(names, stays, np.random.default_rng(seed))
    assert len(orders) == stays
    assert all(sorted(order) == names for order in orders)
    counts = Counter((name, at) for order in orders for at, name in enumerate(order))
    every = [counts[name, at] for name in names for at in range(authors)]
    assert max(every) - min(every) <= 1


def test_the_seed_decides_everything(hospital, pack, tmp_path):
    write(hospital, tmp_path / "again")
    for name in ("key.json", "items.json", "raters/rater-1.html"):
        assert (tmp_path / "again" / name).read_bytes() == (pack.root / name).read_bytes()
    write(hospital, tmp_path / "other", seed=4)
    other = read_pack(tmp_path / "other")
    assert other.key.pack != pack.key.pack
    assert {item.stay_id for item in other.items} != {item.stay_id for item in pack.items}


def test_a_rare_diagnosis_is_drawn_and_patients_are_not_repeated():
    diagnoses = {stay: ["common"] for stay in range(100)} | {100: ["rare"], 101: []}
    patients = {stay: stay // 2 if stay < 100 else stay for stay in diagnoses}
    for seed in range(10):
        drawn = draw_stays(diagnoses, patients, 5, np.random.default_rng(seed))
        assert {100, 101} <= set(drawn)
        assert len({patients[stay] for stay in drawn}) == len(drawn) == 5
    assert sorted(draw_stays(diagnoses, patients, 102, np.random.default_rng(0))) == sorted(diagnoses)


def test_patient_text_is_escaped_and_invisible_characters_are_shown(hospital, tmp_path):
    from dataclasses import replace

    from clinragen.rating.items import Argument, Chart, Item
    from clinragen.rating.key import Placing, RaterKey
    from clinragen.rating.page import pages

    text = "</p><script>window.broken = 1</script> {{ 7 * 7 }} no \u202ekcohs"
    chart = Chart(95.0, None, 48.0, [("chief_complaint", text)], {})
    item = Item("ab", 1, 1, chart, {"a": Argument(["<b>shock</b>"], text, ""), "b": Argument([], text, text)})
    rater = RaterKey("rater-1", "human", "00", [Placing("ab", ["a", "b"])])
    [(_, html)] = pages([rater], {"ab": item}, "pack")
    assert html.count("<script>") == 1
    assert "<b>shock" not in html
    assert html.count("⟦U+202E⟧") == 4
    assert "\u202e" not in html
    assert "{{ 7 * 7 }}" in html
    assert "over 89" in html
    [(_, plain)] = pages([replace(rater)], {"ab": replace(item, chart=replace(chart, sections=[]))}, "pack")
    assert "There is no note." in plain
    assert "Nothing was measured." in plain


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stays": 1000}, r"only \d+ stays have rationales of every author \(student, teacher, baseline\)"),
        ({"stays": 0}, "--stays 0: expected a number from 1"),
        ({"raters": 0}, "--raters 0: expected a number from 1"),
        ({"seed": -1}, "--seed -1: expected a number from 0"),
        ({"teacher": "nobody"}, "nobody"),
        ({"against": ["nowhere"]}, "nowhere"),
    ],
)
def test_what_cannot_be_packed_is_refused_and_leaves_nothing(options, says, hospital, tmp_path):
    with pytest.raises(UserError, match=says):
        write(hospital, tmp_path / "pack", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_key_is_noticed(hospital, tmp_path):
    write(hospital, tmp_path / "pack", stays=2)
    key = json.loads((tmp_path / "pack" / "key.json").read_text())
    key["raters"][0]["placings"][0]["authors"].reverse()
    (tmp_path / "pack" / "key.json").write_text(json.dumps(key))
    with pytest.raises(UserError, match=r"key\.json is not the file that its manifest describes"):
        read_pack(tmp_path / "pack")
    with pytest.raises(UserError, match="is no folder that `clinragen rate pack` wrote"):
        read_pack(hospital / "student")
