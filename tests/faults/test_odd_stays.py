"""Odd stays and hostile notes through predict, verify and report: nothing breaks or runs, and what is claimed is true.

The stays are in ``odd_stays.py``. They stand in one cohort, beside one plain stay.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serve.server_thread import served

from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.reporting.visible import HIDDEN
from clinragen.schema import CohortPaths

from .odd_stays import ODD, PAYLOADS, PLAIN, RAN, Hostile, Odd, hostile, note

#: Seconds of the processor that all commands may take; they take about forty.
SECONDS = 200.0
FIRST = 1000  # id of the plain stay; the others follow
HOSTILE = hostile()
#: Ids as far as a column of int64 holds them: a browser's numbers do not.
IDS = [-(2**63), -1, 0, 1, 2**53 + 1, 2**63 - 1]
#: Of these the other forms are made, too: odd ids, every odd stay of some kinds, some payloads.
FEW = [
    *IDS,
    *range(FIRST, FIRST + len(ODD) + 1, 4),
    *range(FIRST + len(ODD) + len(HOSTILE) - 60, FIRST + len(ODD) + len(HOSTILE), 6),
]


@dataclass(frozen=True)
class Reported:
    """Everything that was written.

    Attributes:
        root: with a folder for each output.
        stays: id -> what is odd about the stay.
        rows: id -> its prediction.
        claims: id -> its claims with their verdicts.
        seconds: that the commands took.
    """

    root: Path
    stays: dict[int, Odd | Hostile]
    rows: dict[int, dict[str, Any]]
    claims: dict[int, list[dict[str, Any]]]
    seconds: float

    def of(self, name: str) -> int:
        """The id of an odd stay."""
        return FIRST + 1 + list(ODD).index(name)


def write_cohort(source: Path, root: Path, stays: dict[int, Odd | Hostile]) -> None:
    """A cohort of these stays: what is not odd about them is that of the hospital's first stay with a long series."""
    shutil.copytree(source, root, ignore=shutil.ignore_patterns("rationales"))
    paths = CohortPaths(root)
    tables = {
        name: pl.read_parquet(getattr(paths, name)) for name in ("stays", "series", "notes", "labels", "outcomes")
    }
    model = tables["series"]["stay_id"].mode().min()
    of_model = {name: table.filter(stay_id=model) for name, table in tables.items()}
    measured = of_model["series"].select("variable", "hour", "value").rows()
    parts: dict[str, list[pl.DataFrame]] = defaultdict(list)
    series, notes = [], []
    for stay, odd in stays.items():
        odd = odd if isinstance(odd, Odd) else note(odd.text)
        parts["stays"].append(
            of_model["stays"].with_columns(age=pl.lit(odd.age, pl.Float32), sex=pl.lit(odd.sex, pl.String))
        )
        series += [(stay, hour, name, value) for name, hour, value in odd.series(measured)]
        if odd.notes is None:
            parts["notes"].append(of_model["notes"].with_columns(stay_id=pl.lit(stay, pl.Int64)))
        else:
            notes += [(stay, f"{n}", "discharge", name, None, text) for n, (name, text) in enumerate(odd.notes)]
        for name in ("labels", "outcomes"):
            parts[name].append(of_model[name])
    for name in ("stays", "labels", "outcomes"):
        parts[name] = [
            part.with_columns(stay_id=pl.lit(stay, pl.Int64)) for stay, part in zip(stays, parts[name], strict=True)
        ]
    parts["stays"] = [part.with_columns(split=pl.lit("test")) for part in parts["stays"]]
    parts["series"] = [pl.DataFrame(series, tables["series"].schema, orient="row")]
    parts["notes"].append(pl.DataFrame(notes, tables["notes"].schema, orient="row"))
    for name, tables_of_stays in parts.items():
        pl.concat(tables_of_stays).write_parquet(getattr(paths, name))


@pytest.fixture(scope="module")
def reported(command, hospital, runs, restamp, tmp_path_factory) -> Reported:
    import clinragen

    root = tmp_path_factory.mktemp("odd")
    stays: dict[int, Odd | Hostile] = dict(enumerate([note(PLAIN), *ODD.values(), *HOSTILE], start=FIRST))
    stays |= {stay: note(PLAIN) for stay in IDS}
    write_cohort(hospital.cohort, root / "cohort", stays)
    restamp(root / "cohort")
    begun = time.process_time()
    given = ("--cohort", root / "cohort", "--predictions", root / "predictions")
    assert command("clinragen", "predict", "--model", runs.multimodal, *given[:2], "--out", root / "predictions") == 0
    assert command("clinragen", "report", *given, "--out", root / "html") == 0
    few = [f"--stay={stay}" for stay in FEW]
    for form in ("csv", "json", "fhir"):
        assert command("clinragen", "report", *given, "--form", form, "--out", root / form, *few) == 0
    seconds = time.process_time() - begun
    rows = map(json.loads, (root / "predictions" / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
    claims = defaultdict(list)
    for claim in clinragen.verify(root / "predictions", root / "cohort").claims:
        claims[claim["stay_id"]].append(claim)
    return Reported(root, stays, {row["stay_id"]: row for row in rows}, claims, seconds)


def test_there_are_enough_of_them():
    assert len(ODD) >= 80
    assert len(HOSTILE) >= 200


def test_every_stay_is_in_every_form_in_time(reported):
    ids = set(reported.stays)
    assert set(reported.rows) == ids
    assert {int(path.stem) for path in (reported.root / "html" / "stays").iterdir()} == ids
    assert {int(path.stem) for path in (reported.root / "json" / "stays").iterdir()} == set(FEW)
    assert {int(path.stem) for path in (reported.root / "fhir" / "stays").iterdir()} == set(FEW)
    with open(reported.root / "csv" / "diagnoses.csv", encoding="utf-8", newline="") as lines:
        assert {int(row["stay_id"]) for row in csv.DictReader(lines)} == set(FEW)
    assert reported.seconds < SECONDS


def test_the_model_abstains_where_it_should(reported):
    wrong = {
        name: reported.rows[reported.of(name)]["abstains"]
        for name, odd in ODD.items()
        if odd.abstains is not None and bool(reported.rows[reported.of(name)]["abstains"]) != odd.abstains
    }
    assert wrong == {}


def test_an_instruction_is_a_reason_to_abstain_and_changes_nothing_else(reported):
    plain = reported.rows[FIRST]["probabilities"]
    for stay, odd in reported.stays.items():
        if isinstance(odd, Hostile) and not odd.payload:
            row = reported.rows[stay]
            told = any("speaks to its reader" in reason for reason in row["abstains"])
            assert told or not odd.abstains, odd.text
            if odd.struck:
                assert row["probabilities"] == pytest.approx(plain, abs=1e-4), odd.text


def test_no_claim_is_refuted_or_without_support(reported):
    bad = [
        claim
        for claims in reported.claims.values()
        for claim in claims
        if claim["verdict"] not in ("supported", "absence")
    ]
    assert bad == []
    assert sum(map(len, reported.claims.values())) > len(reported.stays)


class Tags(HTMLParser):
    """The elements of a page, with the names of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, str]] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags |= {(tag, ""), *((tag, name) for name, _ in attrs)}
        self.tags |= {
            (tag, f"{name}=script") for name, value in attrs if "script:" in (value or "").lower() and name != "title"
        }


def test_no_page_has_an_element_or_attribute_of_a_note(reported):
    pages = {int(path.stem): path.read_text(encoding="utf-8") for path in (reported.root / "html" / "stays").iterdir()}
    plain = set().union(*(Tags(page).tags for stay, page in pages.items() if stay in IDS or stay == FIRST))
    plain |= {("span", ""), ("span", "class"), ("span", "title"), ("mark", ""), ("mark", "id"), ("sup", "")}
    foreign = {
        (stay, *tag)
        for stay, page in pages.items()
        for tag in Tags(page).tags - plain
        if tag[0]
        in ("script", "style", "iframe", "object", "base", "link", "meta", "form", "img", "video", "input", "svg")
        or tag[1].startswith("on")
        or "=script" in tag[1]
    }
    assert foreign == set()
    assert not any(HIDDEN.search(page) for page in pages.values())


def test_no_cell_is_a_formula(reported):
    for path in (reported.root / "csv").glob("*.csv"):
        with open(path, encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                for cell in row:
                    assert not cell.startswith(("=", "+", "@", "\t", "\r")), cell
                    assert not cell.startswith("-") or re.fullmatch(r"-[0-9.e-]+", cell), cell


# ---- in a browser


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """A page that fails the test for a dialog, an error, or a request for anything but files."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    troubles: list[str] = []
    opened.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    opened.on("console", lambda message: troubles.append(f"console {message.type}: {message.text}"))
    opened.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    opened.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else troubles.append(r.url))
    yield opened
    context.close()
    assert troubles == []


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")


def test_no_payload_runs_on_the_page_of_a_stay(page, reported):
    for stay, odd in reported.stays.items():
        if (isinstance(odd, Hostile) and odd.payload) or RAN in str(odd):
            page.goto((reported.root / "html" / "stays" / f"{stay}.html").as_uri())
            unfold(page)
            assert page.locator("h1").inner_text().startswith(f"Stay {stay}")
            assert page.evaluate("window.ran") is None, odd


def test_the_index_leads_to_every_stay_and_runs_nothing(page, reported):
    index = (reported.root / "html" / "index.html").as_uri()
    page.goto(index)
    assert page.evaluate("window.ran") is None
    for stay in IDS:
        page.get_by_label("Search").fill(str(stay))
        page.locator("table.stays").get_by_role("link", name=str(stay), exact=True).click()
        assert page.locator("h1").inner_text().startswith(f"Stay {stay}")
        page.goto(index)


def test_no_payload_runs_on_a_page_for_raters_or_in_print(page, reported, command):
    given = ("--cohort", reported.root / "cohort", "--predictions", reported.root / "predictions")
    pack = reported.root / "pack"
    assert command("clinragen", "rate", "pack", *given, "--out", pack, "--stays", 40, "--raters", 1) == 0
    page.goto((pack / "raters" / "rater-1.html").as_uri())
    unfold(page)
    assert page.evaluate("window.ran") is None
    printed = reported.root / "pdf"
    chosen = [f"--stay={stay}" for stay in (FEW[0], FEW[-1], reported.of("mixed directions"))]
    assert command("clinragen", "report", *given, "--form", "pdf", "--out", printed, *chosen) == 0
    assert len(list((printed / "stays").glob("*.pdf"))) == 3


def test_no_payload_runs_on_the_pages_of_the_service(browser, runs):
    from clinragen.serve.access import Access
    from clinragen.serve.app import Service
    from clinragen.serve.assess import Assessor
    from clinragen.serve.limits import Limits

    troubles: list[str] = []
    context = browser.new_context()
    with served(Service(Assessor.load(runs.multimodal, "cpu"), Access(None), Limits())) as port:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda r: None if f"localhost:{port}" in r.url else troubles.append(r.url))
        for text in ("\n\n".join(PAYLOADS), "Cough. <!-- <script>", PLAIN * 500):
            page.goto(f"http://localhost:{port}/")
            page.get_by_label("Age, years").fill("71")
            page.get_by_label("Note", exact=True).fill(text)
            page.get_by_role("button", name="Show the report").click()
            page.get_by_text("The report is below.").wait_for()
            assert page.frame_locator("#report").locator("h1").inner_text().startswith("Stay 1")
            assert [frame.evaluate("window.ran") for frame in page.frames] == [None] * len(page.frames)
    context.close()
    assert troubles == []


# ---- what no cohort holds


def first(column: str, value: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Another value in the first row."""

    def change(table: pl.DataFrame) -> pl.DataFrame:
        return table.with_columns(
            pl.when(pl.int_range(pl.len()) == 0)
            .then(pl.lit(value, table.schema[column]))
            .otherwise(pl.col(column))
            .alias(column)
        )

    return change


def every(column: str, value: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The same value, of whatever type, in all rows."""
    return lambda table: table.with_columns(pl.lit(value).alias(column))


def as_type(column: str, kind: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A column of another type."""
    return lambda table: table.with_columns(pl.col(column).cast(kind))


#: table, change, what the line says
REFUSED: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "a value that is no number": ("series", first("value", float("nan")), "finite"),
    "an infinite value": ("series", first("value", float("inf")), "finite"),
    "no value": ("series", first("value", None), "finite"),
    "whole numbers as values": ("series", as_type("value", pl.Int64), "'value' is int64"),
    "an hour before the stay": ("series", first("hour", -3.0), "before the stay"),
    "an hour that is no number": ("series", first("hour", float("nan")), "finite"),
    "whole numbers as hours": ("series", as_type("hour", pl.Int32), "'hour' is int32"),
    "an unknown variable": ("series", first("variable", "shoe_size"), "unknown variable"),
    "a variable without a name": ("series", first("variable", ""), "unknown variable"),
    "measurements of nobody": ("series", first("stay_id", 5), "not in stays.parquet"),
    "no age": ("stays", first("age", None), "age"),
    "an age that is no number": ("stays", first("age", float("nan")), "age"),
    "an age in words": ("stays", every("age", "old"), "'age' is string"),
    "ids in words": ("stays", every("stay_id", "../../=1+1 é"), "'stay_id' is string"),
    "ids with a fraction": ("stays", as_type("stay_id", pl.Float64), "'stay_id' is double"),
    "an id twice": ("stays", lambda table: pl.concat([table, table]), "not unique"),
    "no id": ("stays", first("stay_id", None), "stay_id is missing"),
    "a number for the sex": ("stays", every("sex", 1), "'sex' is int32"),
    "no prediction time": ("stays", first("prediction_time", None), "prediction_time is missing"),
    "no start": ("stays", first("intime", None), "intime is missing"),
    "no split": ("stays", first("split", None), "split"),
    "a time that is no date": (
        "stays", lambda table: table.with_columns(intime=pl.lit(2**62).cast(pl.Datetime("ms"))), "no date"
    ),
    "no stays": ("stays", lambda table: table.head(0), "no stays"),
    "a section without a name": ("notes", first("section", None), "section is missing"),
    "numbers for text": ("notes", every("text", 3), "'text' is int32"),
    "notes of nobody": ("notes", first("stay_id", 5), "not in stays.parquet"),
    "a note at no date": (
        "notes", lambda table: table.with_columns(time=pl.lit(-(2**62)).cast(pl.Datetime("ms"))), "no date"
    ),
}  # fmt: skip


@pytest.fixture
def small(hospital, tmp_path) -> Path:
    return Path(shutil.copytree(hospital.cohort, tmp_path / "cohort", ignore=shutil.ignore_patterns("rationales")))


def read_all(root: Path) -> str:
    """The line with which a cohort is refused."""

    def read() -> list[pl.DataFrame]:
        cohort = Cohort.load(root)
        return [cohort.series, cohort.notes, cohort.outcomes]

    with pytest.raises(UserError) as refusal:
        read()
    return str(refusal.value)


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_cohort_holds_is_refused_in_one_line(name, small, restamp):
    table, change, says = REFUSED[name]
    path = getattr(CohortPaths(small), table)
    written = change(pl.read_parquet(path)).to_arrow()
    plain = [
        pa.field(each.name, pa.string() if pa.types.is_large_string(each.type) else each.type)
        for each in written.schema
    ]
    pq.write_table(written.cast(pa.schema(plain)), path)
    restamp(small)
    line = read_all(small)
    assert path.name in line
    assert says in line
    assert "\n" not in line


def test_bytes_that_are_no_text_are_refused_in_one_line(small, restamp):
    path = CohortPaths(small).notes
    table = pq.read_table(path)
    texts = pa.array([b"Cough \xed\xa0\x80 and fever \xff\xfe"] * len(table), pa.binary())
    broken = pa.StringArray.from_buffers(len(texts), *texts.buffers()[1:])
    pq.write_table(table.set_column(table.column_names.index("text"), "text", broken), path)
    restamp(small)
    line = read_all(small)
    assert path.name in line
    assert "UTF8" in line
    assert "Cough" not in line
