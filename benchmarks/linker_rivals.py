"""Negation and context compared with medspaCy and negspaCy: correct and wrong on the same mentions of test sentences.

    python benchmarks/linker_rivals.py [--python OTHER_PYTHON]

``--python`` is the interpreter of an environment that has spaCy with negspacy or medspacy (the latter needs PyRuSH; its
QuickUMLS, which has no wheel, is not used). Each runs in a process of its own, with its default rules, on the mentions
that our linker finds, so that contexts alone are compared. A mention is right when its context is the gold one. As
negspaCy knows negation alone, a second table counts only whether a mention is negated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests" / "knowledge"
CONTEXTS = {"a": "affirmed", "n": "negated", "f": "family", "h": "historical", "y": "hypothetical"}


def main() -> None:
    """Print both tables, or, as a rival's own process, answer on standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, help="interpreter of an environment with negspacy or medspacy")
    parser.add_argument("--rival", choices=sorted(RIVALS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rival:
        json.dump(RIVALS[args.rival](json.load(sys.stdin)), sys.stdout)
        return
    rows = sentences()
    told = {"clinragen": [row["ours"] for row in rows]}
    for name in RIVALS if args.python else ():
        asked = json.dumps([{"text": row["text"], "spans": row["spans"]} for row in rows])
        command = [str(args.python), __file__, "--rival", name]
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: left out: {done.stderr.strip().splitlines()[-1]}")
        else:
            told[name] = json.loads(done.stdout.splitlines()[-1])
    table("context", rows, {name: answers for name, answers in told.items() if name != "negspacy"}, lambda word: word)
    table("negated or not", rows, told, lambda word: word == "negated")


def sentences() -> list[dict[str, Any]]:
    """The mentions with a gold context of every sentence: text, spans, gold and what our linker says, by set."""
    import yaml

    from clinragen.knowledge.graph import build
    from clinragen.knowledge.linker import Linker

    linker = Linker(build())
    data = yaml.safe_load((TESTS / "context_sentences.yaml").read_text(encoding="utf-8"))
    asked = [
        (row["set"], row["s"], {data["names"][name]: CONTEXTS[letter] for name, letter in row["m"].items()})
        for row in data["sentences"]
    ]
    labelled = yaml.safe_load((TESTS / "linker_sentences.yaml").read_text(encoding="utf-8"))["sentences"]
    asked += [("prose of the linker's sentences", row["s"], row["m"] or {}) for row in labelled]
    rows = []
    for group, text, gold in asked:
        found = [mention for mention in linker.link(text) if mention.concept in gold]
        rows.append(
            {
                "set": group,
                "text": text,
                "spans": [(mention.start, mention.end) for mention in found],
                "gold": [gold[mention.concept] for mention in found],
                "ours": [mention.context for mention in found],
            }
        )
    return rows


def table(title: str, rows: list[dict[str, Any]], told: dict[str, list[list[str]]], same: Any) -> None:
    """Right and wrong of each system by set."""
    counts: dict[str, dict[str, list[int]]] = defaultdict(lambda: {name: [0, 0] for name in told})
    for index, row in enumerate(rows):
        for name, answers in told.items():
            for gold, answer in zip(row["gold"], answers[index], strict=True):
                for group in (row["set"], "all"):
                    counts[group][name][same(gold) != same(answer)] += 1
    print(f"\n{title:<34}" + "".join(f"{name + ' right, wrong':>26}" for name in told))
    for group in [*(group for group in counts if group != "all"), "all"]:
        print(f"{group:<34}" + "".join(f"{right:>19}, {wrong:>5}" for right, wrong in counts[group].values()))


def _spans(doc: Any, spans: list[list[int]]) -> list[Any]:
    return [doc.char_span(start, end, label="C", alignment_mode="expand") for start, end in spans]


def negspacy(rows: list[dict[str, Any]]) -> list[list[str]]:
    """negspaCy with its clinical term set; sentences by spaCy's rule-based sentencizer."""
    import spacy  # pyright: ignore[reportMissingImports]  # installed for this benchmark only
    from negspacy.negation import Negex  # noqa: F401  # pyright: ignore[reportMissingImports]  # registers the factory
    from negspacy.termsets import termset  # pyright: ignore[reportMissingImports]

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    negex = nlp.create_pipe("negex", config={"neg_termset": termset("en_clinical").get_patterns()})
    told = []
    for row in rows:
        doc = nlp(row["text"])
        negations = []
        for span in _spans(doc, row["spans"]):  # one at a time: spans may share a token ("n/v")
            doc.ents = [span]
            doc = negex(doc)
            negations.append("negated" if doc.ents[0]._.negex else "affirmed")
        told.append(negations)
    return told


def medspacy(rows: list[dict[str, Any]]) -> list[list[str]]:
    """medspaCy: its tokenizer, PyRuSH sentences and ConText with the default rules."""
    import types

    sys.modules.setdefault("quickumls", types.ModuleType("quickumls")).spacy_component = None  # type: ignore[attr-defined]
    import medspacy as package  # pyright: ignore[reportMissingImports]

    nlp = package.load(medspacy_enable=["medspacy_pyrush", "medspacy_context"])
    context, told = nlp.get_pipe("medspacy_context"), []
    for row in rows:
        doc = nlp(row["text"])
        said = []
        for span in _spans(doc, row["spans"]):
            doc.ents = [span]
            doc = context(doc)
            marks = doc.ents[0]._
            said.append(
                "negated"
                if marks.is_negated
                else "family"
                if marks.is_family
                else "hypothetical"
                if marks.is_hypothetical
                else "historical"
                if marks.is_historical
                else "affirmed"
            )
        told.append(said)
    return told


RIVALS = {"negspacy": negspacy, "medspacy": medspacy}

if __name__ == "__main__":
    main()
