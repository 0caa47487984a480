"""What the categories of a CLIF export mean: ``configs/clif/default.yaml``, and a hospital's changes to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from clinragen.artifacts import sha256_json
from clinragen.catalog import variables
from clinragen.errors import UserError, unknown_choice
from mimic_prep.site_settings import check_words, load_over_default


@dataclass
class SiteCategory:
    """The variable of a category that the catalogue does not list (None: it has none)."""

    variable: str | None = None


@dataclass
class ClifSettings:
    """The keys of ``configs/clif/default.yaml``, which documents them."""

    icu_locations: list[str] = field(default_factory=list)
    icu_units: list[str] = field(default_factory=list)
    join_minutes: int = 1
    arterial_line: list[str] = field(default_factory=list)
    blood: list[str] = field(default_factory=list)
    not_given: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    not_discharged: list[str] = field(default_factory=list)
    categories: dict[str, SiteCategory] = field(default_factory=dict)

    def digest(self) -> str:
        """A hash of all values."""
        return sha256_json(asdict(self))


def load_settings(name: str = "default") -> ClifSettings:
    """The settings of a shipped name or a YAML file; keys that it leaves out are those of the default.

    Raises:
        UserError: unknown name or key, a value of the wrong type, or words that are no regular expression.
    """
    settings, path = load_over_default("clif", name, ClifSettings)
    check_words(
        {
            key: getattr(settings, key)
            for key in ("icu_units", "arterial_line", "blood", "not_given", "died", "not_discharged")
        },
        path,
    )
    for name, category in settings.categories.items():
        if category.variable is not None and category.variable not in variables():
            raise unknown_choice(f"{path}: categories.{name}: variable", category.variable, variables())
    return settings


def hours_of(text: str) -> float:
    """The difference of a clock from UTC.

    Raises:
        UserError: no number of hours from -14 to 14.
    """
    try:
        hours = float(text)
    except ValueError:
        hours = float("nan")
    if not -14 <= hours <= 14:
        raise UserError(f"--clock {text}: expected the hours that the hospital's clock is ahead of UTC, such as -5")
    return hours
