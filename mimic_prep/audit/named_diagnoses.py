"""Diagnoses that the text gives away: how much more often a label is named where it is true than where it is not.

A note from before the prediction time may name a diagnosis, but then the task is reading, not diagnosing. Affirmed
current mentions count; history, family, negation and hypothesis are counted and shown separately. A chronic disease in
the history of the present illness ("a lady with COPD, who ...") was known before: it is shown, but is no leak. One that
may be either counts as history if it stands there before the reason for coming ("a man with cirrhosis presenting ...").
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Literal, TypedDict, cast

import polars as pl

from clinragen.icd import code_map
from clinragen.knowledge import graph
from clinragen.knowledge.concepts import Contribution, Node
from clinragen.knowledge.linker import Linker, Mention, tokens
from clinragen.knowledge.relabel import relabel
from clinragen.knowledge.sources import curated
from clinragen.label_sets import LabelSet
from mimic_prep.audit.check import Check, Field, plural
from mimic_prep.audit.cohort_tables import CohortTables
from mimic_prep.labels import codes_of

#: A section gives away a label if it names it in this share of the positive stays, this many times as often as in the
#: others, with this precision, and in at least this many stays.
MIN_SHARE, MIN_RATIO, MIN_PRECISION, MIN_STAYS = 0.10, 5.0, 0.5, 5

_HISTORY = ("past_medical_history", "admission_digest")  # earlier admissions
_OPENS_WITH_HISTORY = "history_of_present_illness"
_COMES = re.compile(r"\b(?:who|present|admitted|brought|came|comes|transferred|referred|sent)", re.IGNORECASE)
_ICD_CODE = re.compile(r"\b(?:[A-TV-Z]\d[0-9A-Z]\.[0-9A-Z]{1,4}|\d{3}\.\d{1,2})\b")
#: A bare 250.00 may be a dose; ICD-9 codes count only beside a word that identifies them.
_ICD_WORD = re.compile(r"\bICD(?:-?(?:9|10))?(?:-?CM)?\b", re.IGNORECASE)


class SectionCounts(TypedDict):
    """Of one section and label: stays with the section that carry or lack the label, and those it is named in."""

    section: str
    phenotype: str  # key
    stays_with: int
    stays_without: int
    affirmed_with: int
    affirmed_without: int
    icd_with: int
    icd_without: int
    negated_with: int
    negated_without: int
    historical_with: int
    historical_without: int


Verdict = Literal["", "hands over", "allowed", "known before"]
#: How often a section names a label where it is true and where it is not. Shares are None where no stay could have it.
Named = TypedDict(
    "Named",
    {
        "section": str, "phenotype": str, "stays_with": int, "stays_without": int, "with": float | None,
        "without": float | None, "precision": float | None, "affirmed_stays": int, "icd_stays": int,
        "negated_with": float | None, "negated_without": float | None, "historical_with": float | None,
        "historical_without": float | None, "verdict": Verdict, "flagged": bool,
    },
)  # fmt: skip


class NameFinder:
    """Finds the names of labels, and official ICD titles of codes that give a label, with their contexts."""

    def __init__(self, labels: LabelSet) -> None:
        core = curated.contribute()
        codes = _codes(labels)
        built = relabel(graph.build([core, _titles(codes, labels)]), labels)
        self._linker = Linker(built, ("phenotype", "disease"))
        self._labels: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for key in labels:
            node = f"phenotype:{key}"
            self._labels[node].append((key, "name"))
            self._labels[f"disease:icd_{key}"].append((key, "icd"))
            for link in built.into(node, ("is_a",)):
                self._labels[link.node].append((key, "name"))
        self._codes = codes
        self._mixed = {key for key, label in labels.items() if label.kind == "mixed"}

    def __call__(self, text: str, section: str) -> set[tuple[str, str, str]]:
        """(phenotype key, "name" or "icd", context) of all mentions in a section."""
        comes = _COMES.search(text) if section == _OPENS_WITH_HISTORY else None
        background = comes.start() if comes else 0

        def context(key: str, mention: Mention) -> str:
            before = section in _HISTORY or (mention.start < background and key in self._mixed)
            return "historical" if before and mention.context == "affirmed" else mention.context

        mentions = {
            (key, form, context(key, mention))
            for mention in self._linker.link(text, section)
            for key, form in self._labels.get(mention.concept, ())
        }
        if _ICD_WORD.search(text):
            for match in _ICD_CODE.finditer(text):
                mentions |= {(key, "icd", "affirmed") for key in self._codes.get(match.group().replace(".", ""), ())}
        return mentions


def _codes(labels: LabelSet) -> dict[str, list[str]]:
    """ICD code of either version -> keys of its labels."""
    codes: dict[str, list[str]] = defaultdict(list)
    for key, label in labels.items():
        for _, code in codes_of(label):
            codes[code].append(key)
    return codes


def _titles(codes: dict[str, list[str]], labels: LabelSet) -> Contribution:
    """One node for each label whose synonyms are the official titles of its codes, of at least two words."""
    titles: dict[str, set[str]] = defaultdict(set)
    maps = [mapping for version in (9, 10) if (mapping := code_map(version))]
    for code, keys in codes.items():
        for mapping in maps:
            title = mapping.name(code)
            if title and len(tokens(title)) > 1:
                for key in keys:
                    titles[key].add(title)
    nodes = [
        Node(f"disease:icd_{key}", "disease", f"ICD title of {labels[key].name}", tuple(sorted(synonyms)))
        for key, synonyms in sorted(titles.items())
    ]
    return Contribution("icd titles", "CCS 2015, 2019.1", "public domain", nodes, edges=[], citations={}, files={})


def named(tables: CohortTables, allow: Collection[str]) -> Check:
    """For each label and section: how often it is named where it is true, and where it is not."""
    if tables.labels is None:
        says = "The cohort has no labels: nothing can be handed over."
        return Check("named", "Text does not name the diagnosis", "Names of labels in text.", "note", says)
    mentions = _mentions(tables)
    carried = tables.labels.unpivot(index="stay_id", variable_name="phenotype", value_name="carries")
    read = tables.notes.drop_nulls(["section", "text"]).select("stay_id", "section").unique()
    base = (
        read.join(carried, on="stay_id")
        .group_by("section", "phenotype")
        .agg(pl.col("carries").sum().alias("stays_with"), (~pl.col("carries")).sum().alias("stays_without"))
    )
    kinds = ("affirmed", "icd", "negated", "historical")
    counts = mentions.join(carried, on=["stay_id", "phenotype"]).group_by("section", "phenotype").agg(
        *(
            (pl.col(kind) & (pl.col("carries") == truth)).sum().alias(f"{kind}_{side}")
            for kind in kinds
            for side, truth in (("with", True), ("without", False))
        )
    )  # fmt: skip
    joined = counts.join(base, on=["section", "phenotype"]).sort("section", "phenotype")
    rows = sorted((_row(row, allow, tables.cohort.label_set) for row in _rows(joined)), key=_order)
    leaks = [row for row in rows if row["verdict"] == "hands over"]
    accepted = [row for row in rows if row["verdict"] == "allowed"]
    chronic = [row for row in rows if row["verdict"] == "known before"]
    says = "No section names a label so often, and so rightly, that reading would do for diagnosing."
    if leaks:
        worst = leaks[0]
        sections = ", ".join(sorted({row["section"] for row in leaks}))
        lack = "no stay lacks it" if worst["without"] is None else f"{worst['without']:.1%} of the others"
        joint = "; " if worst["without"] is None else " and "
        says = (
            f"The text of {sections} hands over {plural(len(leaks), 'label')}. Worst: {worst['phenotype']}, named in "
            f"{worst['with']:.0%} of the stays that carry it{joint}{lack}. Prepare without "
            "it (notes.sections and notes.kinds of the protocol), or pass --allow SECTION if the task is meant so."
        )
    elif accepted:
        says = f"Only sections that --allow names hand over a label ({plural(len(accepted), 'label')})."
    elif chronic:
        says = f"The history names chronic diseases only ({plural(len(chronic), 'label')}), known before the stay."
    columns = (
        Field("section", "Section"), Field("phenotype", "Label"), Field("verdict", "Verdict"),
        Field("with", "named, label true", "share"), Field("without", "named, label false", "share"),
        Field("precision", "right where named", "share"), Field("affirmed_stays", "stays naming it", "count"),
        Field("icd_stays", "by ICD text", "count"),
        Field("negated_with", "negated, true", "percent"), Field("negated_without", "negated, false", "percent"),
        Field("historical_with", "history, true", "percent"),
        Field("historical_without", "history, false", "percent"),
    )  # fmt: skip
    asks = (
        "Names of labels, their synonyms, ICD titles and codes in the text of stays that carry the label, against "
        f"those that lack it. Handed over: affirmed in at least {MIN_SHARE:.0%} of the carriers, {MIN_RATIO:g} times "
        f"as often as in the others, and right in at least {MIN_PRECISION:.0%} of the stays where it is named."
    )
    status = "leak" if leaks else "note" if accepted or chronic else "pass"
    return Check("named", "Text does not name the diagnosis", asks, status, says, columns, rows)


def _mentions(tables: CohortTables) -> pl.DataFrame:
    """stay_id, section, phenotype, and whether the section affirms, negates or recalls it, and by ICD text."""
    finder = NameFinder(tables.cohort.label_set)
    stays_read: dict[tuple[str, str], set[tuple[str, str, str]]] = {}
    rows: list[tuple[int, str, str, bool, bool, bool, bool]] = []
    sections = tables.notes.select("stay_id", "section", "text").drop_nulls()
    for stay, section, text in sections.sort("text", "section", "stay_id").iter_rows():
        if (section, text) not in stays_read:
            stays_read = {(section, text): finder(text, section)}  # sorted, so that equal texts are adjacent
        for key, form, context in stays_read[section, text]:
            stated = context == "affirmed"
            rows.append(
                (stay, section, key, stated, stated and form == "icd", context == "negated", context == "historical")
            )
    names = ["stay_id", "section", "phenotype", "affirmed", "icd", "negated", "historical"]
    types = [pl.Int64, pl.String, pl.String, *([pl.Boolean] * 4)]
    table = pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")
    return table.group_by(names[:3]).agg(pl.col(names[3:]).any())


def _rows(counts: pl.DataFrame) -> Iterable[SectionCounts]:
    return cast(Iterable[SectionCounts], counts.iter_rows(named=True))


def _row(row: SectionCounts, allow: Collection[str], labels: LabelSet) -> Named:
    carriers, others = row["stays_with"], row["stays_without"]
    true, false = row["affirmed_with"], row["affirmed_without"]

    def share(count: int, of: int) -> float | None:
        return count / of if of else None

    with_, without, precision = share(true, carriers), share(false, others), share(true, true + false)
    handed = (
        true >= MIN_STAYS
        and (with_ or 0) >= max(MIN_SHARE, MIN_RATIO * (without or 0))
        and (precision or 0) >= MIN_PRECISION
    )
    known_before = row["section"] == _OPENS_WITH_HISTORY and labels[row["phenotype"]].kind == "chronic"
    verdict: Verdict = "known before" if known_before else "allowed" if row["section"] in allow else "hands over"
    return {
        "section": row["section"], "phenotype": labels[row["phenotype"]].name, "stays_with": carriers,
        "stays_without": others, "with": with_, "without": without, "precision": precision,
        "affirmed_stays": true + false, "icd_stays": row["icd_with"] + row["icd_without"],
        "negated_with": share(row["negated_with"], carriers), "negated_without": share(row["negated_without"], others),
        "historical_with": share(row["historical_with"], carriers),
        "historical_without": share(row["historical_without"], others),
        "verdict": verdict if handed else "", "flagged": handed,
    }  # fmt: skip


def _order(row: Named) -> tuple[bool, float, str, str]:
    return (not row["flagged"], -(row["with"] or 0), row["section"], row["phenotype"])
