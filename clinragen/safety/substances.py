"""What a drug consists of, and which groups of ``configs/safety/groups.yaml`` each part belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from clinragen.drugs import Drug, drug_of
from clinragen.safety.rules import rules


@dataclass(frozen=True)
class Substance:
    """One ingredient of a drug, or the drug as a whole.

    Attributes:
        names: what rules may call it: the ingredient, and the keys of its groups.
        part: whether it is one of several parts of the drug.
    """

    ingredient: str
    names: frozenset[str]
    part: bool = False


@cache
def substances(drug: Drug) -> tuple[Substance, ...]:
    """The drug, and the parts of a combination that are drugs themselves.

    >>> [substance.ingredient for substance in substances(Drug("hydrocodone-acetaminophen", "opioid"))]
    ['hydrocodone-acetaminophen', 'hydrocodone', 'acetaminophen']
    """
    parts = [part for part in drug.ingredient.split("-") if _is_ingredient(part)]
    whole = Substance(drug.ingredient, _names(drug.ingredient, drug.drug_class))
    return whole, *(
        Substance(part, _names(part), part=True) for part in dict.fromkeys(parts) if part != drug.ingredient
    )


@cache
def names_of(drug: Drug) -> frozenset[str]:
    """Everything that rules may call a drug: its ingredients and their groups."""
    return frozenset().union(*(substance.names for substance in substances(drug)))


def is_local(drug: Drug) -> bool:
    """Whether the drug does not reach the circulation, by its class: eye drops, ointments, flushes."""
    return drug.drug_class in rules().local_classes


def _is_ingredient(name: str) -> bool:
    drug = drug_of(name)
    return drug is not None and drug.ingredient == name


def _names(ingredient: str, drug_class: str | None = None) -> frozenset[str]:
    """An ingredient and its groups, by the class that an order has and the one that the bare name has."""
    bare = drug_of(ingredient)
    classes = {drug_class} if drug_class else set()
    if bare is not None and bare.ingredient == ingredient:
        classes.add(bare.drug_class)
    groups = rules().groups
    return frozenset({ingredient, *(key for key in groups if _holds(key, ingredient, classes))})


def _holds(key: str, ingredient: str, classes: set[str]) -> bool:
    group = rules().groups[key]
    if ingredient in group.excepted:
        return False
    if ingredient in group.drugs or classes & group.classes:
        return True
    return any(_holds(inner, ingredient, classes) for inner in group.groups)
