"""A user's own edges: a CSV whose ends are names, synonyms or ids of the graph."""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import RELATIONS, ConceptIndex, Contribution, Edge
from clinragen.knowledge.sources.files import rows
from clinragen.knowledge.sources.source import Source

FILES = ("edges.csv",)
LICENCE = "as the user's"
COLUMNS = ("head", "relation", "tail", "weight", "source", "evidence")


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """One edge per row; ``source`` is a full citation.

    Raises:
        ValueError: an end or relation that the graph does not know, or a weight outside (0, 1], with the line.
    """
    (path,) = files.values()
    edges: list[Edge] = []
    citations: dict[str, str] = {}
    for line, row in enumerate(rows(path, ",", COLUMNS), start=2):
        ends = []
        for end in (row["head"], row["tail"]):
            node = end if end in index.kinds else index.called(end)
            if node is None:
                raise ValueError(f"{path.name} line {line}: no concept is called '{end}'")
            ends.append(node)
        if row["relation"] not in RELATIONS:
            raise ValueError(f"{path.name} line {line}: relation '{row['relation']}' is none of {', '.join(RELATIONS)}")
        try:
            weight = float(row["weight"])
        except ValueError:
            raise ValueError(f"{path.name} line {line}: weight '{row['weight']}' is no number") from None
        if not 0 < weight <= 1:
            raise ValueError(f"{path.name} line {line}: weight {weight} is not in (0, 1]")
        citations[row["source"]] = row["source"]
        edges.append(Edge(ends[0], ends[1], row["relation"], weight, row["source"], row["evidence"], "edges"))
    return Contribution("edges", "user", LICENCE, [], edges, citations, {path.name: sha256_file(path)})


SOURCE = Source(
    name="edges",
    files=FILES,
    licence=LICENCE,
    version="yours",
    adds="your own edges",
    get="a CSV with head, relation, tail, weight, source, evidence",
    read=contribute,
    final=True,  # the user's edges are kept
)
