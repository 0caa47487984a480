"""A rater's page in a real browser: what is chosen there, and nothing else, is what is imported."""

import json
from pathlib import Path

import pytest

from clinragen.api.rating import import_ratings
from clinragen.rating.criteria import criteria
from clinragen.rating.key import read_pack
from clinragen.rating.rating_file import read

from .conftest import write

pytestmark = [pytest.mark.browser, pytest.mark.slow]  # Chromium takes seconds
KEYS = list(criteria())


@pytest.fixture
def context(browser):
    """A context whose pages fail the test if they log anything, raise, or ask for anything but files."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(10_000)
    troubles: list[str] = []
    opened.on("console", lambda message: troubles.append(f"console {message.type}: {message.text}"))
    opened.on("weberror", lambda error: troubles.append(f"error: {error.error}"))
    opened.on(
        "request", lambda r: None if r.url.startswith(("file://", "blob:")) else troubles.append(f"request: {r.url}")
    )
    yield opened
    opened.close()
    assert troubles == []


def opened(context, pack):
    page = context.new_page()
    page.goto((pack.root / "raters" / "rater-1.html").as_uri())
    return page


def chosen(item: str, letter: str, criterion: str) -> int:
    """What the rater of these tests thinks."""
    return 1 + (int(item, 16) + ord(letter) * 7 + KEYS.index(criterion) * 3) % 5


def rate_by_keyboard(page, pack) -> None:
    """Every scale with the number keys, after one Tab each; stays by the button after the last scale."""
    for position, placing in enumerate(pack.key.raters[0].placings):
        for letter in "ABC":
            card = page.locator(f"section.stay:visible article[data-letter={letter}]")
            card.locator("input").first.focus()
            for criterion in KEYS:
                assert page.evaluate("document.activeElement.closest('fieldset').dataset.criterion") == criterion
                page.keyboard.press(str(chosen(placing.item, letter, criterion)))
                page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
        if position + 1 < len(pack.key.raters[0].placings):
            page.locator("section.stay:visible button.after").press("Enter")


def save(page, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save file").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_what_is_rated_by_keyboard_is_there_after_closing_and_is_what_is_imported(context, pack, tmp_path):
    page = opened(context, pack)
    rate_by_keyboard(page, pack)
    page.locator("section.stay:visible textarea").first.fill("Fraglich – “warum”? 😀\nzweite Zeile")
    assert page.locator("#count").inner_text() == "75 of 75"
    page.close()
    page = opened(context, pack)
    assert page.locator("#count").inner_text() == "75 of 75"
    assert page.locator("section.stay:visible h2").inner_text().startswith("Stay 5")
    path = save(page, tmp_path)
    assert path.name == f"ratings-{pack.key.pack}-rater-1.json"
    assert "complete" in page.locator("#message").inner_text()
    one = read(path, pack)
    letters = {
        (placing.item, placing.author(letter)): letter for placing in pack.key.raters[0].placings for letter in "ABC"
    }
    assert len(one.ratings) == 15
    for row in one.ratings:
        expected = {key: chosen(row.item, letters[row.item, row.author], key) for key in KEYS}
        assert dict(row.scores) == expected
    assert [row.comment for row in one.ratings if row.comment] == ["Fraglich – “warum”? 😀\nzweite Zeile"]
    assert import_ratings(pack.root, [path], tmp_path / "out", replicates=2).values["raters"][0]["missing"] == 0


def test_a_saved_file_can_be_loaded_again_and_others_are_refused(browser, pack, tmp_path):
    first = browser.new_context()
    page = opened(first, pack)
    page.locator("article:visible input[value='4']").first.check()
    page.locator("article:visible input[value='2']").nth(1).check()
    path = save(page, tmp_path)
    first.close()
    second = browser.new_context()
    page = opened(second, pack)
    assert page.locator("#count").inner_text() == "0 of 75"
    damaged, other = tmp_path / "damaged.json", tmp_path / "other.json"
    content = json.loads(path.read_text())
    damaged.write_text(json.dumps(content | {"ratings": content["ratings"][:-1]}))
    other.write_text(json.dumps(content | {"rater": "rater-2"}))
    for file, says in ((damaged, "changed after it was saved"), (other, "another page"), (Path(__file__), "no file")):
        page.locator("#file").set_input_files(file)
        page.locator("#message", has_text=says).wait_for()
        assert page.locator("#count").inner_text() == "0 of 75"
    page.locator("#file").set_input_files(path)
    page.locator("#count", has_text="2 of 75").wait_for()
    again = read(save(page, tmp_path), pack)
    assert sorted(score for row in again.ratings for score in row.scores.values() if score) == [2, 4]
    second.close()


def test_what_is_missing_is_listed_and_can_be_cleared(context, pack):
    page = opened(context, pack)
    page.locator("article:visible").first.locator("input[value='3']").first.check()
    page.locator("#open summary").click()
    first = page.locator("#open-list li").first
    assert first.inner_text() == "Stay 1 A: readability, soundness, consistency, persuasiveness; B: all; C: all"
    page.locator("#open-list").get_by_role("button", name="Stay 4").click()
    assert page.locator("section.stay:visible h2").inner_text().startswith("Stay 4")
    page.get_by_label("Stay", exact=True).select_option("0")
    page.get_by_role("button", name="Clear the ratings of A").click()
    assert page.locator("#count").inner_text() == "0 of 75"


def test_without_storage_the_page_says_so_and_still_saves(context, pack, tmp_path):
    context.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('none'); } })")
    page = opened(context, pack)
    assert page.locator("#storage").is_visible()
    page.locator("article:visible input[value='5']").first.check()
    assert sum(score == 5 for row in read(save(page, tmp_path), pack).ratings for score in row.scores.values()) == 1


def test_axe_finds_nothing(context, hospital, tmp_path):
    from axe_playwright_python.sync_playwright import Axe

    write(hospital, tmp_path / "pack", stays=1, raters=1)
    page = opened(context, read_pack(tmp_path / "pack"))
    page.locator("article:visible input[value='4']").first.check()
    for summary in ("details.help > summary", "#open > summary"):
        page.locator(summary).click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        violations = Axe().run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == [], scheme


def test_it_fits_a_phone_and_prints_chart_and_scales(context, pack):
    page = opened(context, pack)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator("article:visible .scale label").first.bounding_box()
    assert box["height"] >= 44
    page.emulate_media(media="print")
    assert not page.locator(".bar").is_visible()
    assert page.locator("article:visible fieldset").first.is_visible()
    assert page.locator("section.stay:visible svg.chart").first.is_visible()


def test_hostile_notes_do_nothing(context, pack):
    page = opened(context, pack)
    assert any("<script>window.broken" in text for item in pack.items for _, text in item.chart.sections)
    for _ in pack.items[1:]:
        page.locator("#after").click()
    assert page.evaluate("window.broken") is None
