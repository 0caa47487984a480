import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_hospital import KEYS, make_cohort, make_predictions

import clinragen
from clinragen.cli import dispatch
from clinragen.errors import UserError
from clinragen.evaluation.stored import load_evaluation
from clinragen.evaluation.table import number


def run(*arguments: str | Path) -> dict:
    words = [str(argument) for argument in arguments]
    assert not dispatch(["evaluate", *words])
    folder = words[words.index("--out" if "--out" in words else "--predictions") + 1]
    return json.loads((Path(folder) / "evaluation.json").read_text())


def test_table_shows_guess_model_and_both_controls(cohort, predictions, tmp_path, capsys):
    zeroed = make_predictions(tmp_path / "zeroed", cohort, seed=2, signal=1.0, series_input="zeroed")
    permuted = make_predictions(tmp_path / "permuted", cohort, seed=3, signal=0.5, series_input="permuted")
    arguments = ["--predictions", predictions, "--cohort", cohort, "--out", tmp_path, "--replicates", "100"]
    found = run(*arguments, "--predictions-zeroed", zeroed, "--predictions-permuted", permuted)
    assert list(found["systems"]) == ["model", "permuted", "prevalence", "zeroed"]
    auroc = {name: system["scores"]["macro_auroc"]["value"] for name, system in found["systems"].items()}
    assert auroc["prevalence"] == 0.5
    assert auroc["model"] > auroc["zeroed"] > auroc["permuted"]
    cost = found["cost_of_control"]["zeroed"]["macro_auroc"]
    assert cost["value"] == pytest.approx(auroc["model"] - auroc["zeroed"])
    assert cost["low"] <= cost["value"] <= cost["high"]
    shown = capsys.readouterr().out
    for title in ("prevalence guess", "model, series zeroed", "model, series permuted", number(auroc["model"])):
        assert title in shown


def test_same_input_gives_the_same_bytes(cohort, predictions, tmp_path):
    for name in ("first", "second"):
        run("--predictions", predictions, "--cohort", cohort, "--out", tmp_path / name, "--replicates", "20")
    first, second = ((tmp_path / name / "evaluation.json").read_bytes() for name in ("first", "second"))
    assert first == second


def test_label_with_one_class_is_named_and_has_no_area(tmp_path):
    cohort = make_cohort(tmp_path / "cohort", stays=30)
    path = cohort / "labels.parquet"
    table = pq.read_table(path)
    never = pa.array([False] * len(table))
    pq.write_table(table.set_column(table.column_names.index("shock"), "shock", never), path)
    predictions = make_predictions(tmp_path / "predictions", cohort)
    found = run("--predictions", predictions, "--cohort", cohort, "--replicates", "20")
    assert "shock" in found["left_out"]
    row = next(row for row in found["phenotypes"] if row["key"] == "shock")
    assert row["auroc"]["value"] is None
    assert row["n_positive"] == 0
    assert len(found["phenotypes"]) == len(KEYS)


def test_runs_without_torch(cohort, predictions, tmp_path):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from clinragen.cli import dispatch\n"
        "dispatch(['evaluate', *sys.argv[1:]])\n"
    )
    arguments = ["--predictions", predictions, "--cohort", cohort, "--out", tmp_path, "--replicates", "5"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no controls are run" in done.stderr  # the fixture's model does not exist


def broken(predictions: Path, to: Path, **changes: object) -> Path:
    """A copy of the predictions with manifest entries changed, or removed where None."""
    shutil.copytree(predictions, to)
    manifest = json.loads((to / "manifest.json").read_text()) | changes
    (to / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
    return to


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohort_hash": "0" * 64}, "another cohort"),
        ({"labels": KEYS[:-1]}, "shock"),
        ({"thresholds": {}}, "thresholds has no entry"),
        ({"model_hash": None}, "model_hash: is missing"),
    ],
)
def test_what_does_not_belong_together_is_refused(cohort, predictions, tmp_path, changes, message):
    folder = broken(predictions, tmp_path / "broken", **changes)
    with pytest.raises(UserError, match=message):
        run("--predictions", folder, "--cohort", cohort)
    assert not (folder / "evaluation.json").exists()


def test_stay_that_is_not_in_the_cohort_is_refused(cohort, predictions, tmp_path):
    folder = broken(predictions, tmp_path / "broken")
    table = pq.read_table(folder / "predictions.parquet")
    ids = pa.array([1, *table["stay_id"].to_pylist()[1:]])
    pq.write_table(table.set_column(0, "stay_id", ids), folder / "predictions.parquet")
    with pytest.raises(UserError, match="lacks 1 predicted stays, the first is 1"):
        run("--predictions", folder, "--cohort", cohort)


@pytest.mark.parametrize("damage", ["twice", "above_one", "cut", "alien"])
def test_damaged_table_is_refused(cohort, predictions, tmp_path, damage):
    folder = broken(predictions, tmp_path / "broken")
    path = folder / "predictions.parquet"
    rows = pq.read_table(path).to_pylist()
    schema = pq.read_schema(path)
    if damage == "twice":
        rows[1]["stay_id"] = rows[0]["stay_id"]
    elif damage == "above_one":
        rows[2]["probabilities"][KEYS[4]] = 1.5
    elif damage == "alien":
        rows[0]["diagnoses"] = ["hiccups"]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    messages = {"twice": "more than once", "above_one": "no probability", "cut": "Parquet", "alien": "hiccups"}
    with pytest.raises(UserError, match=messages[damage]):
        run("--predictions", folder, "--cohort", cohort)


def test_control_of_another_model_is_refused(cohort, predictions, tmp_path):
    other = broken(predictions, tmp_path / "other", series_input="zeroed", model_hash="b" * 64)
    arguments = ["--predictions", predictions, "--cohort", cohort, "--out", tmp_path]
    with pytest.raises(UserError, match="model_hash differ"):
        run(*arguments, "--predictions-zeroed", other)
    with pytest.raises(UserError, match="expected 'permuted'"):
        run(*arguments, "--predictions-permuted", predictions)


def test_unknown_teacher_lists_the_known(cohort, predictions, tmp_path):
    with pytest.raises(UserError, match="evidence"):
        run("--predictions", predictions, "--cohort", cohort, "--out", tmp_path, "--teacher", "oracle")


def test_coverage_stands_beside_the_supported_share(cohort, predictions, tmp_path, capsys):
    found = run("--predictions", predictions, "--cohort", cohort, "--out", tmp_path / "scores", "--replicates", "20")
    table = pq.read_table(predictions / "predictions.parquet")
    listed = sum(map(len, table["diagnoses"].to_pylist()))
    # the fixture's note rationale argues for every diagnosis that it lists, from findings that the note holds
    assert (found["coverage"]["listed"], found["coverage"]["grounded"]) == (listed, listed)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{listed} of {listed} listed diagnoses with a stated ground: 1.000" in shown
    assert "absence" in shown  # how many statements of absence, beside the shares that they leave


ONCE = ("--replicates", "5")


@pytest.fixture
def controlled(cohort, predictions, tmp_path) -> tuple[list, Path]:
    """Arguments of an evaluation, and the file in which one with both controls stands."""
    arguments = ["--predictions", predictions, "--cohort", cohort, "--out", tmp_path / "scores"]
    given = []
    for name in ("zeroed", "permuted"):
        folder = make_predictions(tmp_path / name, cohort, seed=2, signal=1.0, series_input=name)
        given += [f"--predictions-{name}", folder]
    run(*arguments, *given, *ONCE)
    return arguments, tmp_path / "scores" / "evaluation.json"


def test_an_evaluation_is_replaced_only_when_asked(controlled):
    arguments, path = controlled
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"evaluation\.json already exists.*--overwrite"):
        run(*arguments, *ONCE)
    assert path.read_bytes() == before


@pytest.mark.parametrize("more", [(), ("--no-controls",)])
def test_a_re_evaluation_keeps_the_controls(controlled, more, capsys):
    arguments, path = controlled
    before = json.loads(path.read_text())
    after = run(*arguments, *ONCE, "--overwrite", *more)
    assert after["systems"] == before["systems"]
    assert after["cost_of_control"] == before["cost_of_control"] != {}
    assert "model, series zeroed" in capsys.readouterr().out


def test_controls_of_other_replicates_are_not_lost(controlled):
    arguments, path = controlled
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"would lose the controls zeroed and permuted.*--replicates 5 --seed 0"):
        run(*arguments, "--replicates", "6", "--overwrite")
    assert path.read_bytes() == before


def test_controls_of_other_predictions_are_not_kept(controlled, cohort, tmp_path):
    arguments, _ = controlled
    other = make_predictions(tmp_path / "other", cohort, seed=9)
    after = run("--predictions", other, *arguments[2:], *ONCE, "--overwrite")
    assert set(after["systems"]) == {"model", "prevalence"}


def test_what_the_release_before_wrote_is_read_and_kept_under_the_names_of_today(controlled, cohort, tmp_path):
    arguments, path = controlled
    today = json.loads(path.read_text())
    former = json.loads(path.read_text().replace("permuted", "shuffled"))
    assert "shuffled" in former["systems"]
    path.write_text(json.dumps(former))
    read = load_evaluation(path)
    assert (read["systems"], read["cost_of_control"]) == (today["systems"], today["cost_of_control"])
    assert run(*arguments, *ONCE, "--overwrite")["systems"] == today["systems"]


def test_predictions_and_option_of_the_release_before_are_taken_with_a_hint(controlled, cohort, tmp_path, capsys):
    arguments, _ = controlled
    former = make_predictions(tmp_path / "former", cohort, seed=2, signal=1.0, series_input="shuffled")
    assert "shuffled" in (former / "manifest.json").read_text()
    after = run(*arguments, *ONCE, "--overwrite", "--predictions-shuffled", former)
    assert "permuted" in after["systems"]
    assert "--predictions-shuffled is now --predictions-permuted" in capsys.readouterr().err


def test_the_keyword_of_the_release_before_is_taken_with_a_hint(predictions, cohort, tmp_path, capsys):
    permuted = make_predictions(tmp_path / "permuted", cohort, seed=2, signal=1.0, series_input="permuted")
    given = {"no_controls": True, "replicates": 10}
    former = clinragen.evaluate(predictions, cohort, tmp_path / "a", predictions_shuffled=permuted, **given)
    assert "evaluate: predictions_shuffled is now predictions_permuted" in capsys.readouterr().err
    today = clinragen.evaluate(predictions, cohort, tmp_path / "b", predictions_permuted=permuted, **given)
    assert capsys.readouterr().err == ""
    assert former.values["systems"] == today.values["systems"]
    with pytest.raises(UserError, match="give only the second"):
        clinragen.evaluate(predictions, cohort, predictions_shuffled=permuted, predictions_permuted=permuted, **given)


def test_a_control_given_anew_takes_the_place_of_the_old(controlled, cohort, tmp_path):
    arguments, path = controlled
    before = json.loads(path.read_text())
    zeroed = make_predictions(tmp_path / "again", cohort, seed=5, signal=0.1, series_input="zeroed")
    after = run(*arguments, *ONCE, "--overwrite", "--predictions-zeroed", zeroed)
    assert after["systems"]["permuted"] == before["systems"]["permuted"]
    assert after["systems"]["zeroed"] != before["systems"]["zeroed"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("evaluation.json", '{"grades": [1, 2]}'), ("evaluation.json", "my notes"), ("claims.jsonl", "my notes"),
     ("claims.jsonl", '{"claim": "patent"}\n'), ("evaluation.json", "")],
)  # fmt: skip
def test_a_file_of_the_users_own_is_not_replaced(cohort, predictions, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    arguments = ("--predictions", predictions, "--cohort", cohort, "--out", tmp_path, *ONCE)
    for more in ((), ("--overwrite",)):
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            run(*arguments, *more)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize("place", ["cohort", "file", "link"])
def test_an_evaluation_does_not_go_where_something_else_is(cohort, predictions, tmp_path, place):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    out = cohort if place == "cohort" else tmp_path / place
    before = sorted(cohort.rglob("*"))
    with pytest.raises(UserError, match="--out"):
        run("--predictions", predictions, "--cohort", cohort, "--out", out, *ONCE)
    assert sorted(cohort.rglob("*")) == before


def test_remarks_on_the_model_are_shown(cohort, predictions, tmp_path, capsys):
    told = "the model was trained on mimic-iv, this cohort is of eicu: its probabilities are not calibrated there"
    folder = broken(predictions, tmp_path / "remarked", remarks=[told])
    found = run("--predictions", folder, "--cohort", cohort, "--out", tmp_path / "scores", *ONCE)
    assert found["predictions"]["remarks"] == [told]
    assert told in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("model", ["not an object", "[]", '{"model_sha256": 5}'])
def test_a_damaged_manifest_of_the_model_is_one_line(cohort, predictions, tmp_path, model):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text(model)
    folder = broken(predictions, tmp_path / "p", model=str(tmp_path / "model"))
    with pytest.raises(UserError, match=r"manifest\.json|has changed since"):
        run("--predictions", folder, "--cohort", cohort, *ONCE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--replicates", "0"), "--replicates 0"),
        (("--replicates", "-5"), "--replicates -5"),
        (("--replicates", "1" + "0" * 30), "--replicates"),
        (("--seed", "-1"), "--seed -1"),
        (("--seed", "1" + "0" * 40), "--seed"),
        (("--teacher", "../../evidence"), "name of a teacher"),
        (("--graph", "nowhere"), "nowhere"),
        (("--predictions-zeroed", "nowhere"), "nowhere"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(cohort, predictions, tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        run("--predictions", predictions, "--cohort", cohort, "--out", tmp_path / "scores", *ONCE, *given)
    assert not (tmp_path / "scores").exists()
