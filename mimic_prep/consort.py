"""CONSORT-style diagram of the flow of stays through the rules: plain SVG, the same bytes for the same counts."""

from __future__ import annotations

from html import escape
from typing import Literal

from clinragen.cohort.manifest import AttritionRecord, CohortCounts

_WIDTH, _SIDE, _LINE, _GAP, _PAD = 760, 440, 20, 26, 12
_BOX = (_WIDTH - 20 - 2 * _GAP) / 3  # a split's: the main line runs down to the first of them
#: Counts of ``cohort`` shown below the number of stays.
_OF_THE_COHORT: dict[
    Literal["patients", "stays_with_note", "stays_with_digest", "stays_with_phenotype"], str
] = {
    "patients": "patients", "stays_with_note": "with notes", "stays_with_digest": "with a digest",
    "stays_with_phenotype": "with a label",
}  # fmt: skip
_STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1b2733}.n{font-weight:600}"
    "rect{fill:#fff;stroke:#5b6b7b;stroke-width:1.2;rx:6}path{stroke:#5b6b7b;stroke-width:1.2;fill:none}"
)


def draw(attrition: AttritionRecord, cohort: CohortCounts) -> str:
    """SVG text: stays in the raw table, those excluded by each rule, those kept, and the splits.

    The arguments are ``attrition`` and ``cohort`` of the manifest.
    """
    parts: list[str] = []
    top = _draw_box(parts, 10, 10, _BOX, [("Stays in the raw table", attrition["entered"])])
    excluded = [(step["reason"], step["stays"]) for step in attrition["excluded"] if step["stays"]]
    if excluded:
        total = sum(count for _, count in excluded)
        lines = [("Excluded", total), *((f"   {reason}", count) for reason, count in excluded)]
        side = top + _GAP
        bottom = _draw_box(parts, _WIDTH - _SIDE - 10, side, _SIDE, lines)
        middle = (side + bottom) / 2
        parts.append(f'<path d="M{10 + _BOX / 2:g} {middle}H{_WIDTH - _SIDE - 10}" marker-end="url(#a)"/>')
        start, top = top, bottom
    else:
        start = top
    kept_top = top + _GAP
    parts.append(f'<path d="M{10 + _BOX / 2:g} {start}V{kept_top}" marker-end="url(#a)"/>')
    lines = [("Stays in the cohort", attrition["kept"])]
    lines += [(f"   {label}", count) for key, label in _OF_THE_COHORT.items() if (count := cohort.get(key)) is not None]
    bottom = _draw_box(parts, 10, kept_top, _BOX, lines)
    split_top = bottom + 2 * _GAP
    bus = bottom + _GAP
    parts.append(f'<path d="M{10 + _BOX / 2:g} {bottom}V{bus}"/>')
    for column, (name, count) in enumerate(cohort["splits"].items()):
        left = 10 + column * (_BOX + _GAP)
        middle = left + _BOX / 2
        parts.append(f'<path d="M{10 + _BOX / 2:g} {bus}H{middle:g}V{split_top}" marker-end="url(#a)"/>')
        end = _draw_box(parts, left, split_top, _BOX, [(name.capitalize(), count)])
        bottom = max(bottom, end)
    height = bottom + 10
    arrow = '<defs><marker id="a" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">'
    arrow += '<path d="M1 1L8 4L1 7"/></marker></defs>'
    size = f'width="{_WIDTH}" height="{height:g}" viewBox="0 0 {_WIDTH} {height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    ground = f'<path d="M0 0H{_WIDTH}V{height:g}H0Z" style="fill:#fff;stroke:none"/>'
    title = f"<title>Flow of {attrition['entered']} stays into the cohort</title>"
    return "\n".join([head, title, f"<style>{_STYLE}</style>", arrow, ground, *parts, "</svg>", ""])


def _draw_box(parts: list[str], left: float, top: float, width: float, lines: list[tuple[str, int]]) -> float:
    """Append a box with a text and a count on each line; its lower edge."""
    height = 2 * _PAD + _LINE * len(lines) - 4
    parts.append(f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height}"/>')
    for row, (text, count) in enumerate(lines):
        base = top + _PAD + _LINE * row + 13
        indent = 16 if text.startswith("   ") else 0
        parts.append(f'<text x="{left + _PAD + indent:g}" y="{base:g}">{escape(text.strip())}</text>')
        parts.append(f'<text class="n" x="{left + width - _PAD:g}" y="{base:g}" text-anchor="end">{count:,}</text>')
    return top + height
