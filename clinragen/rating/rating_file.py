"""Rating files: what a page saves, and what the language model's ratings are written as.

A file is sealed: it ends with a hash of its content and a secret of its rater's page. That detects a file that was
changed after it was saved, by accident or by hand; it does not stop someone who takes the page apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinragen import versions
from clinragen.artifacts import read_json, write_json
from clinragen.errors import UserError
from clinragen.rating.criteria import SCALE
from clinragen.rating.key import PackKey, RaterKey, RaterKind, RatingPack
from clinragen.shape import TEXT, differs, one_of

KIND = "clinragen ratings"
#: Verdicts of a comparison: the rationale that was shown first, the one shown second, or neither.
VERDICTS = ("first", "second", "tie")
MOST_LETTERS = 20_000  # most characters of a comment that are read; the page allows 2,000


@dataclass(frozen=True)
class Rating:
    """The ratings that one rater gave to the rationales of one author for one stay.

    Attributes:
        item: neutral name of the stay.
        scores: by criterion; None where the rater left it open.
    """

    item: str
    author: str
    scores: Mapping[str, int | None]
    comment: str = ""


@dataclass(frozen=True)
class Preference:
    """Which of two authors a language model preferred, in the order in which it saw them.

    Attributes:
        first, second: the authors.
        verdicts: first, second or tie by criterion; None where there is no usable answer.
    """

    item: str
    first: str
    second: str
    verdicts: Mapping[str, str | None]


@dataclass(frozen=True)
class RatingFile:
    """All that one rater said of a pack.

    Attributes:
        rater: its name; for a language model with the model's.
        ratings: those of people and of language models.
        preferences: of a language model, each pair in both orders.
    """

    rater: str
    kind: RaterKind
    ratings: list[Rating]
    preferences: list[Preference] = field(default_factory=list)


def seal(content: Mapping[str, Any], secret: str) -> str:
    """Hex SHA-256 of a rater's secret and the content of a file, as the page computes it."""
    written = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{secret}{written}".encode()).hexdigest()


def write_judged(
    path: Path, key: PackKey, rater: RaterKey, model: str, ratings: Iterable[Rating], preferences: Iterable[Preference]
) -> None:
    """Write what a language model said as a rating file.

    Args:
        path: the file.
        key: of the pack.
        rater: under whose name and letters it is written.
        model: name of the language model.
        ratings: of single rationales.
        preferences: of pairs.
    """
    placings = {placing.item: placing for placing in rater.placings}
    content: dict[str, Any] = {
        "kind": KIND,
        **versions.RATINGS.mark,
        "pack": key.pack,
        "rater": rater.rater,
        "rater_kind": rater.kind,
        "model": model,
        "ratings": [
            {"item": row.item, "letter": placings[row.item].letter(row.author), **row.scores, "comment": row.comment}
            for row in ratings
        ],
        "preferences": [
            {
                "item": row.item,
                "first": placings[row.item].letter(row.first),
                "second": placings[row.item].letter(row.second),
                **row.verdicts,
            }
            for row in preferences
        ],
    }
    content = json.loads(json.dumps(content, sort_keys=True))  # in the order in which it will be read
    write_json(path, {**content, "seal": seal(content, rater.secret)})


def read_all(paths: Sequence[Path], pack: RatingPack) -> list[RatingFile]:
    """The rating files of a pack, in the order of its raters; of a folder, the rating files in it.

    Raises:
        UserError: a file that is none, is of another pack, was changed, or a second one of the same rater.
    """
    files: dict[str, tuple[Path, RatingFile]] = {}
    for path in _listed(paths):
        one = read(path, pack)
        if one.rater in files:
            raise UserError(f"{path}: {one.rater} is also the rater of {files[one.rater][0]}: give one of the two")
        files[one.rater] = path, one
    return [one for _, (_, one) in sorted(files.items(), key=lambda entry: (entry[1][1].kind, entry[0]))]


def _listed(paths: Sequence[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("ratings-*.json"))
            if not inside:
                raise UserError(f"{path} holds no rating file (ratings-*.json): name the files that raters saved")
            yield from inside
        else:
            yield path


def read(path: Path, pack: RatingPack) -> RatingFile:
    """One rating file, checked against its pack.

    Raises:
        UserError: as for :func:`read_all`.
    """
    content = read_json(path, "a file that a rater's page saved")
    if content.get("kind") != KIND:
        raise UserError(f"{path} is no rating file: expected what a rater's page saved")
    versions.RATINGS.check(content, path)
    _check_shape(path, content)
    if content["pack"] != pack.key.pack:
        raise UserError(
            f"{path} holds ratings of pack {content['pack'][:40]!a}, and {pack.root} is pack '{pack.key.pack}'"
        )
    rater = pack.key.rater(content["rater"])
    if rater is None or rater.kind != content["rater_kind"]:
        raise UserError(f"{path}: {pack.root} has no {content['rater_kind']} rater {content['rater'][:40]!a}")
    criteria = list(pack.key.criteria)
    ratings = _ratings(path, content["ratings"], rater, criteria)
    preferences = _preferences(path, content.get("preferences") or [], rater, criteria)
    unsealed = {name: value for name, value in content.items() if name != "seal"}
    if content["seal"] != seal(unsealed, rater.secret):
        raise UserError(f"{path} was changed after it was saved: ask {rater.rater} for the file as the page saved it")
    name = f"{rater.rater} ({content['model'][:100]})" if rater.kind == "llm" else rater.rater
    return RatingFile(name, rater.kind, ratings, preferences)


def _check_shape(path: Path, content: dict[str, Any]) -> None:
    shape: dict[str, Any] = {"pack": TEXT, "rater": TEXT, "seal": TEXT, "rater_kind": one_of("human", "llm")}
    shape["ratings"] = [{}]
    if content.get("rater_kind") == "llm":
        shape |= {"model": TEXT, "preferences": [{}]}
    if mismatch := differs(content, shape):
        raise UserError(f"{path}: {mismatch}: expected what a rater's page saved")


def _ratings(path: Path, rows: list[dict[str, Any]], rater: RaterKey, criteria: Sequence[str]) -> list[Rating]:
    ratings: dict[tuple[str, str], Rating] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path}: rating {number}"
        item, author = _rated(where, row.get("item"), row.get("letter"), rater)
        if (item, author) in ratings:
            raise UserError(f"{where} is the second of rationale {row['letter']} of stay '{item}'")
        scores = {key: _score(where, key, row.get(key)) for key in criteria}
        comment = row.get("comment", "")
        if not isinstance(comment, str) or len(comment) > MOST_LETTERS:
            raise UserError(f"{where}: its comment is no text of at most {MOST_LETTERS:,} characters")
        whole = comment.encode("utf-8", "replace").decode()  # half a pair of surrogates cannot be written
        ratings[item, author] = Rating(item, author, scores, whole)
    return list(ratings.values())


def _preferences(path: Path, rows: list[dict[str, Any]], rater: RaterKey, criteria: Sequence[str]) -> list[Preference]:
    preferences: dict[tuple[str, str, str], Preference] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path}: preference {number}"
        item, first = _rated(where, row.get("item"), row.get("first"), rater)
        _, second = _rated(where, item, row.get("second"), rater)
        if first == second or (item, first, second) in preferences:
            raise UserError(f"{where} compares what was compared before, or one rationale with itself")
        verdicts = {key: row.get(key) for key in criteria}
        if wrong := [key for key, verdict in verdicts.items() if verdict not in (*VERDICTS, None)]:
            raise UserError(f"{where}: {wrong[0]} is none of {', '.join(VERDICTS)}")
        preferences[item, first, second] = Preference(item, first, second, verdicts)
    return list(preferences.values())


def _rated(where: str, item: Any, letter: Any, rater: RaterKey) -> tuple[str, str]:
    """The stay and the author that a row is of."""
    placing = rater.placing(item) if isinstance(item, str) else None
    if placing is None:
        raise UserError(f"{where} is of stay {str(item)[:40]!a}, which the pack does not have")
    author = placing.author(letter) if isinstance(letter, str) else None
    if author is None:
        raise UserError(f"{where} is of rationale {str(letter)[:40]!a}, which stay '{item}' does not have")
    return placing.item, author


def _score(where: str, criterion: str, value: Any) -> int | None:
    if value is not None and (type(value) is not int or value not in SCALE):
        raise UserError(f"{where}: {criterion} is {str(value)[:40]!a}, expected a whole number from 1 to 5, or null")
    return value
