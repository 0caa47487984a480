"""The site in a real browser: no errors, no network requests, the index filters and sorts, plots are drawn."""

import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_hospital import make_cohort, make_predictions

from clinragen.cli import dispatch

pytestmark = pytest.mark.browser
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("CLINRAGEN_REQUIRE_ALL") == "1":
            pytest.fail("Chromium is required (CLINRAGEN_REQUIRE_ALL=1) and not on the PATH")
        pytest.skip("Chromium is not on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("browsed")
    cohort = make_cohort(root / "cohort", stays=150)
    predictions = make_predictions(root / "predictions", cohort)
    arguments = ["report", "--predictions", predictions, "--cohort", cohort, "--out", root / "site"]
    dispatch([str(argument) for argument in arguments])
    return root


@pytest.fixture
def page(browser):
    """A page that fails the test if it logs anything, raises, or asks for anything but files."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    troubles: list[str] = []
    opened.on("console", lambda message: troubles.append(f"console {message.type}: {message.text}"))
    opened.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    opened.on("request", lambda r: None if r.url.startswith("file://") else troubles.append(f"request: {r.url}"))
    yield opened
    context.close()
    assert troubles == []


def visible(page) -> list[str]:
    return page.locator("table.stays tbody tr:visible th a").all_inner_texts()


def shown(page) -> str:
    return page.locator(".pager output").inner_text()


def test_index_pages_searches_and_filters(page, folder):
    rows = pq.read_table(folder / "predictions" / "predictions.parquet").to_pylist()
    page.goto((folder / "site" / "index.html").as_uri())
    assert shown(page) == f"1–50 of {len(rows)}"
    assert len(visible(page)) == 50
    page.get_by_role("button", name="Next").click()
    assert len(visible(page)) == len(rows) - 50
    page.get_by_label("Search").fill(str(rows[0]["stay_id"]))
    assert visible(page) == [str(rows[0]["stay_id"])]
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Phenotype").select_option(label="acute renal failure")
    page.get_by_label("in which").select_option(label="written")
    expected = sum("acute_renal_failure" in row["diagnoses"] for row in rows)
    assert shown(page).startswith(f"1–{min(expected, 50)} of {expected}, filtered from {len(rows)}")
    page.get_by_label("Correctness").select_option(label="something missed")
    assert page.locator("table.stays tbody tr:visible i.missed").count() >= len(visible(page)) > 0


def test_index_sorts_by_keyboard_and_remembers(page, folder):
    page.goto((folder / "site" / "index.html").as_uri())
    button = page.get_by_role("button", name="F1")
    button.focus()
    page.keyboard.press("Enter")
    scores = [
        float(text) for text in page.locator("table.stays tbody tr:visible td:nth-last-child(3)").all_inner_texts()
    ]
    assert scores == sorted(scores)
    page.keyboard.press("Enter")
    head = page.locator("th[aria-sort]")
    assert head.get_attribute("aria-sort") == "descending"
    first = visible(page)[0]
    page.locator("table.stays tbody tr:visible th a").first.click()
    assert page.locator("h1").inner_text().startswith(f"Stay {first}")
    page.go_back()
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert visible(page)[0] == first


def test_stay_page_draws_plots_and_runs_no_patient_text(page, folder):
    stays = sorted((folder / "site" / "stays").glob("*.html"))
    hostile = next(path for path in stays if "window.broken" in path.read_text())
    page.goto(hostile.as_uri())
    assert page.evaluate("window.broken") is None
    charts = page.locator("svg.chart")
    assert charts.count() >= 10
    box = charts.first.bounding_box()
    assert box is not None
    assert box["width"] > 150
    assert page.locator("svg.chart .range").first.evaluate("e => getComputedStyle(e).fill") != "rgb(0, 0, 0)"
    assert page.locator("svg.chart path.n title").first.text_content().startswith("hour ")
    recorded = page.locator("td.gold .tag").first
    assert recorded.is_visible()
    page.get_by_label("show recorded codes").uncheck()
    assert not recorded.is_visible()
    page.get_by_label("only with values out of range").check()
    assert page.locator("figure.usual:visible").count() == 0
    assert page.locator("figure.abnormal:visible").count() > 0


@pytest.mark.parametrize("name", ["Acute and unspecified renal failure", "acute_renal_failure"])
def test_index_finds_a_diagnosis_by_its_published_name_and_key(page, folder, name):
    rows = pq.read_table(folder / "predictions" / "predictions.parquet").to_pylist()
    gold = pq.read_table(folder / "cohort" / "labels.parquet").to_pylist()
    recorded = {row["stay_id"] for row in gold if row["acute_renal_failure"]}
    expected = sum("acute_renal_failure" in row["diagnoses"] or row["stay_id"] in recorded for row in rows)
    page.goto((folder / "site" / "index.html").as_uri())
    page.get_by_label("Search").fill(name)
    assert shown(page).endswith(f"of {expected}, filtered from {len(rows)}")


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_the_screen(page, folder, width):
    page.set_viewport_size({"width": width, "height": 800})
    stay = sorted((folder / "site" / "stays").glob("*.html"))[0]
    for path in (folder / "site" / "index.html", stay):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page, folder, scheme):
    """Contrast of at least 4.5 to 1 (WCAG 2.1 AA) for the text of the table, the tags and the banner."""
    page.emulate_media(color_scheme=scheme)
    page.goto((folder / "site" / "index.html").as_uri())
    ratios = page.evaluate(
        """() => {
          const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
            .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const ground = (e) => {
            for (; e; e = e.parentElement) {
              const c = numbers(getComputedStyle(e).backgroundColor);
              if (c.length < 4 || c[3] > 0) return c;
            }
          };
          const texts = "h1, h2, dt, dd, .banner, .legend .tag, .stays th, .stays td, .chips i, .pager output";
          return [...document.querySelectorAll(texts)].filter((e) => e.offsetParent && e.innerText.trim()).map((e) => {
            const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), e.className + " " + e.tagName];
          });
        }"""
    )
    assert len(ratios) > 50
    assert [pair for pair in ratios if pair[0] < 4.5] == []
