"""Settings of a source that a hospital may change: a shipped default, and files that hold only what differs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from clinragen import config
from clinragen.catalog import read_data_file
from clinragen.config import CONFIG_ROOT
from clinragen.errors import UserError, unknown_choice


def load_over_default[T](group: str, name: str, schema: type[T]) -> tuple[T, Path]:
    """The settings of a shipped name or a YAML file, and where they are; other keys are those of ``default.yaml``.

    Raises:
        UserError: unknown name or key, or a value of the wrong type.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in config.names(group):
            raise unknown_choice(f"{group} config", name, config.names(group))
        path = CONFIG_ROOT / group / f"{name}.yaml"
    default = CONFIG_ROOT / group / "default.yaml"
    values = read_data_file(default) | (config.load_yaml(path) if path != default else {})
    return config.build(schema, values, str(path)), path


def check_words(words: Mapping[str, list[str]], path: Path) -> None:
    """Raise a UserError for a pattern that is no regular expression; ``words`` are patterns by their key."""
    for key, patterns in words.items():
        for pattern in patterns:
            try:
                re.compile(pattern)
                pl.select(pl.lit("").str.contains(pattern))
            except (re.error, pl.exceptions.ComputeError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(f"{path}: {key}: '{pattern}' is no regular expression ({reason})") from None


def matches(column: str, patterns: list[str]) -> pl.Expr:
    """Whether a text matches one of the patterns; never if it is empty."""
    if not patterns:
        return pl.lit(False)
    return pl.col(column).str.contains("(?i)" + "|".join(f"(?:{pattern})" for pattern in patterns)).fill_null(False)
