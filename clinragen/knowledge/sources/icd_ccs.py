"""ICD-9-CM and ICD-10-CM codes below the phenotypes, by AHRQ's single-level CCS: needs no download."""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_json
from clinragen.icd import code_map
from clinragen.knowledge.concepts import CONDITIONS, ConceptIndex, Contribution, Edge, Node
from clinragen.knowledge.sources.source import Source

FILES = ()
LICENCE = "public domain (US government works): AHRQ CCS, ICD-9-CM, ICD-10-CM"
RELEASES = "CCS 2015 for ICD-9-CM, CCS 2019.1 for ICD-10-CM"
CITE = "AHRQ HCUP Clinical Classifications Software (single level) for ICD-9-CM (2015) and ICD-10-CM (2019.1)"


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """One disease per code of the categories of the phenotypes, with ``is_a``; names of the core are not reused."""
    nodes: dict[str, Node] = {}  # by name: the two releases often share one
    edges: list[Edge] = []
    hashes: dict[str, str] = {}
    for release in (9, 10):
        codes = code_map(release)
        assert codes is not None  # both versions are shipped
        hashes[f"ICD-{release}-CM to CCS"] = sha256_json(codes.items())
        for code, category in codes.items():
            phenotypes = index.coded("CCS", str(category), "phenotype")
            name = (codes.name(code) or "").strip()
            if not phenotypes or not name:
                continue
            dotted = f"{code[:3]}.{code[3:]}" if len(code) > 3 else code
            evidence = f"ICD-{release}-CM {dotted} is in CCS category {category}"
            same = index.coded(f"ICD{release}", dotted, *CONDITIONS)
            if not same and name.casefold() not in index.names:
                fresh = Node(f"disease:icd{release}_{code.lower()}", "disease", name, (), f"{evidence}.", {})
                node = nodes.setdefault(name.casefold(), fresh)
                node.identifiers.setdefault(f"ICD{release}", dotted)
                same = (node.id,)
            edges += [
                Edge(node, phenotype, "is_a", 1.0, "icd_ccs", evidence, "icd_ccs")
                for node in same
                for phenotype in phenotypes
                if node != phenotype
            ]
    return Contribution("icd_ccs", RELEASES, LICENCE, list(nodes.values()), edges, {"icd_ccs": CITE}, hashes)


SOURCE = Source(
    name="icd_ccs",
    files=FILES,
    licence=LICENCE,
    version="ICD-9-CM 2015, ICD-10-CM 2019.1",
    adds="every ICD code of the 25 phenotypes, by AHRQ's CCS",
    get="nothing to download: the table comes with clinragen",
    read=contribute,
)
