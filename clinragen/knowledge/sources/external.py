"""Knowledge sources beside the curated core: what each is, its licence, where to get it, and how it is read.

They add synonyms, codes, narrower concepts, and edges between concepts of the core. None that is downloaded is shipped.
An edge that says the opposite of what the core says (a finding's other side for the same condition) is left out.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.concepts import Contribution, Known
from clinragen.knowledge.sources import (
    cohort,
    disease_ontology,
    edges_csv,
    hetionet,
    hpo,
    hpoa,
    icd_ccs,
    loinc2hpo,
    mimic_code,
    pharmacotherapydb,
    primekg,
    rotmensch,
    symptom_ontology,
    umls,
    wikidata,
)


@dataclass(frozen=True)
class Source:
    """One source. ``files`` are the names looked for in the user's folder, plain or with ``.gz``.

    ``instead`` are the files to look for where the first of ``files`` is absent. Without files, no folder is needed.
    """

    files: tuple[str, ...]
    licence: str
    version: str
    adds: str
    get: str
    read: Callable[[dict[str, Path], Known], Contribution]
    instead: tuple[str, ...] = ()


SOURCES = {
    "icd_ccs": Source(
        icd_ccs.FILES, icd_ccs.LICENCE, "ICD-9-CM 2015, ICD-10-CM 2019.1",
        "every ICD code of the 25 phenotypes, by AHRQ's CCS",
        "nothing to download: the table comes with clinragen", icd_ccs.contribute,
    ),
    "hpo": Source(
        hpo.FILES, hpo.LICENCE, "as the file says (data-version)", "lay and other synonyms of symptoms and findings",
        "https://hpo.jax.org/data/ontology (hp.obo)", hpo.contribute,
    ),
    "hpoa": Source(
        hpoa.FILES, hpoa.LICENCE, "as the file says",
        "signs that rare diseases carry together with a phenotype (a statistic)",
        "https://hpo.jax.org/data/annotations (phenotype.hpoa) and hp.obo", hpoa.contribute,
    ),
    "loinc2hpo": Source(
        loinc2hpo.FILES, loinc2hpo.LICENCE, "1.7", "which HPO term a high or low laboratory result stands for",
        "https://github.com/TheJacksonLaboratory/loinc2hpoAnnotation", loinc2hpo.contribute,
    ),
    "disease_ontology": Source(
        disease_ontology.FILES, disease_ontology.LICENCE, "as the file says",
        "codes of diseases, synonyms, and narrower diseases",
        "https://github.com/DiseaseOntology/HumanDiseaseOntology (doid.obo)", disease_ontology.contribute,
        disease_ontology.TABLES,
    ),
    "symptom_ontology": Source(
        symptom_ontology.FILES, symptom_ontology.LICENCE, "as the file says", "further synonyms of symptoms",
        "https://github.com/DiseaseOntology/SymptomOntology (symp.obo)", symptom_ontology.contribute,
    ),
    "hetionet": Source(
        hetionet.FILES, hetionet.LICENCE, "1.0", "symptom and drug edges of diseases",
        "https://github.com/hetio/hetionet (edges with the names of their ends, TSV)", hetionet.contribute,
    ),
    "rotmensch": Source(
        rotmensch.FILES, rotmensch.LICENCE, "2017", "weighted symptom edges learned from emergency records",
        "https://github.com/clinicalml/HealthKnowledgeGraph", rotmensch.contribute,
    ),
    "pharmacotherapydb": Source(
        pharmacotherapydb.FILES, pharmacotherapydb.LICENCE, "1.0", "drugs of diseases, curated by physicians",
        "https://github.com/dhimmel/indications (catalog/indications.tsv)", pharmacotherapydb.contribute,
    ),
    "wikidata": Source(
        wikidata.FILES, wikidata.LICENCE, "as extracted", "symptoms, causes and drugs of diseases, entered by anybody",
        "https://query.wikidata.org (one JSON object per line: disease or medicine)", wikidata.contribute,
    ),
    "primekg": Source(
        primekg.FILES, primekg.LICENCE, "2.1", "phenotypes and drugs of diseases from twenty resources",
        "https://doi.org/10.7910/DVN/IXA7BM (kg.csv)", primekg.contribute,
    ),
    "umls": Source(
        umls.FILES, umls.LICENCE, "as released", "names, SNOMED CT and RxNorm codes, and relations",
        "https://www.nlm.nih.gov/research/umls (Metathesaurus, Rich Release Format, folder META)", umls.contribute,
    ),
    "mimic_code": Source(
        mimic_code.FILES, mimic_code.LICENCE, "repository", "RxNorm codes of drugs given as infusions",
        "https://github.com/MIT-LCP/mimic-code (mapping inputevents_to_rxnorm.csv)", mimic_code.contribute,
    ),
    "cohort": Source(
        cohort.FILES, cohort.LICENCE, "the cohort's", "findings over-represented with a phenotype in training stays",
        "a cohort folder of mimic-prep; its training split alone is read", cohort.contribute,
    ),
    "edges": Source(
        edges_csv.FILES, edges_csv.LICENCE, "yours", "your own edges",
        "a CSV with head, relation, tail, weight, source, evidence", edges_csv.contribute,
    ),
}  # fmt: skip


def contribute(name: str, folder: Path | None, known: Known) -> Contribution:
    """Read one source from a folder that the user names, or from its file where it has but one.

    Raises:
        UserError: unknown source, a file missing or malformed.
    """
    if name not in SOURCES:
        raise unknown_choice("knowledge source", name, SOURCES)
    source = SOURCES[name]
    if folder is None and source.files:
        raise UserError(
            f"--source {name}: expected {name}=FOLDER with {', '.join(source.files)}; get it from {source.get}"
        )
    found = _files(name, source, folder) if folder is not None else {}
    try:
        part = source.read(found, known)
    except (OSError, EOFError, ValueError, csv.Error, zlib.error, pl.exceptions.PolarsError) as error:
        # what the file's content can cause; a KeyError would be a fault of ours, and must not pass for one of the file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"knowledge source {name} in {folder} cannot be read ({reason}); get it from {source.get}"
        ) from None
    if name == "edges":
        return part  # the user's word stands
    return replace(part, edges=[edge for edge in part.edges if not known.contradicts(edge)])


def _files(name: str, source: Source, folder: Path) -> dict[str, Path]:
    if folder.is_file() and len(source.files) == 1:
        return {source.files[0]: folder}
    absent = source.instead and not _candidates(folder, source.files[0])
    wanted = source.instead if absent and all(_candidates(folder, file) for file in source.instead) else source.files
    return {file: _locate(folder, file, name, source.get) for file in wanted}


def _candidates(folder: Path, file: str) -> list[Path]:
    return [path for path in (folder / file, folder / f"{file}.gz") if path.is_file()]


def _locate(folder: Path, file: str, name: str, get: str) -> Path:
    for candidate in _candidates(folder, file):
        return candidate
    raise UserError(f"{folder / file} not found (nor {file}.gz): knowledge source {name} comes from {get}")
