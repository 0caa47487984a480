"""The worked example of docs/variables.md, as it stands there: from a file to a report that shows the variable."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest

from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError

_PAGE = (Path(__file__).parents[2] / "docs" / "variables.md").read_text(encoding="utf-8")
_ITEM = 59001


def example() -> str:
    """The file that the page shows."""
    match = re.search(r"`procalcitonin.yaml`\n\n```yaml\n(.*?)```", _PAGE, re.DOTALL)
    assert match
    return match[1]


def plant(raw: Path, septic: set[str]) -> None:
    """Procalcitonin of septic stays and of a few others: high and rising, once in another unit."""
    with gzip.open(raw / "icu" / "icustays.csv.gz", "rt") as file:
        stays = list(csv.DictReader(file))
    path = raw / "hosp" / "labevents.csv.gz"
    with gzip.open(path, "rt") as file:
        table = csv.DictReader(file)
        columns, rows = list(table.fieldnames or ()), list(table)
    for number, stay in enumerate(stays):
        day = stay["intime"][:10]
        if stay["stay_id"] not in septic and number % 15:
            continue
        for clock, value, unit in [("09:00", "1.5", "ng/mL"), ("18:00", "42000", "pg/mL")]:
            start = _next_day(day)
            rows.append(
                dict.fromkeys(columns, "")
                | {
                    "labevent_id": str(9_000_000 + len(rows)), "subject_id": stay["subject_id"],
                    "hadm_id": stay["hadm_id"], "specimen_id": str(9_000_000 + number), "itemid": str(_ITEM),
                    "charttime": f"{start} {clock}:00", "storetime": f"{start} {clock}:30",
                    "value": value, "valuenum": value, "valueuom": unit,
                }
            )  # fmt: skip
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _next_day(day: str) -> str:
    return str(pl.Series([day]).str.to_date().dt.offset_by("1d")[0])


@pytest.fixture(scope="module")
def cohort(hospital, command, tmp_path_factory):
    root = tmp_path_factory.mktemp("added")
    shutil.copytree(hospital.raw, root / "raw")
    septic = Cohort.load(hospital.cohort).labels.filter("septicemia")["stay_id"]
    plant(root / "raw", set(septic.cast(pl.String)))
    (root / "procalcitonin.yaml").write_text(example(), encoding="utf-8")
    line = re.search(r"^mimic-prep mimic-iv .*$", _PAGE, re.MULTILINE)
    assert line
    words = {"DIR": root / "raw", "COHORT": root / "cohort", "procalcitonin.yaml": root / "procalcitonin.yaml"}
    program, *arguments = [words.get(word, word) for word in shlex.split(line[0])]
    assert command(program, *arguments) == 0
    assert command("clinragen", "teach", "--cohort", root / "cohort") == 0
    return root / "cohort"


def test_the_example_leads_to_a_report_that_cites_the_variable(cohort, hospital, command, tmp_path, capsys):
    own = Cohort.load(cohort)
    rows = own.series.filter(variable="procalcitonin")
    assert set(rows["value"]) == {1.5, 42.0}  # pg/mL were converted
    plain = Cohort.load(hospital.cohort)
    assert own.series.filter(pl.col("variable") != "procalcitonin").equals(plain.series)
    told = " ".join(own.rationales("evidence").filter(kind="series")["text"])
    assert re.search(r"high procalcitonin rising from about 1\.\d+ to 4\d(\.\d+)? ng/mL", told)
    assert re.search(
        r"high procalcitonin[^;]*(pointing to|supporting|consistent with|suggesting) [^;]*septicemia", told
    )
    options = ("--cohort", cohort, "--set", "stage.epochs=1")
    notes, series = tmp_path / "notes", tmp_path / "series"
    assert command("clinragen", "train", "notes", *options, "--out", notes, "--model", hospital.model) == 0
    assert command("clinragen", "train", "series", *options, "--out", series, "--parent", notes) == 0
    described = json.loads((series / "model" / "clinragen.json").read_text())
    assert "procalcitonin" in described["statistics"]["variables"]
    assert list(described["added_variables"]["variables"]) == ["procalcitonin"]
    nodes = pl.read_parquet(series / "model" / "graph" / "nodes.parquet")
    assert "finding:procalcitonin:high" in nodes["id"]
    given = ("--cohort", cohort, "--out", tmp_path / "predictions")
    assert command("clinragen", "predict", "--model", series, *given) == 0
    predictions = ("--predictions", tmp_path / "predictions", "--cohort", cohort)
    assert command("clinragen", "report", *predictions, "--out", tmp_path / "report") == 0
    measured = set(rows["stay_id"].cast(pl.String))
    pages = [path for path in (tmp_path / "report").rglob("*.html") if path.stem in measured]
    assert pages
    assert all("procalcitonin" in page.read_text(encoding="utf-8") for page in pages)
    stated = json.loads((tmp_path / "predictions" / "manifest.json").read_text())
    assert list(stated["added_variables"]["variables"]) == ["procalcitonin"]
    capsys.readouterr()
    assert command("clinragen", "predict", "--model", series, "--cohort", hospital.cohort, "--out", tmp_path / "o") == 0
    assert "has no procalcitonin" in capsys.readouterr().err


def test_another_meaning_of_the_same_name_is_refused_in_one_line(cohort, hospital, command, tmp_path, capsys):
    (tmp_path / "other.yaml").write_text(example().replace("decimals: 2", "decimals: 1").replace("0.25]", "0.5]"))
    given = ("--raw", hospital.raw, "--out", tmp_path / "cohort", "--variables", tmp_path / "other.yaml")
    assert command("mimic-prep", "mimic-iv", *given) == 0
    Cohort.load(cohort)
    with pytest.raises(UserError, match=r"procalcitonin is not that of .*differs in: high, decimals"):
        Cohort.load(tmp_path / "cohort")


def test_a_cohort_is_prepared_again_when_its_variables_change(cohort, hospital, command, tmp_path, capsys):
    (tmp_path / "one.yaml").write_text(example())
    given = ("--raw", cohort.parent / "raw", "--out", tmp_path / "cohort")
    assert command("mimic-prep", "mimic-iv", *given, "--variables", tmp_path / "one.yaml") == 0
    assert (tmp_path / "cohort" / "manifest.json").read_bytes() == (cohort / "manifest.json").read_bytes()
    assert command("mimic-prep", "mimic-iv", *given) == 2
    assert "made from other tables or settings" in capsys.readouterr().err
    assert command("mimic-prep", "mimic-iv", *given, "--overwrite") == 0
    assert (tmp_path / "cohort" / "series.parquet").read_bytes() == (hospital.cohort / "series.parquet").read_bytes()


def test_an_item_id_that_the_release_lacks_is_told(cohort, hospital, command, tmp_path):
    warnings = json.loads((cohort / "manifest.json").read_text())["warnings"]
    assert not any("procalcitonin" in line for line in warnings)
    (tmp_path / "added.yaml").write_text(example(), encoding="utf-8")
    words = ("--raw", hospital.raw, "--out", tmp_path / "cohort", "--variables", tmp_path / "added.yaml")
    assert command("mimic-prep", "mimic-iv", *words) == 0
    assert json.loads((tmp_path / "cohort" / "manifest.json").read_text())["warnings"] == [
        "no value of procalcitonin was read, which --variables adds: are the rows there, with the item ids or LOINC "
        "codes that the file names?",
        *warnings,
    ]
