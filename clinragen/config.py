"""Shipped YAML configurations, merged with the user's file and dotted overrides, checked against dataclasses.

Lookup order of a config name: a path to a YAML file, then ``<group>/<name>.yaml`` among the shipped ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from clinragen.errors import UserError, unknown_choice

_PACKAGE = Path(__file__).resolve().parent
#: The shipped configs: package data in an installed wheel, the repository's ``configs/`` in a checkout.
CONFIG_ROOT = _PACKAGE / "_configs" if (_PACKAGE / "_configs").is_dir() else _PACKAGE.parent / "configs"


def names(group: str) -> list[str]:
    """Names of the shipped configs of a group, such as ``model``."""
    return sorted(path.stem for path in (CONFIG_ROOT / group).glob("*.yaml"))


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML file into plain Python.

    Raises:
        UserError: missing, not YAML, or not a mapping.
    """
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except FileNotFoundError:
        raise UserError(f"{path} not found") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, expected a YAML file") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, found {type(loaded).__name__}")
    return {str(key): value for key, value in loaded.items()}


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
    return build(schema, values, str(path), overrides)


def build[T](schema: type[T], values: dict[str, Any], where: str, overrides: list[str] | None = None) -> T:
    """Check ``values`` against a dataclass and return an instance of it."""
    merged = OmegaConf.structured(schema)
    try:
        merged = OmegaConf.merge(merged, values)
    except OmegaConfBaseException as error:
        raise UserError(f"{where}: {_explain(error)}") from None
    for override in overrides or []:
        key, separator, _ = override.partition("=")
        if not separator or not key:
            raise UserError(f"--set {override}: expected key=value")
        try:
            merged = OmegaConf.merge(merged, OmegaConf.from_dotlist([override]))
        except (OmegaConfBaseException, YAMLError) as error:
            raise UserError(f"--set {override}: {_explain(error)}") from None
    try:
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{where}: {_explain(error)}") from None


def _explain(error: Exception) -> str:
    """The first line of an OmegaConf message, with the full key and the valid keys where it knows them."""
    key = getattr(error, "full_key", None)
    if type(error).__name__ in ("ConfigKeyError", "ConfigAttributeError"):
        parent = getattr(error, "parent_node", None)
        valid = ", ".join(sorted(str(k) for k in parent)) if parent is not None else "see configs/"
        return f"unknown key '{key}'; valid keys here: {valid}"
    first = str(error).splitlines()[0]
    return f"key '{key}': {first}" if key else first
