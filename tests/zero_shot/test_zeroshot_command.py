"""``clinragen zeroshot``: what its scores rest on, what they never read, and what can go wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest

import clinragen
from clinragen.cohort.folder import Cohort


def run(command, cohort, labels, out, *further: object) -> int:
    return command("clinragen", "zeroshot", "--cohort", cohort, "--labels", labels, "--out", out, *further)


def test_no_label_of_a_stay_is_read_for_a_score(command, hospital, described, changed, tmp_path, capsys):
    keys = pl.exclude("stay_id")
    other = changed(labels=lambda table: table.with_columns(~keys))
    assert run(command, hospital.cohort, described, tmp_path / "one", "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert run(command, other, described, tmp_path / "two", "--json") == 0
    second = json.loads(capsys.readouterr().out)
    files = [(tmp_path / name / "zeroshot.parquet").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    assert first["evaluation"] != second["evaluation"]  # only this is read from labels
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert manifest["kind"] == "zero-shot scores"
    assert set(manifest["outputs"]) == {"zeroshot.parquet", "evaluation.json"}


def test_evidence_is_in_the_chart_where_it_says(scored, hospital, linker):
    cohort = Cohort.load(hospital.cohort)
    notes = {(stay, name): text for stay, name, text in cohort.notes.select("stay_id", "section", "text").iter_rows()}
    values = {(stay, name, hour): value for stay, hour, name, value in cohort.series.iter_rows()}
    kinds = dict.fromkeys(("note", "word", "series"), 0)
    for row in scored.table.iter_rows(named=True):
        weights = [piece["weight"] for piece in row["evidence"]]
        assert weights == sorted(weights, reverse=True)
        for piece in row["evidence"]:
            kinds[piece["kind"]] += 1
            if piece["kind"] == "series":
                value = values[row["stay_id"], piece["variable"], piece["hour"]]
                assert piece["value"] == pytest.approx(value, rel=0.02, abs=0.06)
                continue
            text = notes[row["stay_id"], piece["section"]]
            words = text[piece["start"] : piece["end"]]
            if piece["kind"] == "word":
                term = piece["why"].split("'")[1]
                assert words.lower().split() == term.split()
            elif not piece["concept"].startswith("circumstance:"):
                mentions = [one for one in linker.link(text) if (one.start, one.end) == (piece["start"], piece["end"])]
                assert [one.concept for one in mentions] == [piece["concept"]]
                assert not mentions[0].negated
    assert all(kinds.values()), kinds


def test_what_a_note_denies_does_not_count_and_what_it_affirms_does(scored, hospital, described, changed):
    cohort = Cohort.load(hospital.cohort)
    shown = {row["stay_id"]: row["note"] for row in scored.table.filter(label="chest_infection").iter_rows(named=True)}
    stay = min((note, stay) for stay, note in shown.items() if note is not None)[1]
    row = cohort.notes.filter(stay_id=stay, section="history_of_present_illness").row(0, named=True)
    results = {}
    for words in ("There is no fever, productive cough or infiltrate.", "Has fever, productive cough and infiltrate."):
        here = (pl.col("note_id") == row["note_id"]) & (pl.col("section") == row["section"])
        added = pl.when(here).then(pl.col("text") + f" {words}").otherwise(pl.col("text"))
        copy = changed(notes=lambda table, added=added: table.with_columns(text=added))
        results[words] = clinragen.zeroshot(copy, described).table.filter(stay_id=stay)
        shutil.rmtree(copy)
    denied, affirmed = results.values()
    assert denied.equals(scored.table.filter(stay_id=stay))
    assert affirmed.filter(label="chest_infection")["note"][0] > shown[stay] + 0.5


def test_a_label_is_scored_as_if_it_were_alone(scored, hospital, tmp_path):
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps({"described_labels": {"pneumonia": {"name": "pneumonia"}}}))
    table = clinragen.zeroshot(hospital.cohort, alone).table
    together = scored.table.filter(label="pneumonia")
    for name in ("score", "note", "series"):
        assert np.allclose(table[name].to_numpy(), together[name].to_numpy(), atol=1e-4, equal_nan=True)


def test_scores_are_standard_over_training_stays_and_tell_stays_apart(hospital, described):
    table = clinragen.zeroshot(hospital.cohort, described, split="train").table
    for _, rows in table.group_by("label"):
        assert rows["score"].mean() == pytest.approx(0, abs=1e-4)
        assert rows["score"].std(ddof=0) == pytest.approx(1, abs=1e-4)
    own = clinragen.zeroshot(hospital.cohort, "phenotypes", split="train")
    assert own.evaluation is not None
    assert own.evaluation["macro_auroc"]["score"]["value"] > 0.7  # names and graph alone, no label was read


def test_without_labels_nothing_is_evaluated(hospital, described, changed, tmp_path):
    bare = changed(labels=lambda table: table)
    (bare / "labels.parquet").unlink()
    manifest = json.loads((bare / "manifest.json").read_text())
    for part in ("outputs", "sizes"):
        del manifest[part]["labels.parquet"]
    (bare / "manifest.json").write_text(json.dumps(manifest))
    result = clinragen.zeroshot(bare, described, tmp_path / "out")
    assert result.evaluation is None
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_a_cohort_without_notes_is_scored_by_series_and_says_so(described, changed, tmp_path, command, capsys):
    silent = changed(notes=lambda table: table.head(0))
    assert run(command, silent, described, tmp_path / "out") == 0
    said = capsys.readouterr().out
    table = pl.read_parquet(tmp_path / "out" / "zeroshot.parquet")
    stays = table["stay_id"].n_unique()
    assert f"{stays} of {stays} stays have no note that can be read" in said
    assert "scores, no probabilities" in said
    assert table["note"].null_count() == len(table)
    assert table.filter(label="pneumonia")["score"].n_unique() > 3
    assert {piece["kind"] for row in table["evidence"].to_list() for piece in row} == {"series"}


def test_a_cohort_without_series_is_scored_by_notes(described, changed):
    result = clinragen.zeroshot(changed(series=lambda table: table.head(0)), described)
    assert result.table["series"].null_count() == len(result.table)
    assert result.table["score"].n_unique() > 3
    assert any("no measurement" in line for line in result.unreadable)


def test_a_cohort_with_neither_is_refused(described, changed):
    empty = changed(series=lambda table: table.head(0), notes=lambda table: table.head(0))
    with pytest.raises(clinragen.UserError, match="no training stay has a note or a measurement"):
        clinragen.zeroshot(empty, described)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "DESCRIBED: {odd: {name: unheard of thing}}",
            "label odd: 'unheard of thing' is no concept of the graph",
        ),
        ("DESCRIBED: {odd: {nam: pneumonia}}", "odd.nam is unknown: did you mean 'name'?"),
        (
            "DESCRIBED: {odd: {name: pneumonia, concepts: [no such thing]}}",
            "label odd: concepts: unknown concept",
        ),
        (
            "DESCRIBED: {odd: {name: pneumonia, concepts: ['variable:lactate']}}",
            "write finding:lactate:high or low",
        ),
        ("DESCRIBED: {odd: {name: pneumonia, synonyms: one}}", "odd.synonyms: expected a list"),
        ("DESCRIBED: {odd: {name: [pneumonia]}}", "odd.name: expected the name"),
        ("DESCRIBED: {Odd: {name: pneumonia}}", "Odd: a key is made of small letters"),
        ("DESCRIBED: []", "expected 'described_labels:' with one entry"),
        ("labels: {odd: {name: pneumonia}}", "no diagnosis gives this label"),
        ("others: {}", "unknown key 'others'"),
    ],
)
def test_a_faulty_description_is_refused_in_one_line(content, said, hospital, command, tmp_path, capsys):
    path = tmp_path / "labels.yaml"
    path.write_text(content.replace("DESCRIBED", "described_labels"))
    assert run(command, hospital.cohort, path, tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--labels", "phenotype"), "did you mean 'phenotypes'?"),
        (("--set", "weights.note=-1"), "weights.note=-1.0: expected 0 or more"),
        (("--set", "templates=[sign of]"), "each with one {}"),
        (("--set", "further=2"), "expected a number from 0 to 1"),
        (("--encoder", "nowhere"), "--encoder nowhere cannot be loaded"),
    ],
)
def test_a_faulty_option_is_refused_in_one_line(options, said, hospital, described, command, tmp_path, capsys):
    assert run(command, hospital.cohort, described, tmp_path / "out", *options) == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
