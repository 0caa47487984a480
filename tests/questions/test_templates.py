"""The shipped wordings: two parts that share none, each wording of one meaning, and every place filled."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import product
from random import Random

import pytest
from whole_graph import GRAPH

from clinragen.catalog import variables
from clinragen.questions.query import FORMS, HEADS, Query, Window
from clinragen.questions.templates import Names, Templates, every_wording

PARTS = {part: Templates.shipped(part) for part in ("train", "test")}
NAMES = Names.of(GRAPH)


LETTERS = str.maketrans(dict.fromkeys(map(chr, {*range(128)} - {*range(97, 123)} - {*b"{}"}), " "))


def plain(text: str) -> str:
    """A text by its words alone."""
    return " ".join(text.lower().translate(LETTERS).split())


@cache
def expanded(head: str, part: str) -> frozenset[str]:
    """All that a part's wordings of a kind can become."""
    return frozenset(plain(text) for wording in PARTS[part].questions[head].values() for text in every_wording(wording))


@pytest.mark.parametrize("part", PARTS)
def test_each_kind_has_several_wordings_with_its_places(part):
    assert set(PARTS[part].questions) == set(HEADS)
    for head, named in PARTS[part].questions.items():
        wordings = named.values()
        form = FORMS[head.split()[0]]
        expected = {form.subject, *(["window"] if form.windows and head != "value at" else [])}
        expected |= {"other"} if form.windows == 2 else set()
        expected |= {"hour"} if head == "value at" else set()
        assert sum("window" not in expected or "{window}" in wording for wording in wordings) >= 3
        for wording in wordings:
            places = set(re.findall(r"{(\w+)}", wording))
            bounds = {"start", "end", "start2", "end2"}
            named = (places - bounds) | ({"window", "other"} if bounds <= places else set())
            assert named in (expected, expected - {"window"} if "other" not in expected else expected), wording
            assert not re.search(r"[(|)]", re.sub(r"\([^()]*\|[^()]*\)", "", wording)), wording  # choices do not nest


def test_the_parts_share_no_wording():
    for head in HEADS:
        assert not expanded(head, "train") & expanded(head, "test")
    for form in PARTS["train"].windows:
        assert not set(PARTS["train"].windows[form]) & set(PARTS["test"].windows[form])
    assert PARTS["train"].windows.keys() == PARTS["test"].windows.keys()


def test_no_wording_means_two_kinds():
    counts = Counter(text for head, part in product(HEADS, PARTS) for text in expanded(head, part))
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("head", HEADS)
def test_a_query_is_worded_with_what_it_names(part, head):
    subject = {"variable": "lactate", "concept": "symptom:chest_pain", "label": "shock"}[FORMS[head.split()[0]].subject]
    windows = {0: "", 1: "5-11", 2: "5-11 17-23"}[FORMS[head.split()[0]].windows]
    hour = "13" if head == "value at" else ""
    query = Query.parse(f"{head} {hour} {subject} {'' if hour else windows}")
    for seed in range(40):
        worded = PARTS[part].word(query, NAMES, Random(seed))
        assert worded == PARTS[part].word(query, NAMES, Random(seed))
        assert any(name in worded.text.lower() for name in ("lactate", "lactic acid", "chest pain", "shock"))
        for number in re.findall(r"\d+", f"{hour} {windows if not hour else ''}"):
            assert re.search(rf"(?<!\d){number}(?!\d)", worded.text), worded.text
        assert not re.search(r"[{}|]|  | [?.,]", worded.text), worded.text
        assert worded.template in PARTS[part].questions[head]


def test_hours_are_named_wherever_they_are_meant():
    for head in ("value first", "value last", "highest"):
        texts = [
            PARTS["train"].word(Query.parse(f"{head} lactate 17-23"), NAMES, Random(seed)).text for seed in range(99)
        ]
        assert all("17" in text and "23" in text for text in texts)
    whole = [PARTS["train"].word(Query.parse("value last lactate"), NAMES, Random(seed)).text for seed in range(999)]
    assert any(text.endswith(("now?", "currently?")) for text in whole)


@pytest.mark.parametrize(
    ("window", "forms"),
    [
        (Window(0, 24), {"in the first 24 hours", "between hours 0 and 24", "on day 1", "on the first day"}),
        (Window(24, 48), {"from hour 24 to hour 48", "on the second day"}),
        (Window(6), {"after hour 6", "from hour 6 on"}),
        (Window(-1), {"in the last 1 hour"}),
        (Window(), {"", "so far"}),
    ],
)
def test_windows_have_several_forms(window, forms):
    texts = {
        PARTS["train"].word(Query("highest", "lactate", window=window), NAMES, Random(seed)).text
        for seed in range(6000)
    }
    for form in forms:
        assert any(text.rstrip("?.").endswith(form) for text in texts), form


def test_no_name_stands_for_two_variables():
    counts = Counter(form for forms in NAMES.variables.values() for form in forms)
    assert [form for form, count in counts.items() if count > 1] == []
    assert set(NAMES.variables) == set(variables())
