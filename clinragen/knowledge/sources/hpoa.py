"""HPO disease annotations: signs that occur in diseases together with a phenotype more often than by chance.

The annotations are of rare diseases, so an edge says "occurs with" and has a low weight. The test is hypergeometric
over diseases, each with its terms and their ancestors, corrected for the number of tested pairs.
"""

from __future__ import annotations

from math import log
from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import CONDITIONS, SIGNS, ConceptIndex, Contribution, Edge
from clinragen.knowledge.sources.files import Term, ancestors, obo, rows
from clinragen.knowledge.sources.source import Source

FILES = ("hp.obo", "phenotype.hpoa")
LICENCE = "HPO licence: free use with attribution and version, content unaltered (https://hpo.jax.org/app/license)"
CITE = (
    "Gargano MA et al. The Human Phenotype Ontology in 2024. Nucleic Acids Res 2024;52:D1333-D1346; "
    "enrichment computed by clinragen (hypergeometric test, Bonferroni)"
)
_LEAST_TOGETHER, _LEAST_LIFT, _ALPHA = 15, 8.0, 1e-3
_MOST_WEIGHT = 0.4


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """Edges sign -> phenotype (``associated_with``), weighted by normalised pointwise mutual information."""
    from scipy.stats import hypergeom

    version, terms = obo(files["hp.obo"])
    signs = {key: nodes for key in terms if (nodes := index.coded("HPO", key, *SIGNS))}
    targets = {key: nodes for key in terms if (nodes := index.coded("HPO", key, *CONDITIONS))}
    carriers, diseases = _carriers(files["phenotype.hpoa"], terms, {*signs, *targets})
    pairs = [
        (sign, target)
        for target in sorted(targets)
        for sign in sorted(signs)
        if sign not in ancestors(target, terms) and target not in ancestors(sign, terms)
    ]
    edges: list[Edge] = []
    for sign, target in pairs:
        have_sign, have_target = carriers.get(sign, set()), carriers.get(target, set())
        both = len(have_sign & have_target)
        if both < _LEAST_TOGETHER:
            continue
        expected = len(have_sign) * len(have_target) / diseases
        chance = float(hypergeom.sf(both - 1, diseases, len(have_target), len(have_sign)))
        if both < _LEAST_LIFT * expected or chance * len(pairs) > _ALPHA:
            continue
        weight = _MOST_WEIGHT * log(both / expected) / -log(both / diseases)
        evidence = (
            f"annotated together in {both} of {diseases} diseases, {expected:.1f} expected by chance "
            f"(corrected p < {_ALPHA:g})"
        )
        edges += [
            Edge(head, tail, "associated_with", weight, "hpoa", evidence, "hpoa")
            for head in signs[sign]
            for tail in targets[target]
        ]
    hashes = {path.name: sha256_file(path) for path in files.values()}
    return Contribution("hpoa", version, LICENCE, [], edges, {"hpoa": CITE}, hashes)


def _carriers(path: Path, terms: dict[str, Term], targets: set[str]) -> tuple[dict[str, set[str]], int]:
    """(wanted term -> diseases annotated with it or a kind of it, number of diseases)."""
    above: dict[str, set[str]] = {}
    carriers: dict[str, set[str]] = {}
    diseases: set[str] = set()
    for row in rows(path, "\t", ("database_id", "qualifier", "hpo_id", "aspect"), comment="#"):
        if row["aspect"] != "P" or row["qualifier"] == "NOT":
            continue
        diseases.add(row["database_id"])
        if row["hpo_id"] not in above:
            above[row["hpo_id"]] = ancestors(row["hpo_id"], terms) & targets
        for term in above[row["hpo_id"]]:
            carriers.setdefault(term, set()).add(row["database_id"])
    if not diseases:
        raise ValueError(f"{path.name} annotates no disease")
    return carriers, len(diseases)


SOURCE = Source(
    name="hpoa",
    files=FILES,
    licence=LICENCE,
    version="as the file says",
    adds="signs that rare diseases carry together with a phenotype (a statistic)",
    get="https://hpo.jax.org/data/annotations (phenotype.hpoa) and hp.obo",
    read=contribute,
)
