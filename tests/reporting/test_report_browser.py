"""The site in a real browser: no errors, no network requests, the index filters and sorts, plots are drawn."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_hospital import HOSTILE, make_cohort, make_predictions

from clinragen.cli import dispatch
from clinragen.cohort import freshness
from clinragen.cohort.folder import Cohort

pytestmark = [pytest.mark.browser, pytest.mark.slow]  # Chromium takes seconds


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
    return page.locator("table.stays tbody tr th a").all_inner_texts()


def shown(page) -> str:
    return page.locator(".pager output").inner_text()


def index(folder: Path) -> str:
    return (folder / "site" / "index.html").as_uri()


def stay(folder: Path, number: int = 0) -> str:
    return sorted((folder / "site" / "stays").glob("*.html"))[number].as_uri()


def test_index_pages_searches_and_filters(page, folder):
    rows = pq.read_table(folder / "predictions" / "predictions.parquet").to_pylist()
    page.goto(index(folder))
    assert shown(page) == f"1–50 of {len(rows)}"
    assert len(visible(page)) == 50
    page.get_by_role("button", name="Next").click()
    assert len(visible(page)) == len(rows) - 50
    page.get_by_label("Search").fill(str(rows[0]["stay_id"]))
    assert visible(page) == [str(rows[0]["stay_id"])]
    page.get_by_role("button", name="Clear").click()
    page.locator("select[name=phenotype]").select_option(label="acute renal failure")
    page.get_by_label("in which").select_option(label="written")
    expected = sum("acute_renal_failure" in row["diagnoses"] for row in rows)
    assert shown(page).startswith(f"1–{min(expected, 50)} of {expected}, filtered from {len(rows)}")
    page.locator("select[name=correct]").select_option(label="something missed")
    assert page.locator("table.stays i.missed").count() >= len(visible(page)) > 0


def test_index_filters_by_probability_and_doubt_and_a_link_keeps_the_view(page, folder):
    rows = pq.read_table(folder / "predictions" / "predictions.parquet").to_pylist()
    page.goto(index(folder))
    page.locator("select[name=phenotype]").select_option(label="septicemia")
    page.get_by_label("least probability").fill("0.6")
    within = {str(row["stay_id"]) for row in rows if round(1000 * row["probabilities"]["septicemia"]) >= 600}
    assert shown(page).endswith(f"of {len(within)}, filtered from {len(rows)}")
    assert set(visible(page)) <= within
    page.get_by_label("most probability").fill("0.6")
    assert len(visible(page)) < len(within)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Doubt").select_option(label="a claim is contradicted")
    doubted = visible(page)
    assert doubted
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    assert visible(page) == doubted
    assert page.get_by_label("Doubt").input_value() == "refuted"
    page.get_by_label("Doubt").select_option(label="none of these")
    assert not set(visible(page)) & set(doubted)


def test_the_numbers_of_a_phenotype_lead_to_its_stays(page, folder):
    from playwright.sync_api import expect

    page.goto(index(folder))
    row = page.locator(".counts tr", has_text="septicemia")
    for column, role in ((0, "written"), (1, "recorded"), (2, "extra"), (3, "missed")):
        link = row.locator("a").nth(column)
        number = int(link.inner_text())
        link.click()
        expect(page.get_by_label("in which")).to_have_value(role)  # once the page has read its address
        assert shown(page).partition(" of ")[2].partition(",")[0] == str(number)


def test_index_sorts_by_keyboard_and_remembers(page, folder):
    page.goto(index(folder))
    button = page.get_by_role("button", name="F1")
    button.focus()
    page.keyboard.press("Enter")
    scores = [float(text) for text in page.locator("table.stays tbody td:last-child").all_inner_texts()]
    assert scores == sorted(scores)
    page.keyboard.press("Enter")
    head = page.locator("th[aria-sort]")
    assert head.get_attribute("aria-sort") == "descending"
    first = visible(page)[0]
    page.locator("table.stays tbody th a").first.click()
    assert page.locator("h1").inner_text().startswith(f"Stay {first}")
    page.go_back()
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert visible(page)[0] == first


def test_what_was_recorded_stays_hidden_from_page_to_page(page, folder):
    page.goto(index(folder))
    assert page.locator("i.missed").count()
    page.get_by_label("hide what was recorded").check()
    assert not page.locator("i.missed, i.agrees, i.extra").count()
    assert not page.get_by_text("Largest disagreements").is_visible()
    assert not page.get_by_role("columnheader", name="Recorded").is_visible()
    gold = pq.read_table(folder / "cohort" / "labels.parquet").to_pylist()
    rows = pq.read_table(folder / "predictions" / "predictions.parquet").to_pylist()
    written = {row["stay_id"] for row in rows if "shock" in row["diagnoses"]}
    assert {row["stay_id"] for row in gold if row["shock"]} - written
    page.get_by_label("Search").fill("shock")
    assert set(map(int, visible(page))) <= written  # the search does not tell either
    page.locator("table.stays tbody th a").first.click()
    page.wait_for_load_state()
    assert page.get_by_label("hide what was recorded").is_checked()
    assert not any(one.is_visible() for one in page.locator(".gold").all())
    page.get_by_role("link", name="→").click()
    assert not any(one.is_visible() for one in page.locator(".gold").all())
    page.get_by_label("hide what was recorded").uncheck()
    assert any(one.is_visible() for one in page.locator(".gold").all())


def test_stay_page_draws_plots_and_runs_no_patient_text(page, folder):
    stays = sorted((folder / "site" / "stays").glob("*.html"))
    page.goto(next(path for path in stays if "window.broken" in path.read_text()).as_uri())
    assert page.evaluate("window.broken") is None
    for one in page.locator("details").all():
        one.evaluate("e => (e.open = true)")
    charts = page.locator("svg.chart")
    assert charts.count() == page.locator("figure").count() >= 10
    box = charts.first.bounding_box()
    assert box is not None
    assert box["width"] > 150
    assert page.locator("svg.chart .range").first.evaluate("e => getComputedStyle(e).fill") != "rgb(0, 0, 0)"
    assert page.locator("figure > p:visible").count() == 0  # the values have become plots
    assert page.locator(".timeline svg .h, .timeline svg .l").count()


def test_every_value_has_its_mark_and_can_be_read_by_keyboard(page, folder):
    rows = pq.read_table(folder / "cohort" / "series.parquet").to_pylist()
    page.goto(stay(folder))
    number = int(Path(page.url).stem)
    values = {round(r["hour"]): r["value"] for r in rows if r["stay_id"] == number and r["variable"] == "heart_rate"}
    figure = page.locator("#chart-heart_rate")
    figure.evaluate(
        "e => { for (let d = e.closest('details'); d; d = d.parentElement.closest('details')) d.open = true }"
    )
    marks = figure.evaluate(
        """e => [...e.querySelectorAll('svg path.n, svg path.h, svg path.l')]
          .map((p) => p.getAttribute('d').split('M').length - 1)"""
    )
    assert sum(marks) == len(values)
    figure.locator("svg").focus()
    read = set()
    for key in ["ArrowLeft"] * len(values) + ["ArrowRight"] * len(values):
        page.keyboard.press(key)
        read.add(figure.locator("output").inner_text())
    for hour, value in values.items():
        assert any(f"hour {hour}: {value:.0f} bpm" in words for words in read)


def test_a_plot_says_how_old_its_last_value_is(page, folder):
    page.goto(stay(folder))
    ages = freshness.ages(Cohort.load(folder / "cohort")).filter(pl.col("stay_id") == int(Path(page.url).stem))
    aged = ages.filter(pl.col("age_hours") > 2).rows(named=True)
    assert len(aged) >= 10
    for row in aged:
        words = page.locator(f"#chart-{row['variable']} output").text_content()
        assert words.startswith("last ")
        assert words.endswith(f", {round(row['age_hours'])} h before")


def test_a_plot_zooms_and_goes_back(page, folder):
    page.goto(stay(folder))
    figure = page.locator("figure:visible").first
    figure.scroll_into_view_if_needed()
    texts = lambda: figure.locator("text.x").all_text_contents()  # noqa: E731
    before = texts()
    box = figure.locator("svg").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 40)
    page.mouse.up()
    assert texts() != before
    page.mouse.dblclick(box["x"] + 0.5 * box["width"], box["y"] + 40)
    assert texts() == before


def test_claims_lead_to_their_evidence_and_back(page, argued):
    page.goto(stay(argued))
    claim = page.locator(".rationale a", has_text="fever").first
    claim.click()
    passage = page.locator("mark:target")
    assert "fever" in passage.inner_text().lower()
    number = claim.get_attribute("id").removeprefix("c")
    page.locator(f".note sup a[href='#c{number}']").first.click()
    assert page.locator(f"#c{number}:target").inner_text() == "fever"
    assert "fever" in claim.get_attribute("title").lower()
    measured = page.locator(".rationale a", has_text="heart rate").first
    measured.click()
    assert page.locator("figure:target").get_attribute("id") == "chart-heart_rate"
    number = measured.get_attribute("id").removeprefix("c")
    assert page.locator(f"#chart-heart_rate figcaption sup a[href='#c{number}']").count() == 1
    ring = page.locator("#chart-heart_rate .ring").first
    ring.scroll_into_view_if_needed()
    box = ring.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url(f"**#c{number}")
    card = page.locator(".called article", has_text="pneumonia").first
    card.locator("summary").click()
    assert "suggests pneumonia" in card.inner_text()
    assert card.locator(".why li a", has_text="fever").is_visible()


@pytest.fixture(scope="module")
def argued(tmp_path_factory) -> Path:
    """A report of which the first stay's rationales are known."""
    root = tmp_path_factory.mktemp("argued")
    cohort = make_cohort(root / "cohort", stays=12)
    predictions = make_predictions(root / "predictions", cohort)
    path = predictions / "predictions.parquet"
    rows, schema = pq.read_table(path).to_pylist(), pq.read_schema(path)
    first = rows[0]["stay_id"]
    series = pq.read_table(cohort / "series.parquet").to_pylist()
    rates = [r["value"] for r in series if (r["stay_id"], r["variable"]) == (first, "heart_rate")]
    rows[0] |= {
        "note_rationale": "Based on the medical notes, fever points to pneumonia.",
        "series_rationale": f"Lab test shows heart rate up to {max(rates):.0f} bpm, supporting pneumonia.",
        "diagnoses": ["pneumonia"],
    }
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    arguments = ["report", "--predictions", predictions, "--cohort", cohort, "--out", root / "site"]
    dispatch([str(argument) for argument in arguments])
    return root


def test_what_is_printed_shows_every_stay_and_every_ground(page, folder, argued):
    page.goto(index(folder))
    rows = int(shown(page).rpartition(" ")[2])
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("table.stays tbody tr").count() == rows
    assert not page.locator("form.filters").is_visible()
    page.goto(stay(argued))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".why li").first.is_visible()
    assert page.get_by_text("Not for clinical use").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["index", "stay", "questions"])
def test_nothing_serious_stands_in_the_way_of_any_reader(page, folder, argued, asked, scheme, which):
    """By the rules of axe-core, which include the contrast of text."""
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    page.goto({"index": index(folder), "stay": stay(argued), "questions": stay(asked)}[which])
    for one in page.locator("details").all():
        one.evaluate("e => (e.open = true)")
    violations = Axe().run(page, options={"preload": False}).response["violations"]
    serious = [
        (one["id"], one["nodes"][0]["html"][:160]) for one in violations if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


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


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> Path:
    """A report with questions, one of them hostile, about stays some of whose notes are."""
    root = tmp_path_factory.mktemp("questioned")
    cohort = make_cohort(root / "cohort", stays=12)
    predictions = make_predictions(root / "predictions", cohort)
    questions = ["highest heart rate?", "mean heart rate first 6h", "does the note mention fever?", HOSTILE]
    questions += [f"mean respiratory rate first {hours} hours?" for hours in range(1, 12)]
    (root / "questions.txt").write_text("\n".join(questions))
    arguments = ["ask", "--cohort", cohort, "--questions", root / "questions.txt", "--out", root / "answers"]
    dispatch([str(argument) for argument in arguments])
    arguments = ["report", "--predictions", predictions, "--cohort", cohort, "--questions", root / "answers"]
    dispatch([str(argument) for argument in [*arguments, "--out", root / "site"]])
    return root


def test_answers_lead_to_their_evidence_which_is_ringed_and_back(page, asked):
    page.goto(stay(asked))
    figure = page.locator("#chart-heart_rate")
    assert figure.locator(".ring.lit").count() == 0
    page.locator(".asked li", has_text="mean heart rate").locator(".place").click()
    assert page.locator("figure:target").get_attribute("id") == "chart-heart_rate"
    assert figure.is_visible()  # the fold that held it is open
    values = page.locator(".asked li", has_text="mean heart rate").locator(".place").inner_text()
    assert values == f"heart rate, {figure.locator('.ring.lit').count()} values"
    highest = page.locator(".asked li", has_text="highest heart rate").locator(".place")
    highest.click()
    assert figure.locator(".ring.lit").count() == (1 if ", hour " in highest.inner_text() else 2)
    number = highest.get_attribute("id").removeprefix("c")
    figure.locator(f"sup a[href='#c{number}']").click()
    assert page.locator(".place:target").get_attribute("id") == f"c{number}"
    page.locator(".asked li", has_text="mention fever").locator(".place").click()
    assert "fever" in page.locator("mark:target").inner_text().lower()
    assert figure.locator(".ring.lit").count() == 0


def test_no_question_runs_or_widens_the_page(page, asked):
    for path in sorted((asked / "site" / "stays").glob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("window.broken") is None
        assert "<script>window.broken" in page.locator(".asked").first.inner_text()
    page.set_viewport_size({"width": 360, "height": 800})
    page.get_by_text("3 more", exact=True).click()
    assert page.locator(".asked li").last.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
