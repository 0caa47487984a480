"""The textbook statements of textbook_statements.txt, and the nodes that they name."""

from pathlib import Path

from clinragen.catalog import variables
from clinragen.knowledge.concepts import DIRECTIONS, finding_id
from clinragen.knowledge.graph import ConceptGraph

STATEMENTS = Path(__file__).parent / "textbook_statements.txt"
LABELS = {spec.label.replace(",", ""): key for key, spec in variables().items()}


def textbook(part: str) -> list[tuple[str, str]]:
    """(head, tail) of the statements under TRUE or FALSE."""
    lines = [line for line in STATEMENTS.read_text().splitlines() if line and not line.startswith("#")]
    split = lines.index("FALSE")
    chosen = lines[1:split] if part == "TRUE" else lines[split + 1 :]
    return [tuple(line.split(" -> ")) for line in chosen]  # type: ignore[misc]


def named(graph: ConceptGraph, name: str) -> str:
    label, _, direction = name.rpartition(" ")
    if direction in DIRECTIONS and label in LABELS:
        return finding_id(LABELS[label], direction)
    return graph.find(name)
