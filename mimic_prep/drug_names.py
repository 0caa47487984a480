"""Drugs by their names, in whole words, for sources that name them in texts or in vocabularies of their own."""

from __future__ import annotations

import re

from clinragen.catalog import per_catalogue, variables

_CODED = re.compile(r"(?:rxnorm|atc|snomed) \S+")  # what is listed beside names


def named(text: str, no_infusion: re.Pattern[str] | None = None) -> str | None:
    """The variable of the first name in a text; the catalogue lists names as ``administrations`` of ``fhir``.

    Args:
        text: the name of a drug or a product, in any case.
        no_infusion: what is no infusion though it holds a name, such as a flush.
    """
    pattern, of_name = _names()
    match = pattern.search(text.casefold()) if pattern else None
    if match is None or (no_infusion is not None and no_infusion.search(text)):
        return None
    return of_name[match[1]]


@per_catalogue
def _names() -> tuple[re.Pattern[str] | None, dict[str, str]]:
    names = {
        name: key
        for key, one in variables().items()
        for item in one.items.get("fhir", {}).get("administrations", {})
        if one.kind == "treatment" and not _CODED.fullmatch(name := str(item).casefold())
    }
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    pattern = "|".join(map(re.escape, longest_first))
    return re.compile(rf"(?<!\w)({pattern})(?!\w)") if names else None, names
