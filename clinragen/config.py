"""Shipped YAML configurations, merged with the user's file and dotted overrides, checked against dataclasses.

Lookup order of a config name: a path to a YAML file, then ``<group>/<name>.yaml`` among the shipped ones.
"""

from __future__ import annotations

import re
from dataclasses import asdict, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from clinragen.errors import UserError, hint, near_name, unknown_choice

_PACKAGE = Path(__file__).resolve().parent
#: The shipped configs: package data in an installed wheel, the repository's ``configs/`` in a checkout.
CONFIG_ROOT = _PACKAGE / "_configs" if (_PACKAGE / "_configs").is_dir() else _PACKAGE.parent / "configs"
LARGEST = 16 << 20  # most bytes of a settings file
_CHOICE = re.compile(r"Invalid value (.+), expected one of \[(.*)\]")  # what OmegaConf says of a Literal
_QUOTED = r"'([^']*)'"
_COMMA = re.compile(r"-?\d+,\d+")
_FORMERLY = "formerly"


def setting[T](default: T, *, formerly: str) -> T:
    """A field of a config whose key was spelled otherwise in the release before, which is still read.

    Args:
        default: its value where none is given.
        formerly: the old key.
    """
    return field(default=default, metadata={_FORMERLY: formerly})


def formerly_spelled(config: Any) -> dict[str, Any]:
    """A config as plain values under its old keys, so that a digest of it is that of the release before."""
    spelled = asdict(config)
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            spelled[entry.name] = formerly_spelled(value)
        spelled[entry.metadata.get(_FORMERLY, entry.name)] = spelled.pop(entry.name)
    return spelled


def respell(schema: type, values: dict[str, Any], where: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Settings under the keys of today.

    Args:
        schema: the dataclass of the config.
        values: its settings, nested as they are; some may be under old keys.
        where: dotted key of ``values`` within the whole config, with a final point.

    Returns:
        The settings, and old dotted key -> that of today, of those that were replaced.

    Raises:
        UserError: a setting is given under both keys.
    """
    spelled, replaced = dict(values), {}
    types = get_type_hints(schema)
    for entry in fields(schema):
        former, kind = entry.metadata.get(_FORMERLY), types[entry.name]
        if former in spelled:
            if entry.name in spelled:
                raise UserError(f"{where}{former} is now {where}{entry.name}: give only the second")
            spelled[entry.name] = spelled.pop(former)
            replaced[where + former] = where + entry.name
        if is_dataclass(kind) and isinstance(kind, type) and isinstance(spelled.get(entry.name), dict):
            spelled[entry.name], inner = respell(kind, spelled[entry.name], f"{where}{entry.name}.")
            replaced |= inner
    return spelled, replaced


def names(group: str) -> list[str]:
    """Names of the shipped configs of a group, such as ``model``."""
    return sorted(path.stem for path in (CONFIG_ROOT / group).glob("*.yaml"))


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML file into plain Python. Nothing in it is resolved: ``${...}`` is refused.

    Raises:
        UserError: missing, not YAML, not a mapping, too large or too deep.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than {LARGEST >> 20} MiB: expected a YAML file of settings")
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except FileNotFoundError:
        raise UserError(f"{path} not found") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, expected a YAML file") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply: expected a YAML file of settings") from None
    except (
        YAMLError,
        OmegaConfBaseException,
        ValueError,
        OSError,
    ) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, found {type(loaded).__name__}")
    check_plain(loaded, str(path))
    return {str(key): value for key, value in loaded.items()}


def check_plain(values: Any, where: str) -> None:
    """Refuse values that OmegaConf would resolve, so that no file can read the environment.

    Raises:
        UserError: names the key of the first ``${``.
    """
    waiting: list[tuple[str, Any]] = [("", values)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}" if key else str(name), inner) for name, inner in value.items()]
            waiting += [(f"{key}.{name}" if key else str(name), name) for name in value if isinstance(name, str)]
        elif isinstance(value, list):
            waiting += [(f"{key}[{index}]", inner) for index, inner in enumerate(value)]
        elif isinstance(value, str) and "${" in value:
            raise UserError(f"{where}: {key} holds '${{...}}': settings are not interpolated, write the value itself")


def load[T](group: str, name: str, schema: type[T], overrides: list[str] | None = None) -> T:
    """Load a config by shipped name or path into a dataclass; ``overrides`` are ``key=value`` with dotted keys.

    Raises:
        UserError: unknown name, unknown key or value of the wrong type, with the full key.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in names(group):
            raise unknown_choice(f"{group} config", name, names(group))
        path = CONFIG_ROOT / group / f"{name}.yaml"
    values = load_yaml(path)
    values, replaced = respell(schema, values)
    for former, today in replaced.items():
        hint(f"{path}: {former} is now {today}")
    return build(schema, values, str(path), overrides)


def build[T](schema: type[T], values: dict[str, Any], where: str, overrides: list[str] | None = None) -> T:
    """Check ``values`` against a dataclass and return an instance of it. Old keys are read as those of today."""
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a mapping of keys to values, found {type(values).__name__}")
    check_plain(values, where)
    values, _ = respell(schema, values)
    merged = OmegaConf.structured(schema)
    try:
        merged = OmegaConf.merge(merged, values)
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        raise UserError(f"{where}: {_explain(error)}") from None
    for override in overrides or []:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise UserError(f"--set {override}: expected key=value")
        try:
            nested: Any = OmegaConf.to_container(OmegaConf.from_dotlist([override]), resolve=False)
            check_plain(nested, f"--set {override}")
            nested, replaced = respell(schema, nested)
            for former, today in replaced.items():
                hint(f"--set {former} is now {today}")
            merged = OmegaConf.merge(merged, nested)
        except (OmegaConfBaseException, YAMLError, ValueError, RecursionError) as error:
            advice = f"; write {value.replace(',', '.')}, with a point" if _COMMA.fullmatch(value) else ""
            raise UserError(f"--set {override}: {_explain(error)}{advice}") from None
    try:
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{where}: {_explain(error)}") from None


def _explain(error: Exception) -> str:
    """The first line of an OmegaConf message, with the full key and, if known, the valid keys."""
    key = getattr(error, "full_key", None)
    if type(error).__name__ in ("ConfigKeyError", "ConfigAttributeError"):
        parent = getattr(error, "parent_node", None)
        if parent is None:
            return f"unknown key '{key}'; see configs/"
        valid = sorted(map(str, parent))
        near = get_close_matches(str(key).rpartition(".")[2], valid, n=1)
        advice = f": did you mean '{near[0]}'?" if near else ";"
        return f"unknown key '{key}'{advice} valid keys here: {', '.join(valid)}"
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    if choice := _CHOICE.fullmatch(first):
        choices = re.findall(_QUOTED, choice[2])
        near = near_name(choice[1].strip("'"), choices)
        return f"{key} {choice[1]} is unknown; choose from: {', '.join(choices)}{near}"
    return f"key '{key}': {first}" if key else first
