"""The pages of suggestions of drugs: every ground and caution leads to its place in the chart, and the place back."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from tests.conftest import call


@pytest.fixture(scope="session")
def site(early, suggested, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site") / "site"
    assert call("clinragen", "report", "--prescriptions", suggested, "--cohort", early, "--out", out) == 0
    return out


def rows_of(suggested: Path) -> list[dict]:
    return [json.loads(line) for line in (suggested / "prescriptions.jsonl").read_text().splitlines()]


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_each_stay_has_a_page_with_all_that_is_suggested(site, suggested):
    index = (site / "index.html").read_text()
    rows = rows_of(suggested)
    assert {path.stem for path in (site / "stays").glob("*.html")} == {str(row["stay_id"]) for row in rows}
    for row in rows:
        assert f"stays/{row['stay_id']}.html" in index
        page = (site / "stays" / f"{row['stay_id']}.html").read_text()
        shown = words(page)
        names = re.findall(r"place-in-list>\d+</span> ([^<]+)</h3>", page)
        assert [unescape(name) for name in names] == [one["name"] for one in row["suggestions"]]
        for one in (*row["suggestions"], *row["withheld"]):
            for member in one["members"]:
                assert member["ingredient"] in shown
                assert all(" ".join(c["because"].split()) in shown for c in member["cautions"])
                assert all(c["source"] in shown for c in member["cautions"])
        for ground in (ground for one in row["suggestions"] for ground in one["grounds"]):
            assert ground["text"] in shown
        assert all(what in shown for what in row["unchecked"])


def test_a_place_in_the_chart_is_marked_and_leads_back(site, suggested, early):
    notes = Cohort.load(early).notes
    phrases = measured = 0
    for row in rows_of(suggested):
        page = (site / "stays" / f"{row['stay_id']}.html").read_text()
        links = re.findall(r"<a class=place id=c(\d+) href=#([\w-]+)>", page)
        assert [int(number) for number, _ in links] == list(range(1, len(links) + 1))
        for number, target in links:
            assert f" id={target}>" in page or f" id={target} " in page
            if target.startswith("chart-"):
                assert re.search(rf'<figure id={target} data-cited="[^"]*\b{number}:', page)
                measured += 1
            else:
                assert f"<a href=#c{number}>" in page
                phrases += 1
        text = " ".join(notes.filter(stay_id=row["stay_id"])["text"].to_list())
        for mark in re.findall(r"<mark id=[^>]*>([^<]+)</mark>", page):
            assert unescape(mark) in text
    assert phrases > 5
    assert measured > 5


def test_pages_load_nothing_from_elsewhere_and_are_the_same_again(site, early, suggested, tmp_path):
    clinragen.report_prescriptions(suggested, early, tmp_path / "again")
    files = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert files
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (site / name).read_bytes()
        if name.suffix == ".html":
            sources = re.findall(r"(?:src|href)=[\"']?([^\"' >]+)", (site / name).read_text())
            assert not [source for source in sources if ":" in source or source.startswith("//")]


def test_one_stay_may_be_a_single_file(early, suggested, tmp_path):
    stay_id = rows_of(suggested)[1]["stay_id"]
    written = clinragen.report_prescriptions(suggested, early, tmp_path / "one", stays=[stay_id], single_file=True)
    assert written.stays == 1
    assert [path.name for path in (tmp_path / "one").rglob("*.html")].count(f"{stay_id}.html") == 1
    page = (tmp_path / "one" / "stays" / f"{stay_id}.html").read_text()
    assert "<style>" in page
    assert "shared/" not in page
    with pytest.raises(UserError, match="stay 5 has no suggestions"):
        clinragen.report_prescriptions(suggested, early, tmp_path / "none", stays=[5])


def test_what_a_model_writes_runs_in_no_page(early, suggested, tmp_path):
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    changed = tmp_path / "changed"
    changed.mkdir()
    row = rows_of(suggested)[0]
    row["suggestions"][0] |= {
        "name": hostile,
        "grounds": [{"kind": "stated", "text": hostile, "source": hostile, "evidence": []}],
    }
    (changed / "prescriptions.jsonl").write_text(json.dumps(row) + "\n")
    manifest = json.loads((suggested / "manifest.json").read_text())
    (changed / "manifest.json").write_text(json.dumps({**manifest, "outputs": {}, "engine": "openai"}))
    clinragen.report_prescriptions(changed, early, tmp_path / "site")
    for page in (tmp_path / "site").rglob("*.html"):
        assert "<script>alert" not in page.read_text()
        assert "<img" not in page.read_text()
        assert "&lt;script&gt;alert(1)" in page.read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 1: no suggestions of a stay"), ('{"stay_id": 1, "suggestions": 3}', "is no suggestion")],
)
def test_a_damaged_line_is_told_in_one_line(early, suggested, tmp_path, line, message):
    changed = tmp_path / "changed"
    changed.mkdir()
    manifest = json.loads((suggested / "manifest.json").read_text())
    (changed / "manifest.json").write_text(json.dumps({**manifest, "outputs": {}}))
    (changed / "prescriptions.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        clinragen.report_prescriptions(changed, early, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prescriptions", "SUGGESTED", "--form", "pdf"), "--form does not go with --prescriptions"),
        (("--prescriptions", "SUGGESTED", "--cohort", "OTHER"), "was made from another cohort"),
        (("--prescriptions", "COHORT"), "holds no suggestions of drugs"),
        ((), "report needs --predictions"),
    ],
)
def test_a_mistake_is_told_in_one_line(early, hospital, suggested, tmp_path, capsys, options, message):
    folders = {"SUGGESTED": suggested, "OTHER": hospital.cohort, "COHORT": early}
    given = [folders.get(word, word) for word in options]
    cohort = [] if "--cohort" in given else ["--cohort", early]
    assert call("clinragen", "report", *given, *cohort, "--out", tmp_path / "out") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_suggestions_that_were_changed_are_refused(early, suggested, tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in ("manifest.json", "prescriptions.jsonl"):
        (changed / name).write_text((suggested / name).read_text().replace("0.1", "0.9"))
    with pytest.raises(UserError, match="run clinragen prescribe again"):
        clinragen.report_prescriptions(changed, early, tmp_path / "site")


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_draws_the_plots_and_searches_the_index(site, suggested, browser):
    page = browser.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith("file://") else troubles.append(r.url))
    rows = rows_of(suggested)
    page.goto((site / "index.html").as_uri())
    page.get_by_label("Search").fill(str(rows[2]["stay_id"]))
    assert page.locator("table.suggestions tbody tr:visible").count() == 1
    page.locator("table.suggestions tbody tr:visible a").click()
    page.locator(".chance svg").first.wait_for()  # the page of the stay has been drawn
    assert page.locator(".charts svg").count() > 3
    assert page.locator(".chance svg").count() == len(rows[2]["suggestions"])
    page.locator("a.place").first.click()
    page.locator(":target").wait_for()
    page.close()
    assert troubles == []
