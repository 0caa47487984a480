"""Rating files become numbers: exactly those that were given, and no file that does not belong."""

import json

import numpy as np
import pytest

from clinragen.api.rating import import_ratings
from clinragen.cli import dispatch
from clinragen.errors import UserError
from clinragen.rating.criteria import criteria
from clinragen.rating.rating_file import Preference, Rating, read, write_judged
from clinragen.rating.results import results

from .conftest import rows_of, saved


@pytest.fixture
def files(pack, tmp_path):
    return [saved(tmp_path / "saved", pack, rater, rows_of(rater)) for rater in pack.key.raters[:2]]


def by_author(pack, files, criterion):
    """stay -> author -> ratings, straight from the files."""
    given = {}
    for path in files:
        content = json.loads(path.read_text())
        rater = pack.key.rater(content["rater"])
        for row in content["ratings"]:
            author = rater.placing(row["item"]).author(row["letter"])
            given.setdefault(author, {}).setdefault(row["item"], {})[rater.rater] = row[criterion]
    return given


def test_means_and_differences_are_those_of_the_files(pack, files, tmp_path):
    values = import_ratings(pack.root, files, tmp_path / "out", replicates=50).values
    for criterion in criteria():
        given = by_author(pack, files, criterion)
        for row in values["human"]["means"]:
            if row["criterion"] == criterion:
                scores = [score for by_rater in given[row["author"]].values() for score in by_rater.values()]
                assert row["mean"]["value"] == pytest.approx(np.mean(scores))
                assert row["ratings"] == len(scores) == 10
                assert row["mean"]["low"] <= row["mean"]["value"] <= row["mean"]["high"]
        [row] = [
            row
            for row in values["human"]["differences"]
            if (row["author"], row["other"], row["criterion"]) == ("student", "teacher", criterion)
        ]
        apart = [
            score - given["teacher"][item][rater]
            for item, by_rater in given["student"].items()
            for rater, score in by_rater.items()
        ]
        assert row["difference"]["value"] == pytest.approx(np.mean(apart))
    assert [row["complete"] for row in values["human"]["agreement"]] == [15] * 5
    assert json.loads((tmp_path / "out" / "ratings.json").read_text()) == values


def test_missing_ratings_are_left_out_and_counted(pack, tmp_path):
    one, two, _ = pack.key.raters
    rows = rows_of(one)
    rows[0]["soundness"] = None
    files = [saved(tmp_path / "saved", pack, one, rows), saved(tmp_path / "saved", pack, two, rows_of(two)[:-1])]
    values = import_ratings(pack.root, files, tmp_path / "out", replicates=20).values
    assert [row["missing"] for row in values["raters"]] == [1, 5]
    [soundness] = [row for row in values["human"]["agreement"] if row["criterion"] == "soundness"]
    assert soundness["complete"] == soundness["shared"] == 13
    assert sum(row["ratings"] for row in values["human"]["means"] if row["criterion"] == "soundness") == 28


def test_one_rater_alone_has_no_agreement_and_the_absent_one_is_named(pack, files, tmp_path):
    values = import_ratings(pack.root, files[:1], tmp_path / "out", replicates=20).values
    assert values["absent"] == ["rater-2"]
    assert {row["alpha"]["value"] for row in values["human"]["agreement"]} == {None}
    assert values["llm"] == {"means": [], "differences": [], "agreement": []}


def test_a_rater_who_rates_everything_alike_is_pointed_out(pack, files, tmp_path):
    two = pack.key.raters[1]
    rows = [row | dict.fromkeys(criteria(), 4) | {"readability": 5} for row in rows_of(two)]
    both = [files[0], saved(tmp_path / "same", pack, two, rows)]
    values = import_ratings(pack.root, both, tmp_path / "out", replicates=2).values
    assert [row["alike"] for row in values["raters"]] == [False, True]


def test_comments_come_back_with_their_author(pack, tmp_path):
    rater = pack.key.raters[0]
    rows = rows_of(rater)
    rows[5]["comment"] = "half \ud83d"
    rows[4]["comment"] = '  Überraschend – \u2028 good, "quoted" 😀\x7f\n'
    values = import_ratings(pack.root, [saved(tmp_path / "s", pack, rater, rows)], tmp_path / "o", replicates=2).values
    comment, half = values["comments"]
    assert half["comment"] == "half ?"
    placing = rater.placing(rows[4]["item"])
    assert comment["comment"] == rows[4]["comment"].strip()
    assert comment["author"] == placing.author(rows[4]["letter"])
    assert comment["stay_id"] == next(item.stay_id for item in pack.items if item.name == placing.item)


def change(position=0, **entries):
    def apply(rows):
        rows[position].update(entries)

    return apply


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (change(item="ffffffff"), "rating 1 is of stay 'ffffffff', which the pack does not have"),
        (change(item=None), "rating 1 is of stay 'None', which the pack does not have"),
        (change(letter="D"), "rating 1 is of rationale 'D', which stay '.*' does not have"),
        (change(2, correctness=6), "rating 3: correctness is '6', expected a whole number from 1 to 5"),
        (change(correctness=0), "correctness is '0', expected"),
        (change(readability=3.0), "readability is '3.0', expected"),
        (change(readability=True), "readability is 'True', expected"),
        (change(soundness="4"), "soundness is '4', expected"),
        (change(comment=7), "its comment is no text"),
        (lambda rows: rows.append(dict(rows[0])), "rating 16 is the second of rationale A of stay"),
    ],
)
def test_ratings_that_cannot_be_are_refused_with_their_place(edit, says, pack, tmp_path):
    rows = rows_of(pack.key.raters[0])
    edit(rows)
    path = saved(tmp_path / "saved", pack, pack.key.raters[0], rows)
    with pytest.raises(UserError, match=says) as error:
        read(path, pack)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pack": "0" * 12}, "holds ratings of pack '000000000000', and .* is pack"),
        ({"rater": "rater-9"}, "has no human rater 'rater-9'"),
        ({"rater": "judge"}, "has no human rater 'judge'"),
        ({"kind": "cohort"}, "is no rating file"),
        ({"ratings_version": 2}, "a rating file of version 2"),
        ({"ratings": {}}, "ratings: expected a list"),
        ({"rater": 3}, "rater: expected a text"),
    ],
)
def test_files_that_do_not_belong_are_refused(changes, says, pack, tmp_path):
    path = saved(tmp_path / "saved", pack, pack.key.raters[0], rows_of(pack.key.raters[0]), **changes)
    with pytest.raises(UserError, match=says):
        read(path, pack)


def test_a_file_that_was_changed_after_saving_is_refused(pack, files):
    content = json.loads(files[0].read_text())
    content["ratings"][3]["correctness"] = content["ratings"][3]["correctness"] % 5 + 1
    files[0].write_text(json.dumps(content))
    with pytest.raises(UserError, match="was changed after it was saved: ask rater-1 for the file"):
        read(files[0], pack)


def test_a_rater_counts_once_and_nothing_is_written_after_an_error(pack, files, tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_bytes(files[0].read_bytes())
    for given, says in (
        ([files[0], copy], "rater-1 is also the rater of"),
        ([tmp_path / "none.json"], "not found"),
        ([], "name the files that raters saved"),
        ([pack.root / "raters"], "holds no rating file"),
        ([pack.root / "raters" / "rater-1.html"], "is not valid JSON"),
    ):
        with pytest.raises(UserError, match=says):
            import_ratings(pack.root, given, tmp_path / "out", replicates=2)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_tables_and_the_same_as_json(pack, files, tmp_path, capsys):
    arguments = ["rate", "import", "--pack", pack.root, "--ratings", files[0].parent, "--replicates", "20", "--out"]
    dispatch([str(word) for word in [*arguments, tmp_path / "one"]])
    shown = capsys.readouterr().out
    for words in ("rater-2: 75 ratings, 0 missing", "student − teacher", "ICC(2,k)", "Krippendorff’s α"):
        assert words in shown
    dispatch([str(word) for word in [*arguments, tmp_path / "two", "--json"]])
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "one" / "ratings.json").read_text())


def test_verdicts_that_change_with_the_order_are_inconsistent(pack, tmp_path):
    judge = pack.key.rater("judge")
    items = [item.name for item in pack.items]
    keys = list(criteria())

    def preference(item, first, second, verdict):
        return Preference(item, first, second, dict.fromkeys(keys, verdict))

    preferences = [
        preference(items[0], "student", "teacher", "first"),  # the student in both orders
        preference(items[0], "teacher", "student", "second"),
        preference(items[1], "student", "teacher", "first"),  # whoever is first
        preference(items[1], "teacher", "student", "first"),
        preference(items[2], "student", "teacher", "tie"),
        preference(items[2], "teacher", "student", "tie"),
        preference(items[3], "student", "teacher", "tie"),
        preference(items[3], "teacher", "student", "second"),
        preference(items[4], "student", "teacher", "second"),  # one order only
    ]
    path = tmp_path / "ratings.json"
    scores = [Rating(items[0], "student", dict.fromkeys(keys, 5))]
    write_judged(path, pack.key, judge, "small/model", scores, preferences)
    one = read(path, pack)
    assert one.rater == "judge (small/model)"
    assert (one.ratings, one.preferences) == (scores, preferences)
    values = results(pack, [one], replicates=2)
    [row] = [
        row
        for row in values["preferences"]
        if (row["author"], row["other"], row["criterion"]) == ("student", "teacher", "soundness")
    ]
    counts = {name: row[name] for name in ("author_better", "other_better", "tie", "inconsistent", "missing")}
    assert counts == {"author_better": 1, "other_better": 0, "tie": 1, "inconsistent": 2, "missing": 1}
    assert (row["first"], row["decided"]) == (3, 6)
    assert values["human"]["means"] == []
    assert values["llm"]["means"][0]["mean"]["value"] == 5
