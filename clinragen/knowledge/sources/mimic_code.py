"""MIMIC Code Repository: RxNorm codes of infusion drugs, through its map of item ids."""

from __future__ import annotations

from pathlib import Path

from clinragen.artifacts import sha256_file
from clinragen.knowledge.concepts import ConceptIndex, Contribution
from clinragen.knowledge.sources.files import rows
from clinragen.knowledge.sources.source import Source

FILES = ("inputevents_to_rxnorm.csv",)
LICENCE = "MIT; contains RxNorm codes (US National Library of Medicine, free)"
CITE = "Johnson AEW et al. The MIMIC Code Repository. J Am Med Inform Assoc 2018;25:32-39"
_FORMS = ("Clinical Drug Form", "Ingredient")


def contribute(files: dict[str, Path], index: ConceptIndex) -> Contribution:
    """The RxNorm dose form of a drug of the core; the first by code if the map has several."""
    (path,) = files.values()
    codes: dict[str, str] = {}
    for row in rows(
        path, ",", ("omop_concept_name", "omop_vocabulary_id", "omop_concept_class_id", "omop_concept_code")
    ):
        if row["omop_vocabulary_id"] != "RxNorm" or row["omop_concept_class_id"] not in _FORMS:
            continue
        words = row["omop_concept_name"].split()
        names = [" ".join(words[:length]) for length in range(len(words), 0, -1)]
        drug = next((node for name in names if (node := index.called(name, "drug"))), None)
        code = row["omop_concept_code"]
        if drug is not None and " / " not in row["omop_concept_name"]:
            codes[drug] = min(codes.get(drug, code), code, key=lambda code: (len(code), code))
    identifiers = {drug: {"RxNorm": code} for drug, code in codes.items()}
    return Contribution(
        "mimic_code", "repository", LICENCE, [], [], {"mimic_code": CITE}, {path.name: sha256_file(path)},
        identifiers=identifiers,
    )  # fmt: skip


SOURCE = Source(
    name="mimic_code",
    files=FILES,
    licence=LICENCE,
    version="repository",
    adds="RxNorm codes of drugs given as infusions",
    get="https://github.com/MIT-LCP/mimic-code (mapping inputevents_to_rxnorm.csv)",
    read=contribute,
)
