"""What an OMOP CDM's concepts and names mean: ``configs/omop/default.yaml``, and a hospital's changes to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from clinragen.artifacts import sha256_json
from clinragen.catalog import Variable, variables
from clinragen.errors import UserError, unknown_choice
from mimic_prep.site_settings import check_words, load_over_default

_OF_TREATMENTS = (
    "administration_types",
    "intravenous_routes",
    "intravenous_words",
    "not_infusions",
    "procedure_minutes",
)


def treatments() -> list[Variable]:
    """The treatments among the variables in use."""
    return [one for one in variables().values() if one.kind == "treatment"]


@dataclass
class SourceValue:
    """The variable of a concept or source value (None: it has none), and its unit (None: the variable's)."""

    variable: str | None = None
    unit: str | None = None


@dataclass
class NoteKind:
    """How notes of a kind are recognised: concepts of their type or class, and words of their title."""

    concepts: list[int] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


@dataclass
class OmopSettings:
    """The keys of ``configs/omop/default.yaml``, which documents them."""

    icu_concepts: list[int] = field(default_factory=list)
    icu_units: list[str] = field(default_factory=list)
    other_units: list[str] = field(default_factory=list)
    join_minutes: int = 1
    billing_types: list[int] = field(default_factory=list)
    billing_ranges: list[list[int]] = field(default_factory=list)
    not_diagnosis_types: list[int] = field(default_factory=list)
    icd9_concepts: list[int] = field(default_factory=list)
    died: list[int] = field(default_factory=list)
    died_words: list[str] = field(default_factory=list)
    units: dict[int, list[str]] = field(default_factory=dict)
    no_unit: list[int] = field(default_factory=list)
    concepts: dict[int, SourceValue] = field(default_factory=dict)
    source_values: dict[str, SourceValue] = field(default_factory=dict)
    notes: dict[str, NoteKind] = field(default_factory=dict)
    administration_types: list[int] = field(default_factory=list)
    intravenous_routes: list[int] = field(default_factory=list)
    intravenous_words: list[str] = field(default_factory=list)
    not_infusions: list[str] = field(default_factory=list)
    procedure_minutes: bool = False

    def digest(self) -> str:
        """A hash of all values; of those of treatments only if any are in use, so that other cohorts stay the same."""
        values = asdict(self)
        if not treatments():
            values = {key: value for key, value in values.items() if key not in _OF_TREATMENTS}
        return sha256_json(values)


def load_settings(name: str = "default") -> OmopSettings:
    """The settings of a shipped name or a YAML file; keys that it leaves out are those of the default.

    Raises:
        UserError: unknown name or key, a value of the wrong type, or words that are no regular expression.
    """
    settings, path = load_over_default("omop", name, OmopSettings)
    _check(settings, path)
    return settings


def _check(settings: OmopSettings, path: Path) -> None:
    words = {f"notes.{kind}.words": rule.words for kind, rule in settings.notes.items()}
    words |= {
        name: getattr(settings, name)
        for name in ("icu_units", "other_units", "died_words", "intravenous_words", "not_infusions")
    }
    check_words(words, path)
    for key, meanings in (("concepts", settings.concepts), ("source_values", settings.source_values)):
        for code, meaning in meanings.items():
            if meaning.variable is not None and meaning.variable not in variables():
                raise unknown_choice(f"{path}: {key}.{code}: variable", meaning.variable, variables())
    if len(settings.icd9_concepts) not in (0, 2):
        raise UserError(f"{path}: icd9_concepts: expected the first and the last concept id, or an empty list")
