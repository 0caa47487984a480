"""The documentation site is built strictly, complete, without a broken link, and takes nothing from elsewhere.

And the notebooks run.
"""

from __future__ import annotations

import logging
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import clinragen
from clinragen import config
from clinragen.cli import PROGRAM
from mimic_prep.cli import PROGRAM as PREPARATION

ROOT = Path(__file__).parents[1]
#: a build takes seconds, and all but a few tests read one
pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules that make the pages can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "documentation"))


def build(folder: Path, source: Path) -> Path:
    """Build a site strictly."""
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.config import load_config

    settings = load_config(str(ROOT / "mkdocs.yml"), docs_dir=str(source), site_dir=str(folder), strict=True)
    settings.plugins.on_startup(command="build", dirty=False)
    mkdocs_build(settings)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as ``make docs`` builds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools" / "documentation"))
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        import pages

        folder = tmp_path_factory.mktemp("documentation")
        pages.write(folder / "pages")
        return build(folder / "site", folder / "pages")


class Page(HTMLParser):
    """What a page refers to.

    Attributes:
        links: addresses of links.
        loaded: addresses of what the browser loads by itself.
        anchors: ids of its elements.
        text: its text.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and "href" in values and values.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(values["href"])


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Page]:
    """Every page of the site."""
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_no_link_is_broken(parsed: dict[Path, Page]) -> None:
    broken = []
    for path, page in parsed.items():
        if path.name == "404.html":  # its addresses count from the root of a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in parsed[target].anchors):
                broken.append(f"{path.name}: {link}")
    assert not broken


def test_nothing_is_loaded_from_elsewhere(site: Path, parsed: dict[Path, Page]) -> None:
    for path, page in parsed.items():
        for address in page.loaded:
            assert not urlsplit(address).netloc, f"{path}: {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_every_page_of_the_repository_is_on_the_site(site: Path) -> None:
    for path in (ROOT / "docs").rglob("*"):
        if path.suffix in (".md", ".ipynb"):
            assert (site / path.relative_to(ROOT / "docs")).with_suffix(".html").exists(), path
    assert "A small model, on your own premises" in (site / "index.html").read_text(encoding="utf-8")


def test_a_broken_link_fails_the_build(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mkdocs.exceptions import Abort

    shutil.copytree(site.parent / "pages", tmp_path / "pages")
    with open(tmp_path / "pages" / "glossary.md", "a", encoding="utf-8") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    monkeypatch.setattr(logging.getLogger("mkdocs"), "propagate", False)
    with pytest.raises(Abort, match="1 warning"):
        build(tmp_path / "site", tmp_path / "pages")


def test_every_command_and_option_is_listed(tools: None) -> None:
    import command_reference

    page = command_reference.page()
    for program in (PREPARATION, PROGRAM):
        for name, about in program.commands().items():
            section = page.partition(f"### {program.name} {name}\n")[2].partition("\n### ")[0]
            assert about in section, name
            app = program.app()[name]
            for argument in app.assemble_argument_collection() if app.default_command else ():
                assert argument.name in section, f"{name} {argument.name}"


def test_every_key_of_every_kind_of_settings_is_listed(tools: None) -> None:
    import settings_reference
    from omegaconf import OmegaConf

    page = settings_reference.page()
    for kind in settings_reference.KINDS:
        section = page.partition(f"\n## {kind.group}\n")[2].partition("\n## ")[0] or page
        for name in config.names(kind.group):
            shipped = OmegaConf.to_container(OmegaConf.load(config.CONFIG_ROOT / kind.group / f"{name}.yaml"))
            for key in shipped if not kind.shared else ():
                assert f"| `{key}` |" in section, f"{kind.group}: {key}"


def test_every_group_of_settings_that_the_code_loads_is_listed(tools: None) -> None:
    import settings_reference

    sources = [
        path.read_text(encoding="utf-8") for name in ("clinragen", "mimic_prep") for path in (ROOT / name).rglob("*.py")
    ]
    loaded = {
        group for source in sources for group in re.findall(r"\b(?:load|load_over_default)\(\"([a-z_]+)\", ", source)
    }
    assert len(loaded) >= 10
    assert loaded <= {kind.group for kind in settings_reference.KINDS}


def test_a_key_says_what_its_source_says(tools: None) -> None:
    import settings_reference

    from clinragen.stages.config import StageConfig
    from mimic_prep.protocol import Rules

    assert settings_reference.explanations(StageConfig)["tokens"].startswith("most padded tokens of one forward pass")
    assert settings_reference.explanations(Rules)["max_bad_share"].startswith("allowed share of quarantined rows")


def test_every_name_of_the_package_is_explained(parsed: dict[Path, Page]) -> None:
    (page,) = (page for path, page in parsed.items() if path.parts[-2:] == ("reference", "python.html"))
    assert ":func:" not in "".join(page.text)
    offered = {name for name in clinragen.__all__ if name != "__version__"}
    explained = {anchor.rpartition(".")[2] for anchor in page.anchors if anchor.startswith("clinragen.")}
    assert offered <= explained


@pytest.mark.browser
@pytest.mark.parametrize("name", ["index.html", "tutorials/demo.html", "reference/settings.html", "results.html"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_open_from_the_folder_at_any_width(site: Path, browser, name: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.goto((site / name).as_uri())
    page.wait_for_load_state("load")
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert not failed
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.browser
def test_the_search_works_from_the_folder(site: Path, browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site / "index.html").as_uri())
    answer = page.locator(".md-search-result__item a", has_text="Abstention").first
    for _ in range(10):  # what is typed before the script of the page listens is not searched for
        page.locator(".md-search__input").fill("")
        page.locator(".md-search__input").press_sequentially("abstention")
        page.wait_for_timeout(1000)
        if answer.is_visible():
            break
    answer.click()
    assert "abstention" in page.url
    page.close()


#: of the theme's own search box and copy buttons
THEME = {"aria-dialog-name", "landmark-unique"}


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(site: Path, browser, scheme: str) -> None:
    """Contrast of text, links that are told from text, headers of tables, texts for pictures."""
    from axe_playwright_python.sync_playwright import Axe

    for name in ("index.html", "how-to/add-a-database.html", "reference/settings.html"):
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        page.goto((site / name).as_uri())
        page.wait_for_load_state("load")
        violations = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["target"]) for one in violations if one["id"] not in THEME] == []
        page.close()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_holds_no_output(notebook: Path) -> None:
    import nbformat

    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not [cell for cell in cells if cell.outputs or cell.execution_count is not None]


def test_the_notebooks_run(hospital, runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with what the demo writes, at the same names."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    demo = tmp_path / "outputs" / "demo"
    demo.mkdir(parents=True)
    for name, folder in (
        ("cohort", hospital.cohort),
        ("multimodal", runs.multimodal),
        ("predictions", runs.predictions),
    ):
        (demo / name).symlink_to(folder)
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
        assert all(cell.outputs for cell in notebook.cells[-1:] if cell.cell_type == "code")
