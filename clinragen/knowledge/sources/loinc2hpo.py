"""LOINC2HPO: which HPO term a high or low result of a laboratory test stands for, for the tests of the catalogue."""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import SIGNS, ConceptIndex, Contribution, Edge
from clinragen.knowledge.sources.files import rows
from clinragen.knowledge.sources.source import Source

FILES = ("loinc2hpo-annotations.tsv",)
LICENCE = "LOINC2HPO licence: free use with attribution; contains LOINC codes (https://loinc.org/license)"
CITE = "Zhang XA et al. Semantic integration of clinical laboratory tests from health records. npj Digit Med 2019;2:32"
_SIDES = {"H": "high", "L": "low"}


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Edges variable -> finding or sign (``measures``); findings without an HPO identifier gain one."""
    (path,) = files.values()
    edges: list[Edge] = []
    identifiers: dict[str, dict[str, str]] = {}
    for row in rows(path, "\t", ("loincId", "outcome", "hpoTermId")):
        side = _SIDES.get(row["outcome"])
        if side is None:
            continue
        for variable in index.coded("LOINC", row["loincId"], "variable"):
            finding = f"finding:{variable.partition(':')[2]}:{side}"
            if finding in index.kinds:
                identifiers[finding] = {"HPO": row["hpoTermId"]}
            evidence = f"a {side} result of LOINC {row['loincId']} is {row['hpoTermId']}"
            for sign in index.coded("HPO", row["hpoTermId"], *SIGNS):
                edges.append(Edge(variable, sign, "measures", 1.0, "loinc2hpo", evidence, "loinc2hpo"))
    hashes = {path.name: sha256_file(path)}
    return Contribution("loinc2hpo", "1.7", LICENCE, [], edges, {"loinc2hpo": CITE}, hashes, identifiers=identifiers)


SOURCE = Source(
    name="loinc2hpo",
    files=FILES,
    licence=LICENCE,
    version="1.7",
    adds="which HPO term a high or low laboratory result stands for",
    get="https://github.com/TheJacksonLaboratory/loinc2hpoAnnotation",
    read=contribute,
)
