"""Schemas for JSON values, as a value of the same form or a type, and a readable description of the first mismatch.

>>> differs({"stay_id": 7, "scores": [0.5, "high"]}, {"stay_id": WHOLE, "scores": [NUMBER]})
'scores[1]: expected a number, found a text'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

#: Larger integers fit into no column; longer texts are no name, path or hash.
_LARGEST, _LONGEST = 2**63, 10_000
_KINDS = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}


@dataclass(frozen=True)
class Plain:
    """A value that is no container; ``name`` describes it in an error."""

    name: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Maybe:
    """A value of this shape, or null; as an entry of a mapping it may be missing."""

    shape: Any


@dataclass(frozen=True)
class Nullable:
    """Of this shape, or null; an entry of a mapping must be there."""

    shape: Any


@dataclass(frozen=True)
class Each:
    """A mapping with arbitrary keys to values of one shape."""

    shape: Any


def _number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < _LARGEST)


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and not any("\ud800" <= c <= "\udfff" for c in value)


NUMBER = Plain("a number", _number)
WHOLE = Plain("a whole number", lambda value: type(value) is int and abs(value) < _LARGEST)
COUNT = Plain("a count", lambda value: type(value) is int and 0 <= value < _LARGEST)
SHARE = Plain("a number from 0 to 1", lambda value: _number(value) and 0 <= value <= 1)
TEXT = Plain("a text", _text)
TRUTH = Plain("true or false", lambda value: isinstance(value, bool))
ANYTHING = Plain("anything", lambda value: True)
_PLAIN: dict[Any, Plain] = {str: TEXT, int: WHOLE, float: NUMBER, bool: TRUTH, Any: ANYTHING}

#: Types for fields whose numbers have bounds.
Share = Annotated[float, SHARE]
Count = Annotated[int, COUNT]


def one_of(*choices: str) -> Plain:
    """One of some words."""
    return Plain(f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices)


@cache
def of(kind: Any) -> Any:
    """The shape that a type stands for.

    Args:
        kind: a plain type, ``Annotated`` with one of this module's shapes, ``Literal`` of texts, ``list[T]``,
            ``dict[str, T]``, ``T | None``, a dataclass or a ``TypedDict``. An entry may be missing where it is
            ``NotRequired`` of a ``TypedDict``, or where a field of a dataclass may be None: what is not there is not
            known.

    Raises:
        TypeError: a type that no JSON value is of.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        shapes = {field.name: of(hints[field.name]) for field in fields(kind)}
        return {name: Maybe(each.shape) if isinstance(each, Nullable) else each for name, each in shapes.items()}
    if is_typeddict(kind):
        return {name: of(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
    return _composed(get_origin(kind), get_args(kind), kind)


def _composed(origin: Any, arguments: tuple[Any, ...], kind: Any) -> Any:
    if origin is Annotated:
        return next(shape for shape in arguments if isinstance(shape, Plain))
    if origin is NotRequired:
        return Maybe(of(arguments[0]))
    if origin is Literal:
        return one_of(*arguments)
    if origin is list:
        return [of(arguments[0])]
    if origin is dict and arguments[0] is str:
        return Each(of(arguments[1]))
    if origin in (Union, UnionType):
        shapes = [of(each) for each in arguments if each is not NoneType]
        one = shapes[0] if len(shapes) == 1 else _either(shapes)
        return Nullable(one) if NoneType in arguments else one
    raise TypeError(f"no JSON value is a {kind}")


def _either(shapes: Sequence[Plain]) -> Plain:
    return Plain(" or ".join(each.name for each in shapes), lambda value: any(each.holds(value) for each in shapes))


def differs(value: Any, shape: Any) -> str | None:
    """The first mismatch of a value with a shape: place, expected and found; None if it matches.

    Args:
        value: a JSON value.
        shape: a mapping of keys to shapes (other keys are allowed), a list of one shape, or a class of this module.
    """
    difference = _differs(value, shape)
    return None if difference is None else f"{_location(difference[0])}{difference[1]}"


def _differs(value: Any, shape: Any) -> tuple[list[Any], str] | None:
    if isinstance(shape, Maybe):
        return None if value is None else _differs(value, shape.shape)
    if isinstance(shape, Nullable):
        return None if value is None else _or_null(_differs(value, shape.shape), shape.shape)
    if isinstance(shape, Plain):
        return None if shape.holds(value) else ([], f"expected {shape.name}, found {_kind(value)}")
    if isinstance(shape, list):
        return _entries(value, list, lambda: ((i, inner, shape[0]) for i, inner in enumerate(value)))
    if isinstance(shape, Each):
        return _entries(value, dict, lambda: ((key, inner, shape.shape) for key, inner in value.items()))
    missing = [k for k, s in shape.items() if not isinstance(s, Maybe) and isinstance(value, dict) and k not in value]
    if missing:
        return [missing[0]], "is missing"
    return _entries(value, dict, lambda: ((key, value.get(key), inner) for key, inner in shape.items()))


def _or_null(mismatch: tuple[list[Any], str] | None, shape: Any) -> tuple[list[Any], str] | None:
    if mismatch is None or not isinstance(shape, Plain):
        return mismatch
    return mismatch[0], mismatch[1].replace(shape.name, f"{shape.name} or null", 1)


def _entries(value: Any, kind: type, entries: Callable[[], Any]) -> tuple[list[Any], str] | None:
    if not isinstance(value, kind):
        return [], f"expected {_KINDS[kind]}, found {_kind(value)}"
    for key, inner, shape in entries():
        if difference := _differs(inner, shape):
            return [key, *difference[0]], difference[1]
    return None


def _location(keys: Sequence[Any]) -> str:
    path = ""
    for key in keys:
        printable = "".join(letter if letter.isprintable() else "?" for letter in str(key)[:60])
        path += f"[{key}]" if isinstance(key, int) else f".{printable}" if path else printable
    return f"{path}: " if path else ""


def _kind(value: Any) -> str:
    if type(value) in (int, float):
        return f"{value:.6g}" if isinstance(value, float) or abs(value) < _LARGEST else "a huge number"
    if isinstance(value, Mapping | list) and not value:
        return f"{_KINDS[dict if isinstance(value, Mapping) else list].replace('a ', 'an empty ')}"
    return _KINDS.get(type(value), type(value).__name__)
