"""The template that lists codes and units without a meaning, for the site to fill in."""

from __future__ import annotations

from collections import Counter

from clinragen.catalog import variables
from mimic_prep.codes_to_fill import MOST_LISTED, plain, quoted

_HEAD = """\
# Codes of the export that no variable has, most frequent first. Delete what does not matter; in the rest replace null
# by a variable, and give the unit of values without one. Then: mimic-prep fhir ... --codes THIS_FILE
# Codes of diagnoses (such as SNOMED CT) go into a list `diagnoses` instead: - {{system: ..., code: ..., icd10: ...}}
# Variables: {names}.
"""


def template(unmapped: Counter[tuple[str, str, str]], odd_units: Counter[tuple[str, str]]) -> str:
    """A mapping file (``configs/fhir``) in YAML; without names that may hold text of patients.

    Args:
        unmapped: rows by system, code and display.
        odd_units: rows by variable and unit.
    """
    lines = [_HEAD.format(names=", ".join(variables()))]
    lines.append("codes:" if unmapped else "codes: []")
    for (system, code, display), rows in sorted(unmapped.items(), key=lambda entry: (-entry[1], entry[0]))[
        :MOST_LISTED
    ]:
        named = f"system: {quoted(system)}, code: {quoted(code)}, variable: null"
        lines.append(f"  - {{{named}}} # {rows:,} rows: {plain(display)}")
    lines.append("units:" if odd_units else "units: {}")
    for (key, unit), rows in sorted(odd_units.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_LISTED]:
        hint = f"{rows:,} rows of {key}: replace the second by a UCUM unit"
        lines.append(f"  {quoted(unit)}: {quoted(unit)} # {hint}")
    return "\n".join(lines) + "\n"
