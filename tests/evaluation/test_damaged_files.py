"""Damaged predictions, explanations and evaluations: one line that names file and place, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mutations import mutated
from small_hospital import KEYS, make_cohort, make_predictions

from clinragen.artifacts import sha256_file
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.evaluation import faithfulness
from clinragen.evaluation.inputs import Predictions, load_predictions, load_truth
from clinragen.evaluation.stored import load_evaluation
from clinragen.evaluation.summary import summarize
from clinragen.evaluation.table import render
from clinragen.knowledge.graph import build
from clinragen.reporting.build import ReportInput, write_report

GRAPH = build()
WEIGHED = pa.list_(pa.struct([("concept", pa.string()), ("weight", pa.float64())]))
PARTS = {
    "concepts": [{"concept": "finding:heart_rate:high", "in": "series", "score": 1.25}],
    "variables": [{"variable": "heart_rate", "score": 1.5}],
    "hours": [{"variable": "heart_rate", "from_hour": 12, "to_hour": 24, "score": 0.8}],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> SimpleNamespace:
    """A few stays with predictions, their claims, explanations and evaluation."""
    root = tmp_path_factory.mktemp("damaged")
    cohort = make_cohort(root / "cohort", stays=6)
    folder = make_predictions(root / "predictions", cohort)
    predictions = load_predictions(folder)
    truth = load_truth(predictions, Cohort.load(cohort))
    claims = faithfulness.check(predictions, truth, GRAPH)
    evaluation = summarize(
        predictions, truth, {"zeroed": predictions.system}, claims=claims, teacher="evidence", replicates=3
    )
    row = {"diagnosis": "shock", "probability": 0.7, "threshold": 0.3, "occlusion": PARTS, "attention": PARTS}
    explained = {"stay_id": int(predictions.stay_ids[0]), "diagnoses": [row]}
    return SimpleNamespace(
        root=root, folder=folder, truth=truth, claims=claims, explained=explained,
        evaluation=json.loads(json.dumps(evaluation)), manifest=json.loads((folder / "manifest.json").read_text()),
    )  # fmt: skip


@pytest.fixture
def folder(base, tmp_path) -> Path:
    shutil.copytree(base.folder, tmp_path / "predictions")
    return tmp_path / "predictions"


def show(predictions: Predictions, base: SimpleNamespace, out: Path, evaluation: dict | None = None) -> None:
    """Write the report of the base's claims."""
    shutil.rmtree(out, ignore_errors=True)
    write_report(ReportInput(predictions, base.truth, base.claims, dict(GRAPH.nodes), evaluation, None), out)


def outcome(attempt, name: str) -> str:
    """``read`` or ``refused``; anything but one line that names the file fails."""
    told = None
    try:
        attempt()
    except UserError as error:
        told = str(error)
    if told is None:
        return "read"
    assert name in told
    assert told.isprintable()
    assert len(told) < 1500
    return "refused"


def test_every_damage_to_the_manifest_is_read_or_refused(base, folder, tmp_path):
    counts: Counter[str] = Counter()
    for what, damaged in mutated(base.manifest):
        (folder / "manifest.json").write_text(json.dumps(damaged))

        def attempt():
            predictions = load_predictions(folder)
            load_truth(predictions, base.truth.cohort)
            show(predictions, base, tmp_path / "site")

        counts[outcome(attempt, "predictions")] += 1
        assert what
    assert counts["refused"] > 30
    assert counts["read"] > 5  # what only describes the training is shown, whatever it is


def test_every_damage_to_an_explanation_is_read_or_refused(base, folder, tmp_path):
    counts: Counter[str] = Counter()
    for number, (_, damaged) in enumerate(mutated(base.explained, among=8)):
        (folder / "attributions.jsonl").write_text(json.dumps(damaged) + "\n")

        def attempt(shown=number % 4 == 0):
            predictions = load_predictions(folder)
            if shown:  # it takes a while
                show(predictions, base, tmp_path / "site")

        counts[outcome(attempt, "attributions.jsonl: line 1")] += 1
    assert counts["refused"] > 30
    assert counts["read"] > 3


def test_every_damage_to_an_evaluation_is_read_or_refused(base, tmp_path):
    counts: Counter[str] = Counter()
    path, predictions = tmp_path / "evaluation.json", load_predictions(base.folder)
    for number, (_, damaged) in enumerate(mutated(base.evaluation, among=8)):
        path.write_text(json.dumps(damaged))

        def attempt(shown=number % 40 == 0):
            evaluation = load_evaluation(path)
            render(evaluation)
            if shown:  # it takes a while
                show(predictions, base, tmp_path / "site", evaluation)

        counts[outcome(attempt, "evaluation.json")] += 1
    assert counts["refused"] > 500
    path.write_text(json.dumps(base.evaluation))
    show(predictions, base, tmp_path / "site", load_evaluation(path))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "5", '"x"', "\ud83d\ude00", "[" * 100_000, '{"a":' * 20_000, "NaN", "{}", "{}\n{}",
     "9" * 5000, '{"systems": {}, "predictions": {}, "phenotypes": [], "cohort": {}}'],
)  # fmt: skip
def test_what_is_no_evaluation_is_refused(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(UserError, match=r"evaluation\.json"):
        load_evaluation(tmp_path / "evaluation.json")


def test_the_place_of_the_damage_is_named(base, tmp_path):
    path = tmp_path / "evaluation.json"
    damaged = json.loads(json.dumps(base.evaluation))
    damaged["systems"]["model"]["scores"]["macro_auroc"]["value"] = "high"
    path.write_text(json.dumps(damaged))
    with pytest.raises(UserError, match=r"systems\.model\.scores\.macro_auroc\.value: expected a number or null"):
        load_evaluation(path)
    del damaged["coverage"]
    path.write_text(json.dumps(damaged))
    with pytest.raises(UserError, match=r"run clinragen evaluate again"):
        load_evaluation(path)


def rewrite(folder: Path, change) -> None:
    path = folder / "predictions.parquet"
    table = change(pq.read_table(path))
    pq.write_table(table, path)


def column(name: str, values) -> object:
    return lambda table: table.set_column(table.column_names.index(name), name, values(table))


def array(value, kind=None):
    return lambda table: pa.array([value] * len(table), kind)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("stay_id", array("1"), "stay_id"),
        ("stay_id", array(1.5), "stay_id"),
        ("stay_id", array(None, pa.int64()), "stay_id"),
        ("stay_id", array(None), "stay_id"),
        ("stay_id", array(7), "more than once"),
        ("diagnoses", array("shock"), "diagnoses"),
        ("diagnoses", array([1]), "diagnoses"),
        ("diagnoses", array([None], pa.list_(pa.string())), "diagnoses"),
        ("diagnoses", array(["SHOCK "]), "SHOCK"),
        ("diagnoses", array(["\u202eshock"]), "not among the labels"),
        ("probabilities", array([0.5]), "probabilities"),
        ("probabilities", array({"shock": 0.5}), "probabilities"),
        ("probabilities", array(dict.fromkeys(KEYS, "x")), "probabilities"),
        ("probabilities", array(dict.fromkeys(KEYS, float("nan"))), "no probability"),
        ("probabilities", array(dict.fromkeys(KEYS, float("inf"))), "no probability"),
        ("probabilities", array(dict.fromkeys(KEYS, -0.01)), "no probability"),
        ("probabilities", array({**dict.fromkeys(KEYS, 0.5), "shock": None}), "probabilities"),
        ("probabilities", array(None, pa.struct([(key, pa.float64()) for key in KEYS])), "probabilities"),
        ("note_rationale", array(5), "note_rationale"),
        ("note_rationale", array(b"\xff", pa.binary()), "note_rationale"),
        ("note_rationale", array("word " * 20_000), "at most"),
        ("series_rationale", array(["x"]), "series_rationale"),
        ("series_rationale", array("x" * 200_000), "at most"),
        ("parsed", array("yes"), "parsed"),
        ("parsed", array(None, pa.bool_()), "parsed"),
        ("concepts", array("x"), "concepts"),
        ("concepts", array([{"concept": "a"}]), "concepts"),
        ("concepts", array([{"concept": 1, "weight": 0.5}]), "concepts"),
        ("concepts", array([{"concept": "a", "weight": float("nan")}]), "concepts"),
        ("concepts", array([{"concept": "a", "weight": None}], WEIGHED), "concepts"),
    ],
)  # fmt: skip
def test_a_column_of_another_kind_is_named(folder, name, values, message):
    rewrite(folder, column(name, values))
    with pytest.raises(UserError, match=message) as caught:
        load_predictions(folder)
    assert "predictions.parquet" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", [pa.int32(), pa.int16(), pa.uint64()])
def test_other_widths_of_the_same_numbers_are_read(folder, kind, base):
    rewrite(folder, column("stay_id", lambda table: pa.array(range(len(table)), kind)))
    assert load_predictions(folder).stay_ids.tolist() == list(range(len(base.claims)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": dict.fromkeys(KEYS, 1.5)}, r"thresholds\.acute_renal_failure"),
        ({"thresholds": dict.fromkeys(KEYS, -0.1)}, "thresholds"),
        ({"thresholds": dict.fromkeys(KEYS, float("nan"))}, "thresholds"),
        ({"thresholds": dict.fromkeys(KEYS, float("inf"))}, "thresholds"),
        ({"thresholds": [0.5] * len(KEYS)}, "thresholds"),
        ({"labels": [*KEYS, KEYS[0]]}, "labels"),
        ({"labels": KEYS[:-1]}, "shock"),
        ({"labels": []}, "labels"),
        ({"labels": "shock"}, "labels"),
        ({"labels": None}, "labels"),
        ({"model": 5}, "model: expected a text"),
        ({"model_hash": ["a"]}, "model_hash"),
        ({"series_input": "inverted"}, "series_input"),
        ({"training": "none"}, "training"),
        ({"graph": 7}, "graph"),
        ({"remarks": "x"}, "remarks"),
    ],
)
def test_a_manifest_that_says_something_else_is_named(folder, base, changes, message):
    (folder / "manifest.json").write_text(json.dumps(base.manifest | changes))
    with pytest.raises(UserError, match=message) as caught:
        load_predictions(folder)
    assert "predictions" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"stay_id": 1, "diagnoses": []}', "stay 1 is none of those predicted"),
        ("{stay}\n{stay}", "line 2 .*stay .* is explained twice"),
        ("\n\n{", "line 3"),
        ('{"stay_id": NaN, "diagnoses": []}', "line 1"),
        ("[" * 50_000, "line 1"),
        ('{"stay_id": ' + "1" * 5000 + "}", "line 1"),
        ("\udcff", "UTF-8"),
    ],
)
def test_explanations_that_belong_to_nothing_are_refused(folder, base, line, message):
    own = json.dumps({"stay_id": base.explained["stay_id"], "diagnoses": []})
    text = line.replace("{stay}", own)
    (folder / "attributions.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=message):
        load_predictions(folder)


def test_a_variable_or_diagnosis_that_is_none_is_refused(folder, base):
    for change in ({"diagnosis": "gout"}, {"occlusion": {**PARTS, "hours": [{**PARTS["hours"][0], "variable": "x"}]}}):
        row = base.explained["diagnoses"][0] | change
        (folder / "attributions.jsonl").write_text(json.dumps({**base.explained, "diagnoses": [row]}))
        with pytest.raises(UserError, match=r"attributions\.jsonl: line 1.*(gout|variable)"):
            load_predictions(folder)


def sealed(folder: Path) -> Path:
    """A predictions folder whose manifest records its files, as ``clinragen predict`` writes it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    files = sorted(path for path in folder.iterdir() if path.name != "manifest.json")
    manifest["outputs"] = {path.name: sha256_file(path) for path in files}
    manifest["sizes"] = {path.name: path.stat().st_size for path in files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("name", ["predictions.parquet", "predictions.jsonl", "attributions.jsonl"])
@pytest.mark.parametrize("how", ["edited", "cut", "longer"])
def test_a_file_that_was_changed_since_is_named(folder, base, name, how):
    (folder / "predictions.jsonl").write_text('{"stay_id": 1}\n')
    (folder / "attributions.jsonl").write_text(json.dumps(base.explained) + "\n")
    sealed(folder)
    load_predictions(folder)
    content = (folder / name).read_bytes()
    middle = len(content) // 2
    changed = {"edited": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
               "cut": content[:-1], "longer": content + b"\n"}[how]  # fmt: skip
    (folder / name).write_bytes(changed)
    with pytest.raises(UserError, match=rf"{name} is not the file that its manifest describes.*clinragen predict anew"):
        load_predictions(folder)


def test_raised_probabilities_under_the_old_manifest_are_an_error(folder):
    sealed(folder)
    rewrite(folder, column("probabilities", array(dict.fromkeys(KEYS, 0.9))))
    with pytest.raises(UserError, match=r"predictions\.parquet is not the file"):
        load_predictions(folder)


def test_a_recorded_file_that_is_gone_is_named(folder, base):
    (folder / "attributions.jsonl").write_text(json.dumps(base.explained) + "\n")
    sealed(folder)
    (folder / "attributions.jsonl").unlink()
    with pytest.raises(UserError, match=r"attributions\.jsonl not found"):
        load_predictions(folder)


def test_a_file_that_was_put_beside_them_is_named(folder, base):
    sealed(folder)
    (folder / "attributions.jsonl").write_text(json.dumps(base.explained) + "\n")
    with pytest.raises(UserError, match=r"attributions\.jsonl is not recorded"):
        load_predictions(folder)
