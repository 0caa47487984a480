"""The pages in a real browser: a stay is typed or uploaded, and its report is seen; nothing else is asked for."""

import json
import re

import pytest
from serve.bundles import bundle, document, observation
from serve.server_thread import served
from serve.stand_in import request_of

from clinragen.serve.access import Access
from clinragen.serve.app import Service
from clinragen.serve.limits import Limits

pytestmark = [pytest.mark.browser, pytest.mark.slow]  # Chromium takes seconds
TOKEN = "a-token-of-enough-letters"


@pytest.fixture(scope="module")
def address(assessor, finder):
    with served(Service(assessor, Access(None), Limits(), finder=finder)) as port:
        yield f"http://localhost:{port}/"


@pytest.fixture
def page(browser, address):
    """A page that fails the test if it logs anything, raises, or asks for anything but the service."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    troubles: list[str] = []
    opened.on("console", lambda message: troubles.append(f"console {message.type}: {message.text}"))
    opened.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    allowed = (address, "data:")
    opened.on("request", lambda r: None if r.url.startswith(allowed) else troubles.append(f"request: {r.url}"))
    opened.goto(address)
    yield opened
    context.close()
    assert troubles == []


def send(page):
    page.get_by_role("button", name="Show the report").click()


def report(page):
    """The report in its frame, once it is there."""
    page.get_by_text("The report is below.").wait_for()
    return page.frame_locator("#report")


@pytest.mark.parametrize("width", [360, 1280])
def test_a_typed_stay_is_reported(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_label("Age, years").fill("71")
    page.get_by_label("Sex").select_option("female")
    page.get_by_label("Note", exact=True).fill("Cough, fever and dyspnea for three days. COPD.")
    page.get_by_label("Measurements").fill("1 heart_rate 118\n2, temperature, 102.2, degF\n2 lactate 3.4")
    send(page)
    shown = report(page)
    assert shown.locator("h1").inner_text().startswith("Stay 1")
    assert "dyspnea" in shown.locator("body").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("input[name=request]").input_value() == ""


def test_a_file_is_reported(page, hospital, runs, tmp_path):
    rows = (runs.predictions / "predictions.jsonl").read_text().splitlines()
    stays = [json.loads(row)["stay_id"] for row in rows[:2]]
    (tmp_path / "stays.json").write_text(json.dumps(request_of(hospital.cohort, stays)))
    page.get_by_label("JSON in the cohort's schema").set_input_files(tmp_path / "stays.json")
    page.get_by_label("Which stay of the file").fill("2")
    send(page)
    assert str(sorted(stays)[1]) in report(page).locator("h1").inner_text()
    (tmp_path / "bundle.json").write_text(json.dumps(bundle(observation("8867-4", 118, "/min"), document())))
    page.get_by_label("JSON in the cohort's schema").set_input_files(tmp_path / "bundle.json")
    page.get_by_label("Which stay of the file").fill("1")
    send(page)
    report(page).locator("h1", has_text=re.compile("^Stay 1 ")).wait_for()  # in place of the former report


def test_what_is_wrong_is_said_where_it_is_typed(page, tmp_path):
    alert = page.get_by_role("alert")
    send(page)
    assert "Age is needed" in alert.inner_text()
    page.get_by_label("Age, years").fill("71")
    page.get_by_label("Measurements").fill("1 heart_rate 118\nquickly")
    send(page)
    assert "line 2" in alert.inner_text()
    (tmp_path / "broken.json").write_text("{")
    page.get_by_label("JSON in the cohort's schema").set_input_files(tmp_path / "broken.json")
    send(page)
    assert "not valid JSON" in alert.inner_text()


def test_axe_and_keyboard(page):
    from axe_playwright_python.sync_playwright import Axe

    for path in ("", "docs"):
        page.goto(page.url.partition("docs")[0] + path)
        violations = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["target"]) for one in violations] == []
    page.goto(page.url.removesuffix("docs"))
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "age"


def test_a_refused_stay_and_a_token(browser, assessor):
    """What the service refuses is shown beside the form; its page is an error of the browser's console."""
    import hashlib

    access = Access(hashlib.sha256(TOKEN.encode()).digest())
    context = browser.new_context()
    with served(Service(assessor, access, Limits())) as port:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_label("Age, years").fill("71")
        page.get_by_label("Token").fill("another-token-than-that")
        send(page)
        alert = page.get_by_role("alert")
        alert.get_by_text("a token is needed").wait_for()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_label("Measurements").fill("1 heart_speed 118")
        send(page)
        alert.get_by_text("series[0].variable").wait_for()
        page.get_by_label("Measurements").fill("1 heart_rate 118")
        send(page)
        assert report(page).locator("h1").inner_text().startswith("Stay 1")
        assert "118 bpm" in ask(page, "last heart rate?").inner_text()  # the box sends the token, too
        page.get_by_label("Token").fill("another-token-than-that")
        page.get_by_label("Question", exact=True).fill("and the lowest?")
        page.get_by_role("button", name="Ask", exact=True).click()
        page.locator("#unasked", has_text="a token is needed").wait_for()
        assert page.locator("#dialogue li").count() == 1
        context.close()


def ask(page, question):
    """The first item of the dialogue, once it is about this question."""
    page.get_by_label("Question", exact=True).fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
    item = page.locator("#dialogue li").first
    item.locator(".asks", has_text=question).wait_for()
    return item


def test_a_dialogue_about_a_typed_stay_marks_what_answers_rest_on(page):
    page.get_by_label("Age, years").fill("71")
    page.get_by_label("Note", exact=True).fill("Cough \U0001f912 and fever for three days. No chest pain.")
    page.get_by_label("Measurements").fill("1 heart_rate 118\n2, temperature, 102.2, degF\n2.5 heart_rate 96")
    item = ask(page, "highest heart rate?")
    assert "118 bpm" in item.locator(".reply").inner_text()
    assert item.locator(".evidence").inner_text() == "heart rate: 118 at 1 h · 96 at 2.5 h"
    assert item.locator("mark").all_inner_texts() == ["118 at 1 h"]
    item = ask(page, "and the lowest?")
    assert item.locator("mark").all_inner_texts() == ["96 at 2.5 h"]
    assert ask(page, "last temperature?").locator("mark").all_inner_texts() == ["102.2 degF at 2 h"]
    item = ask(page, "does the note mention fever?")
    assert item.locator("mark").all_inner_texts() == ["fever"]
    assert ask(page, "any chest pain?").locator("mark").all_inner_texts() == ["chest pain"]
    assert ask(page, "should I give fluids?").locator(".status").inner_text() == "refused"
    assert page.locator("#dialogue li").count() == 6
    page.get_by_label("Measurements").fill("1 heart_rate 71")
    assert "71 bpm" in ask(page, "last heart rate?").inner_text()
    assert page.locator("#dialogue li").count() == 1  # those before were about another stay
    page.get_by_role("button", name="New dialogue").click()
    assert page.locator("#dialogue li").count() == 0
    assert ask(page, "and the lowest?").locator(".status").inner_text() == "refused"  # nothing goes before it


def test_a_dialogue_about_a_stay_of_a_file(page, hospital, runs, tmp_path):
    rows = (runs.predictions / "predictions.jsonl").read_text().splitlines()
    stays = sorted(json.loads(row)["stay_id"] for row in rows[:2])
    request = request_of(hospital.cohort, stays)
    (tmp_path / "stays.json").write_text(json.dumps(request))
    page.get_by_label("JSON in the cohort's schema").set_input_files(tmp_path / "stays.json")
    page.get_by_label("Which stay of the file").fill("2")
    item = ask(page, "highest heart rate?")
    chosen = request["stays"][1]["stay_id"]
    rates = [r["value"] for r in request["series"] if (r["stay_id"], r["variable"]) == (chosen, "heart_rate")]
    assert f"{max(rates):.0f} bpm" in item.inner_text()
    assert item.locator("mark").count() == rates.count(max(rates))
    (tmp_path / "bundle.json").write_text(json.dumps(bundle(observation("8867-4", 118, "/min"), document())))
    page.get_by_label("JSON in the cohort's schema").set_input_files(tmp_path / "bundle.json")
    page.get_by_label("Which stay of the file").fill("1")
    item = ask(page, "last heart rate?")
    assert "118 bpm" in item.locator(".reply").inner_text()
    assert item.locator("mark").all_inner_texts() == ["118 at 1 h"]
    assert "“dyspnea”" in ask(page, "does the note mention dyspnea?").inner_text()
    assert page.locator("#dialogue li").count() == 2  # those before were about another stay


@pytest.mark.parametrize("width", [360, 1280])
def test_no_question_and_no_note_runs_in_the_dialogue(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    hostile = "<img src=x onerror='window.broken = true'><script>window.broken = true</script>"
    page.get_by_label("Age, years").fill("71")
    page.get_by_label("Note", exact=True).fill(f"Fever and cough for three days. Weighs 70 kg. {hostile}")
    item = ask(page, f"{hostile} fever?")
    assert hostile in item.locator(".asks").inner_text()
    item = ask(page, "does the note mention cough?")
    assert hostile[:20] in item.locator(".evidence").inner_text()
    assert page.locator("#dialogue img, #dialogue script").count() == 0
    assert page.evaluate("window.broken") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1280])
def test_similar_cases_are_shown_beside_the_questions(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    seek = page.get_by_role("button", name="Find similar cases")
    seek.click()
    assert "Age is needed" in page.locator("#unsought").inner_text()
    page.get_by_label("Age, years").fill("71")
    page.get_by_label("Note", exact=True).fill("Cough, fever and dyspnea for three days. COPD. On furosemide.")
    page.get_by_label("Measurements").fill("1 heart_rate 128\n2, temperature, 102.8, degF\n2 lactate 5.4")
    seek.focus()
    page.keyboard.press("Enter")
    page.get_by_text("5 cases, the most similar first.").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Find similar cases"
    cases = page.get_by_label("Similar cases, the most similar first").get_by_role("listitem")
    assert cases.count() == 5
    text = cases.first.inner_text()
    assert "Coded:" in text
    assert "words" in text
    shown = page.locator("#cases").inner_text()
    assert "In both notes:" in shown
    assert "128 at 1 h" in page.locator("#cases").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("Age, years").fill("72")
    assert cases.count() == 0  # they were those of another stay
