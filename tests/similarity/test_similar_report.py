"""The panel of similar cases on the pages of a report."""

from __future__ import annotations

import clinragen


def test_each_page_shows_the_cases_of_its_stay(runs, hospital, indexed, command, tmp_path, capsys):
    out = tmp_path / "report"
    given = ("--predictions", runs.predictions, "--cohort", hospital.cohort)
    assert command("clinragen", "report", *given, "--index", indexed, "--out", out) == 0
    opened = clinragen.open_index(indexed)
    pages = sorted((out / "stays").glob("*.html"))
    assert pages
    for path in pages[:3]:
        page = path.read_text()
        for case in clinragen.similar(opened, hospital.cohort, int(path.stem), count=5):
            assert f"<b>Stay {case.stay_id}</b>" in page
        assert page.count("Coded: ") == 5
        assert "In both notes: " in page
    assert command("clinragen", "report", *given, "--index", indexed, "--out", tmp_path / "csv", "--form", "csv") == 2
    assert "similar cases are shown on pages: they do not go with --form csv" in capsys.readouterr().err


def test_a_report_without_an_index_has_no_panel(runs, hospital, command, tmp_path):
    out = tmp_path / "report"
    assert (
        command("clinragen", "report", "--predictions", runs.predictions, "--cohort", hospital.cohort, "--out", out)
        == 0
    )
    assert not any("id=similar" in path.read_text() for path in (out / "stays").glob("*.html"))
