"""From the raw name of an order to its drug: ingredient and class.

``configs/concepts/drug_classes.yaml`` says what orders call a drug, and adds the classes and drugs that
``configs/knowledge/drugs.yaml``, which serves the concept graph, does not have. A name is compared word by word; the
longest name of a drug at a word wins. Nothing is guessed: a misspelling counts only where it is listed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from clinragen.artifacts import sha256_json
from clinragen.catalog import read_data_file
from clinragen.config import CONFIG_ROOT
from clinragen.errors import UserError

_ORDERS = CONFIG_ROOT / "concepts" / "drug_classes.yaml"
_CURATED = CONFIG_ROOT / "knowledge" / "drugs.yaml"
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_BARE_POINT = re.compile(r"(?<![0-9])\.(?=[0-9])")
_WORD = re.compile(r"[^\W\d_]+|[0-9]+(?:\.[0-9]+)?|%")
_ROUTE = re.compile(r" \([^()]*\)$")  # "heparin (lock)"
_STRENGTH = re.compile(r" [0-9.]+%$")  # "dextrose 5%"

Words = tuple[str, ...]


@dataclass(frozen=True)
class Drug:
    """What an order is of.

    ``ingredient`` has neither salt, dose nor form ("vancomycin"); that of a combination names its parts, joined by
    hyphens. ``drug_class`` is a key of ``drug_classes()``.
    """

    ingredient: str
    drug_class: str


@dataclass(frozen=True)
class _Entry:
    """A member of a class."""

    ingredient: str
    drug_class: str
    routed: bool  # its names say a route
    yields: bool  # it counts only if no other drug is named
    carrier: bool  # moreover only if all other words are fillers

    @property
    def base(self) -> str:
        """The ingredient without a strength in its name, as part of combinations."""
        return _STRENGTH.sub("", self.ingredient)


@dataclass(frozen=True)
class _Rule:
    """A change of class, and perhaps ingredient, by words of the name; see the file."""

    to: str
    ingredient: str | None
    drugs: frozenset[str]
    classes: frozenset[str]
    words: Words
    unless: Words
    carrier: Literal["first", "any"] | None

    def fits(self, entry: _Entry, text: str, fluid: Literal["first", "later"] | None) -> bool:
        """Whether it decides.

        Args:
            entry: the drug that the name names.
            text: the words of the name, with a space around each.
            fluid: whether a fluid is named too, and whether before the drug.
        """
        return (
            (not self.drugs or entry.ingredient in self.drugs)
            and (not self.classes or entry.drug_class in self.classes)
            and (self.carrier is None or fluid == "first" or (self.carrier == "any" and fluid is not None))
            and (not self.words or any(word in text for word in self.words))
            and not any(word in text for word in self.unless)
        )


@dataclass(frozen=True)
class _Mention:
    start: int  # of its first word
    entry: _Entry


@dataclass(frozen=True)
class _Lexicon:
    """The data in the form in which names are read."""

    names: dict[str, list[tuple[Words, _Entry]]]  # first word -> names of drugs, the longest first
    classes: dict[str, str]
    combinations: list[tuple[tuple[frozenset[str], ...], _Entry]]  # the most parts first
    mixtures: dict[str, frozenset[str]]
    fluids: frozenset[str]
    rules: tuple[_Rule, ...]
    fillers: frozenset[str]
    containers: frozenset[str]


def drug_of(name: str) -> Drug | None:
    """The drug that a raw name of an order names; None if it names none that is listed.

    Args:
        name: as it stands in the source, with doses, forms and brands in any order and case.

    >>> drug_of("5 ML VIAL : DILTIAZEM HCL 25 MG/5ML IV SOLN")
    Drug(ingredient='diltiazem', drug_class='rate_control_ccb')
    >>> drug_of("heparin 25,000 units in D5W 250 mL").drug_class, drug_of("heparin 5000 units SC").drug_class
    ('parenteral_antithrombotic', 'sc_heparin')
    >>> drug_of("placebo 5 mg in D5W 100 mL")
    """
    lexicon = _lexicon()
    words = _words(name)
    mentions, others = _mentions(words, lexicon)
    if not mentions:
        supply = any(word in lexicon.containers for word in others.values()) and _fill(others, len(words), lexicon)
        return Drug("supply", "supply") if supply else None
    drugs = [mention for mention in mentions if not mention.entry.yields]
    if all(mention.entry.carrier for mention in mentions):
        fluids = [mention.start for mention in mentions if mention.entry.drug_class in lexicon.fluids]
        if not _fill(others, min(fluids, default=len(words)), lexicon):
            return None
    fluid = _fluid(mentions, drugs, lexicon)
    entries = _combined([mention.entry for mention in drugs or mentions], lexicon)
    if not drugs:
        entries = sorted(entries, key=lambda entry: entry.carrier)[:1]
    text = f" {' '.join(words)} "
    first = _by_rules(entries[0], text, fluid, lexicon)
    if len(entries) == 1:
        return first
    return Drug("-".join(sorted({entry.ingredient for entry in entries})), first.drug_class)


def drugs_of(names: Sequence[str]) -> dict[str, Drug | None]:
    """``drug_of`` of each distinct name.

    >>> drugs_of(["LASIX", "lasix 20 mg", "LASIX"])["LASIX"].ingredient
    'furosemide'
    """
    return {name: drug_of(name) for name in dict.fromkeys(names)}


def drugs_by_code(pairs: Iterable[tuple[Hashable, str]]) -> dict[Hashable, Drug]:
    """The drug of each code of a source, from its rows that have a name too, so that rows without one have a drug.

    In eICU two of five orders have no name, but often the ``drughiclseqno`` of orders that have one.

    Args:
        pairs: code and raw name of each row that has both.

    Returns:
        Code -> the ingredient of more than half of the code's rows whose name is mapped, in the class that it most
        often has there. Codes without such an ingredient are absent.

    >>> drugs_by_code([(2102, "HEPARIN 5000 UNIT/ML"), (2102, "heparin flush"), (2102, "HEPARIN SOD"), (9, "no drug")])
    {2102: Drug(ingredient='heparin', drug_class='sc_heparin')}
    """
    rows: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for code, name in pairs:
        rows[code][name] += 1
    drugs = drugs_of([name for names in rows.values() for name in names])
    resolved = {}
    for code, names in rows.items():
        counts: Counter[Drug] = Counter()
        ingredients: Counter[str] = Counter()
        for name, count in names.items():
            if (drug := drugs[name]) is not None:
                counts[drug] += count
                ingredients[drug.ingredient] += count
        for ingredient, count in ingredients.items():
            if 2 * count > ingredients.total():
                of_ingredient = [drug for drug in counts if drug.ingredient == ingredient]
                resolved[code] = min(of_ingredient, key=lambda drug: (-counts[drug], drug.drug_class))
    return resolved


def drug_classes() -> dict[str, str]:
    """The classes of orders: key -> readable name, in the order of the file."""
    return dict(_lexicon().classes)


@cache
def drugs_digest() -> str:
    """Hash of all data that the mapping depends on; comments do not count."""
    orders, curated = _files()
    members = {key: (entry["name"], entry["members"]) for key, entry in curated.items()}
    return sha256_json([orders, list(orders["classes"]), members])


def _words(text: str) -> Words:
    """The words of a name in normal form.

    >>> _words("1,000 mL D5-.450% NaCl")
    ('1000', 'ml', 'd', '5', '0.45', '%', 'nacl')
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\u2019", "")
    text = _BARE_POINT.sub("0.", _THOUSANDS.sub("", text))
    return tuple(_shortest(word) for word in _WORD.findall(text))


def _shortest(word: str) -> str:
    return word.rstrip("0").rstrip(".") if "." in word else word


def _fill(others: dict[int, str], end: int, lexicon: _Lexicon) -> bool:
    """Whether all of the words before an offset say nothing of a drug."""
    return all(word in lexicon.fillers or word in lexicon.containers for start, word in others.items() if start < end)


def _mentions(words: Words, lexicon: _Lexicon) -> tuple[list[_Mention], dict[int, str]]:
    """The drugs that are named, from left to right, and the words (no figures) that belong to none, by offset."""
    mentions, others = [], {}
    start = 0
    while start < len(words):
        for candidate, entry in lexicon.names.get(words[start], ()):
            if words[start : start + len(candidate)] == candidate:
                mentions.append(_Mention(start, entry))
                start += len(candidate)
                break
        else:
            if words[start].isalpha():
                others[start] = words[start]
            start += 1
    return mentions, others


def _fluid(mentions: list[_Mention], drugs: list[_Mention], lexicon: _Lexicon) -> Literal["first", "later"] | None:
    """Whether a fluid is named beside a drug, and whether before it."""
    fluids = [mention.start for mention in mentions if mention.entry.drug_class in lexicon.fluids]
    if not fluids or not drugs:
        return None
    return "first" if fluids[0] < drugs[0].start else "later"


def _combined(entries: list[_Entry], lexicon: _Lexicon) -> list[_Entry]:
    """Named drugs, each once; a mixture takes in its parts, and parts of a listed combination become it."""
    by_ingredient: dict[str, _Entry] = {}
    for entry in entries:
        present = by_ingredient.get(entry.ingredient)
        if present is None or (entry.routed and not present.routed):
            by_ingredient[entry.ingredient] = entry
    for ingredient in list(by_ingredient):
        absorbed = lexicon.mixtures.get(ingredient)
        if absorbed and ingredient in by_ingredient:
            by_ingredient = {
                key: entry
                for key, entry in by_ingredient.items()
                if key == ingredient or not ("any" in absorbed or entry.drug_class in absorbed)
            }
    while len(by_ingredient) > 1 and (pair := _combination(by_ingredient, lexicon)):
        parts, whole = pair
        order = [whole if entry.base in parts else entry for entry in by_ingredient.values()]
        by_ingredient = {entry.ingredient: entry for entry in order}
    return list(by_ingredient.values())


def _combination(entries: dict[str, _Entry], lexicon: _Lexicon) -> tuple[set[str], _Entry] | None:
    """The parts to be replaced, and by what: a named combination takes in its parts, then a listed one forms."""
    bases = {entry.base for entry in entries.values()}
    for entry in entries.values():
        parts = set(entry.ingredient.split("-")) & bases - {entry.base}
        if parts:
            return parts, entry
    for alternatives, whole in lexicon.combinations:
        parts = {base for base in bases if any(base in names for names in alternatives)}
        if len(parts) > 1 and all(parts & names for names in alternatives):
            return parts, whole
    return None


def _by_rules(entry: _Entry, text: str, fluid: Literal["first", "later"] | None, lexicon: _Lexicon) -> Drug:
    if not entry.routed:
        for rule in lexicon.rules:
            if rule.fits(entry, text, fluid):
                return Drug(rule.ingredient or entry.ingredient, rule.to)
    return Drug(entry.ingredient, entry.drug_class)


def _files() -> tuple[dict[str, Any], dict[str, Any]]:
    """The content of the file of orders, and the classes of that of the graph."""
    return read_data_file(_ORDERS), read_data_file(_CURATED)["classes"]


@cache
def _lexicon() -> _Lexicon:
    orders, curated = _files()
    return _read(orders, curated)


def _read(orders: dict[str, Any], curated: dict[str, Any]) -> _Lexicon:
    """Check and arrange the data.

    Args:
        orders: the content of ``drug_classes.yaml``.
        curated: the classes of ``drugs.yaml``.

    Raises:
        UserError: a drug in two classes, a name of two drugs, or a class or drug that is not defined.
    """
    homes = _homes(orders, curated)
    spellings = _curated_names(orders, curated) | _order_names(orders)
    class_names = {
        key: entry.get("name") or curated.get(key, {}).get("name") for key, entry in orders["classes"].items()
    }
    if nameless := [key for key, name in class_names.items() if not name]:
        raise UserError(f"{_ORDERS}: class '{nameless[0]}' has no name")
    carriers = orders["carriers"]
    entries = {}
    for key, home in homes.items():
        name = orders["names"].get(key, key)
        carrier = home in (*carriers["fluids"], *carriers["classes"]) or key in carriers["drugs"]
        yields = carrier or key in orders["general"]
        entries[key] = _Entry(_ROUTE.sub("", name), home, bool(_ROUTE.search(name)), yields, carrier)
    names: dict[str, list[tuple[Words, _Entry]]] = defaultdict(list)
    for words, key in spellings.items():
        names[words[0]].append((words, entries[key]))
    for group in names.values():
        group.sort(key=lambda pair: -len(pair[0]))
    rules = tuple(_rule(rule) for rule in orders["rules"])
    mentioned = {entry.drug_class for entry in entries.values()} | {rule.to for rule in rules}
    _check(orders, entries, rules, class_names)
    return _Lexicon(
        names=dict(names),
        classes={key: name for key, name in class_names.items() if key in mentioned},
        combinations=_combinations(orders, entries),
        mixtures={key: frozenset(absorbed) for key, absorbed in orders["mixtures"].items()},
        fluids=frozenset(carriers["fluids"]),
        rules=rules,
        fillers=frozenset(orders["fillers"]),
        containers=frozenset(orders["containers"]),
    )


def _homes(orders: dict[str, Any], curated: dict[str, Any]) -> dict[str, str]:
    """Each drug's class."""
    homes = {key: drug_class for drug_class, entry in curated.items() for key in entry["members"]}
    for move in orders["moved"]:
        for key in move["drugs"]:
            if key not in homes:
                raise UserError(f"{_ORDERS}: moved drug '{key}' is not in {_CURATED}")
            homes[key] = move["to"]
    for drug_class, entry in orders["classes"].items():
        for key in entry.get("members") or ():
            if homes.setdefault(key, drug_class) != drug_class:
                raise UserError(f"{_ORDERS}: '{key}' is in classes {homes[key]} and {drug_class}")
    return homes


def _curated_names(orders: dict[str, Any], curated: dict[str, Any]) -> dict[Words, str]:
    """The drugs that the names of ``drugs.yaml`` mean, without those that are unclear in orders."""
    names = {
        _words(name): key
        for entry in curated.values()
        for key, synonyms in entry["members"].items()
        for name in (key, *synonyms)
    }
    unclear = {_words(name) for name in orders["not_in_orders"]}
    return {words: key for words, key in names.items() if words not in unclear}


def _order_names(orders: dict[str, Any]) -> dict[Words, str]:
    """The drugs that the names of ``drug_classes.yaml`` mean."""
    names: dict[Words, str] = {}
    for entry in orders["classes"].values():
        for key, synonyms in (entry.get("members") or {}).items():
            bare = [] if _ROUTE.search(key) else [key]  # the name without a route is that of another member
            for name in (*bare, *(synonyms or ())):
                if names.setdefault(_words(name), key) != key:
                    raise UserError(f"{_ORDERS}: '{name}' names both {names[_words(name)]} and {key}")
    return names


def _rule(rule: dict[str, Any]) -> _Rule:
    def phrases(key: str) -> Words:
        return tuple(f" {' '.join(_words(str(phrase)))} " for phrase in rule.get(key) or ())

    return _Rule(
        to=rule["to"],
        ingredient=rule.get("ingredient"),
        drugs=frozenset(_ROUTE.sub("", drug) for drug in rule.get("drugs") or ()),
        classes=frozenset(rule.get("classes") or ()),
        words=phrases("words"),
        unless=phrases("unless"),
        carrier=rule.get("carrier"),
    )


def _combinations(
    orders: dict[str, Any], entries: dict[str, _Entry]
) -> list[tuple[tuple[frozenset[str], ...], _Entry]]:
    """Parts (each by any of its ingredients) and their combination: the listed ones, and names made of ingredients."""
    bases = {entry.base for entry in entries.values()}
    combinations = []
    for key, entry in entries.items():
        listed = orders["combinations"].get(key) or [[part] for part in entry.ingredient.split("-")]
        parts = [frozenset(names) for names in listed]
        if len(parts) > 1 and all(names <= bases for names in parts):
            combinations.append((tuple(parts), entry))
    return sorted(combinations, key=lambda pair: -len(pair[0]))


def _check(
    orders: dict[str, Any], entries: dict[str, _Entry], rules: tuple[_Rule, ...], class_names: dict[str, str]
) -> None:
    """Every class and drug that the file refers to is defined."""
    ingredients = {entry.ingredient for entry in entries.values()}
    classes = {entry.drug_class for entry in entries.values()} | {rule.to for rule in rules}
    classes |= {name for rule in rules for name in rule.classes} | set(orders["carriers"]["classes"])
    classes |= set(orders["carriers"]["fluids"])
    classes |= {name for absorbed in orders["mixtures"].values() for name in absorbed} - {"any"}
    drugs = {drug for rule in rules for drug in rule.drugs} | set(orders["mixtures"])
    drugs |= {name for parts in orders["combinations"].values() for names in parts for name in names}
    for kind, used, defined in (
        ("class", classes, set(class_names)),
        ("drug", drugs, ingredients),
        (
            "member",
            set(orders["combinations"])
            | set(orders["names"])
            | set(orders["carriers"]["drugs"])
            | set(orders["general"]),
            set(entries),
        ),
    ):
        if unknown := sorted(used - defined):
            raise UserError(f"{_ORDERS}: {kind} '{unknown[0]}' is not defined")
