"""The concept graph as text: entries of concepts, and counts with coverage."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clinragen.catalog import variables
from clinragen.knowledge.concepts import NODE_KINDS
from clinragen.knowledge.graph import ConceptGraph, Link
from clinragen.knowledge.sources import curated

#: Requirements of ``coverage`` for every phenotype.
LEAST_FINDINGS = 8
LEAST_VARIABLES = 3
SHOWN_SYNONYMS = 20

# (title, relations, direction, kinds): the sections of an entry, in order.
_SECTIONS: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    ("Measured as", ("measures",), "in", ("variable",)),
    ("Findings in the series", ("suggests", "measures"), "in", ("finding",)),
    ("Symptoms and signs", ("suggests",), "in", ("symptom",)),
    ("Diseases that belong here", ("is_a",), "in", ("disease",)),
    ("Members", ("is_a",), "in", ("drug",)),
    ("Brought about by", ("causes",), "in", ("disease", "phenotype")),
    ("Complications", ("complicates",), "in", ("disease", "phenotype")),
    ("Drugs", ("treats",), "in", ("drug",)),
    ("Procedures", ("indicates",), "in", ("procedure",)),
    ("Circumstances", ("suggests",), "in", ("circumstance",)),
    ("Other evidence", ("associated_with",), "in", NODE_KINDS),
    ("Is a", ("is_a",), "out", NODE_KINDS),
    ("Shows as", ("measures",), "out", ("finding",)),
    ("Speaks for", ("suggests", "associated_with"), "out", NODE_KINDS),
    ("Leads to", ("causes",), "out", ("phenotype", "disease")),
    ("Is a complication of", ("complicates",), "out", ("phenotype", "disease")),
    ("Is given or done for", ("treats", "indicates"), "out", ("phenotype", "disease")),
)


def entry(graph: ConceptGraph, node: str, width: int = 100) -> str:
    """A concept with its synonyms, codes, neighbours and numbered sources, as plain text."""
    data = graph.nodes[node]
    codes = ", ".join(_code(system, code) for system, code in sorted(data["identifiers"].items()))
    lines = [
        data["name"].upper(),
        *textwrap.wrap(f"{data['kind']} · {node}{' · ' + codes if codes else ''}", width),
        "",
    ]
    lines += textwrap.wrap(data["definition"], width)
    names = [synonym.lstrip("=") for synonym in data["synonyms"]]
    if names:
        more = f" and {len(names) - SHOWN_SYNONYMS} more" if len(names) > SHOWN_SYNONYMS else ""
        lines += ["", *textwrap.wrap(f"Also written: {', '.join(names[:SHOWN_SYNONYMS])}{more}.", width)]
    numbers: dict[str, int] = {}
    for title, relations, side, kinds in _SECTIONS:
        links = graph.into(node, relations) if side == "in" else graph.out_of(node, relations)
        links = [link for link in links if graph.nodes[link.node]["kind"] in kinds]
        if links:
            lines += ["", title, *_rows(graph, links, numbers, width)]
    if numbers:
        lines += ["", "Sources"]
        for source, number in numbers.items():
            cited = graph.manifest.citations.get(source, source)
            lines += textwrap.wrap(f"[{number}] {cited}", width, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines)


def _code(system: str, code: str) -> str:
    return code if code.startswith(f"{system}:") or (system, code[:3]) == ("HPO", "HP:") else f"{system} {code}"


def _rows(graph: ConceptGraph, links: list[Link], numbers: dict[str, int], width: int) -> list[str]:
    """The statements of each source with their concepts and weights, highest weight first."""
    groups: dict[tuple[str, str], dict[float, list[str]]] = {}
    for link in links:
        node = graph.nodes[link.node]
        name = node["name"]
        if node["kind"] == "finding" and (measure := _measure(node)):
            name = f"{name} ({measure})"
        groups.setdefault((link.source, link.evidence.rstrip(".")), {}).setdefault(link.weight, []).append(name)
    lines: list[str] = []
    for (source, evidence), weights in groups.items():
        number = numbers.setdefault(source, len(numbers) + 1)
        line = f"{evidence[:1].upper()}{evidence[1:]} [{number}]" if evidence else f"[{number}]"
        lines += textwrap.wrap(line, width, initial_indent="  ", subsequent_indent="    ")
        for weight, names in weights.items():
            lines += textwrap.wrap(
                f"{weight:.2f}  {', '.join(names)}", width, initial_indent="    ", subsequent_indent="          "
            )
    return lines


def _measure(data: Mapping[str, Any]) -> str:
    """The bound of a finding, in the unit of its variable; empty for a trend or a variable outside the catalogue."""
    spec = variables().get(data["variable"] or "")
    if spec is None or data["direction"] not in ("high", "low"):
        return ""
    bound, sign = (spec.high, ">") if data["direction"] == "high" else (spec.low, "<")
    return "" if bound is None else f"{spec.label} {sign} {bound:g} {spec.unit}"


@dataclass(frozen=True)
class PhenotypeCoverage:
    """Coverage of one phenotype by the graph."""

    phenotype: str
    findings: int
    symptoms: int
    variables: int
    diseases: int
    drugs: int
    procedures: int

    @property
    def met(self) -> bool:
        """Enough findings and symptoms, over enough variables."""
        return self.findings + self.symptoms >= LEAST_FINDINGS and self.variables >= LEAST_VARIABLES


def coverage(graph: ConceptGraph) -> list[PhenotypeCoverage]:
    """One row per label of the graph."""
    rows = []
    for key in graph.labels:
        kinds = Counter(graph.nodes[node]["kind"] for node in graph.evidence[key])
        measured = {graph.nodes[link.node]["variable"] for link in graph.findings_of(key)}
        rows.append(
            PhenotypeCoverage(
                phenotype=key,
                findings=kinds["finding"],
                symptoms=kinds["symptom"],
                variables=len(measured),
                diseases=kinds["disease"],
                drugs=kinds["drug"],
                procedures=kinds["procedure"],
            )
        )
    return rows


def uncovered_sides(graph: ConceptGraph) -> list[str]:
    """Sides of reference ranges, such as ``albumin high``, for which the graph has no finding."""
    missing = []
    for key, spec in variables().items():
        for direction, bound in (("high", spec.high), ("low", spec.low)):
            if bound is not None and f"finding:{key}:{direction}" not in graph.graph:
                missing.append(f"{key} {direction}")
    return missing


def reasons_for_no_finding() -> dict[str, str]:
    """Sides of reference ranges -> why they have no finding, where the curated core states a reason."""
    rows = curated.findings()
    return {f"{key} {side}": why for key, row in rows.items() for side, why in (row.get("none") or {}).items()}


def tied_variables(graph: ConceptGraph) -> tuple[int, int]:
    """(variables that lead to at least one finding, variables of the catalogue with a reference range)."""
    bounded = [key for key, spec in variables().items() if spec.low is not None or spec.high is not None]
    tied = [
        key for key in bounded if f"variable:{key}" in graph.graph and graph.out_of(f"variable:{key}", ("measures",))
    ]
    return len(tied), len(bounded)


def counts(values: Iterable[str]) -> list[tuple[str, int]]:
    """Values with how often they occur, most frequent first."""
    return sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
