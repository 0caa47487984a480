"""The commands that prepare a database, one for each release, built from its ``Release``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import Parameter as Argument
from inspect import Signature
from typing import Annotated, Any

from cyclopts import Parameter

from clinragen.options import AsJson, Overwrite
from mimic_prep.commands._options import (
    CORES,
    CohortOut,
    ProtocolName,
    ProtocolSettings,
    Raw,
    Variables,
    Workers,
    show_cohort,
)
from mimic_prep.release import Release
from mimic_prep.releases import releases


def release_commands() -> dict[str, tuple[str, Callable[..., int | None]]]:
    """Command -> (its line in the overview, its function), for every release."""
    return {name: (release.about, command_of(release)) for name, release in releases().items()}


def command_of(release: Release) -> Callable[..., int | None]:
    """The command that prepares a release: a function with the options that the release has."""

    arguments = list(_arguments(release))
    defaults = {argument.name: argument.default for argument in arguments if argument.default is not Argument.empty}

    def command(**given: Any) -> None:
        from mimic_prep.prepare import prepare

        values = defaults | given
        out, as_json = values.pop("out"), values.pop("as_json")
        options = {option.name: values.pop(option.name) for option in release.options}
        manifest = prepare(values.pop("raw"), out, source=release.command, options=options, progress=True, **values)
        show_cohort(manifest, out, as_json)

    command.__doc__ = f"{release.about[:1].upper()}{release.about[1:]}."
    command.__name__ = release.command.replace("-", "_")
    command.__signature__ = Signature(arguments)  # type: ignore[attr-defined]
    command.__annotations__ = {argument.name: argument.annotation for argument in arguments}
    return command


def _arguments(release: Release) -> Iterator[Argument]:
    def keyword(name: str, kind: Any, default: Any = Argument.empty) -> Argument:
        return Argument(name, Argument.KEYWORD_ONLY, annotation=kind, default=default)

    database = ", or a database of them: a DuckDB file, or a postgresql:// URL" if release.reader is not None else ""
    expects = f"{release.raw_help[:1].upper()}{release.raw_help[1:]}{database}."
    yield keyword("raw", Annotated[Raw, Parameter(name="--raw", help=expects)])
    yield keyword("out", CohortOut)
    if release.protocol:
        yield keyword("protocol", ProtocolName, "admission")
        yield keyword("settings", ProtocolSettings, ())
        yield keyword("variables", Variables, ())
    for option in release.options:
        about = f"{option.help[:1].upper()}{option.help[1:]}."
        yield keyword(option.name, Annotated[str, Parameter(name=f"--{option.name}", help=about)], option.default)
    if release.protocol:
        yield keyword("workers", Workers, CORES)
    yield keyword("overwrite", Overwrite, False)
    yield keyword("as_json", AsJson, False)
