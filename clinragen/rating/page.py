"""The page of one rater: a single HTML file that works offline, without a word on who wrote what.

As in the report, patient text is untrusted: Jinja escapes everything, invisible characters are shown, and the
Content-Security-Policy allows only the page's own style and script, by their hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from string import ascii_uppercase

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clinragen import __version__
from clinragen.cohort.sections import section_title
from clinragen.rating.criteria import WORDINGS, Rated, criteria
from clinragen.rating.items import Argument, Item
from clinragen.rating.key import RaterKey
from clinragen.rating.plots import PlotGroup, plot_groups
from clinragen.reporting import views
from clinragen.reporting.assets import source_hash
from clinragen.reporting.visible import finalize, marked_up
from clinragen.versions import RATINGS


@dataclass(frozen=True)
class StayForm:
    """One stay of a rater's page.

    Attributes:
        item: the chart.
        arguments: each letter with its rationales.
    """

    item: ItemView
    arguments: list[tuple[str, Argument]]


@dataclass(frozen=True)
class ItemView:
    """A stay's chart as a page shows it; drawn once for all raters."""

    item: Item

    @property
    def name(self) -> str:
        """The neutral name."""
        return self.item.name

    @property
    def patient(self) -> str:
        """Age and sex in words."""
        chart = self.item.chart
        return f"age {views.age_text(chart.age)}, sex {views.sex_text(chart.sex)}"

    @property
    def window(self) -> str:
        """Hours that the authors read, in words."""
        return f"{self.item.chart.window:.0f}"

    @property
    def sections(self) -> list[tuple[str, str]]:
        """(title, text) of the note."""
        return [(section_title(key), text) for key, text in self.item.chart.sections]

    @cached_property
    def groups(self) -> list[PlotGroup]:
        """Plots of the series by kind of variable."""
        return plot_groups(self.item.chart.cells, self.item.chart.window)


def pages(
    raters: Iterable[RaterKey], items: Mapping[str, Item], pack: str, rated: Rated = "rationales"
) -> Iterable[tuple[str, str]]:
    """The name of each rater with the HTML of the page.

    Args:
        raters: who rates, in which order.
        items: the stays by their neutral names.
        pack: name of the pack.
        rated: what the authors wrote.
    """
    template = _environment(rated).get_template("rate.html")
    shown = {name: ItemView(item) for name, item in items.items()}
    for rater in raters:
        forms = [
            StayForm(
                shown[placing.item],
                [
                    (letter, items[placing.item].arguments[author])
                    for letter, author in zip(ascii_uppercase, placing.authors, strict=False)
                ],
            )
            for placing in rater.placings
        ]
        yield rater.rater, template.render(forms=forms, pack=pack, rater=rater)


def _environment(rated: Rated) -> Environment:
    environment = Environment(
        loader=PackageLoader("clinragen.rating"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    templates = files("clinragen.rating") / "templates"
    style = (templates / "rate.css").read_text(encoding="utf-8")
    script = (templates / "rate.js").read_text(encoding="utf-8")
    environment.globals |= {
        "style": Markup(style),
        "style_hash": source_hash(style),
        "script": Markup(script),
        "script_hash": source_hash(script),
        "version": __version__,
        "criteria": list(criteria(rated).values()),
        "wording": WORDINGS[rated],
        "ratings_version": RATINGS.version,
    }
    environment.filters["shown"] = marked_up
    return environment
