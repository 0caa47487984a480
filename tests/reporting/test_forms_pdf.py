"""``clinragen report --form pdf``."""

import json
import os
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clinragen.catalog import phenotypes
from clinragen.errors import UserError
from clinragen.reporting.forms import browser
from tests.reporting.exported import enriched, report
from tests.reporting.pdf_text import pdf_text

try:
    browser.program()
except UserError:
    if os.environ.get("CLINRAGEN_REQUIRE_ALL") == "1":
        raise
    pytest.skip("there is no Chromium", allow_module_level=True)

pytestmark = pytest.mark.slow  # Chromium takes seconds


@pytest.fixture(scope="module")
def full(cohort, predictions, tmp_path_factory) -> Path:
    return enriched(predictions, cohort, tmp_path_factory.mktemp("full") / "predictions")


@pytest.fixture
def scratch(monkeypatch) -> Iterator[Path]:
    """Where temporary files go: empty again afterwards. With a short name, as Chromium's sockets need."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def chosen(full: Path) -> list[dict]:
    return pq.read_table(full / "predictions.parquet").to_pylist()[:2]


def written(path: Path) -> tuple[int, str, str]:
    pages, title, text = pdf_text(path)
    return pages, title, " ".join(unicodedata.normalize("NFKC", text).split())


def test_stays_are_printed_blinded_and_the_same_again(full, cohort, tmp_path, scratch, capsys):
    options = [option for row in chosen(full) for option in ("--stay", str(row["stay_id"]))]
    folder = report("pdf", full, cohort, tmp_path / "pdf", *options)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "stays"]
    for row in chosen(full):
        pages, title, text = written(folder / "stays" / f"{row['stay_id']}.pdf")
        assert pages >= 1
        assert str(row["stay_id"]) in title
        assert "not for clinical use" in text.lower()
        assert row["diagnoses"]
        assert all(phenotypes()[key].name in text for key in row["diagnoses"])
        assert "not coded" not in text
        assert "what was recorded is not shown" in text
        assert "+ not recorded" not in text  # the mark of a diagnosis that is listed and was not coded
    assert list(scratch.iterdir()) == []
    again = report("pdf", full, cohort, tmp_path / "again", *options[2:])  # the second one, by itself
    [path] = (again / "stays").iterdir()
    assert path.read_bytes() == (folder / "stays" / path.name).read_bytes()


def test_recorded_codes_are_printed_where_asked_for(full, cohort, tmp_path):
    stay = str(chosen(full)[1]["stay_id"])
    folder = report("pdf", full, cohort, tmp_path / "pdf", "--stay", stay, "--with-recorded-codes")
    assert "recorded" in written(folder / "stays" / f"{stay}.pdf")[2]


@pytest.mark.parametrize(
    ("named", "message"),
    [("no-such-browser", "is no program"), ("false", "it ended"), (None, "needs Chromium")],
)
def test_without_a_chromium_that_works_nothing_is_written(full, cohort, tmp_path, scratch, monkeypatch, named, message):
    if named is None:
        monkeypatch.delenv(browser.VARIABLE, raising=False)
        monkeypatch.setattr(browser, "_NAMES", ("no-such-browser",))
    else:
        monkeypatch.setenv(browser.VARIABLE, named)
    with pytest.raises(UserError, match=message):
        report("pdf", full, cohort, tmp_path / "out" / "pdf", "--stay", str(chosen(full)[0]["stay_id"]))
    assert not list((tmp_path / "out").rglob("*"))
    assert list(scratch.iterdir()) == []


def test_a_browser_that_crashes_between_pages_leaves_nothing(full, cohort, tmp_path, scratch, monkeypatch):
    class Frail(browser.Browser):
        printed = 0

        def pdf(self, page):
            if self.printed:
                self._call("Browser.crash", {}, session=None)
            self.printed += 1
            return super().pdf(page)

    monkeypatch.setattr(browser, "Browser", Frail)
    options = [option for row in chosen(full) for option in ("--stay", str(row["stay_id"]))]
    with pytest.raises(UserError, match="it ended"):
        report("pdf", full, cohort, tmp_path / "out" / "pdf", *options)
    assert not list((tmp_path / "out").rglob("*"))
    assert list(scratch.iterdir()) == []


def test_a_page_reaches_no_network_and_no_server_of_this_machine(tmp_path, scratch):
    asked: list[str] = []

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Ear) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        images = [f"http://{host}:{server.server_port}/" for host in ("127.0.0.1", "localhost")]
        page = tmp_path / "page.html"
        script = f"for (const url of {json.dumps(images)}) fetch(url, {{mode: 'no-cors'}})"
        page.write_text("".join(f'<img src="{url}">' for url in images) + f"<p>text</p><script>{script}</script>")
        with browser.chromium() as opened:
            first, second = opened.pdf(page), opened.pdf(page)
            with pytest.raises(UserError, match="cannot print"):
                opened.pdf(tmp_path / "nowhere.html")
        server.shutdown()
    assert not asked
    assert first.startswith(b"%PDF-")
    assert len(first) == len(second)


def test_a_browser_that_crashes_is_an_error(tmp_path, scratch):
    page = tmp_path / "page.html"
    page.write_text("<p>text</p>")
    with browser.chromium() as opened:
        assert opened.pdf(page)
        with pytest.raises(UserError, match="it ended"):
            opened._call("Browser.crash", {}, session=None)
        with pytest.raises(UserError, match="it ended"):
            opened.pdf(page)
    assert list(scratch.iterdir()) == []
