"""Read what ``--raw`` says of a database: a file, or the URL of a server, and which schemas.

A URL with a password is refused: command lines can be read by every user of the machine. No message repeats a URL
that could not be read, since a password may be in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from clinragen.errors import UserError

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?P<location>.*)", re.DOTALL)
_POSTGRESQL = ("postgresql", "postgres")
_HOST = r"(?:\[[0-9A-Fa-f:.%]+\]|[^@/?#:,\[\]\s]*)(?::\d*)?"
_LOCATION = re.compile(
    rf"(?:(?P<user>[^@/?#:\s]*)@)?(?P<hosts>{_HOST}(?:,{_HOST})*)(?:/(?P<database>[^@/?#\s]*))?(?:\?(?P<query>[^#\s]*))?"
)
_SECRETS = ("password", "sslpassword", "oauth_client_secret")
_SCHEMAS = ("schema", "search_path")
_NO_PASSWORD = (
    "--raw: the URL holds a password, which every user of this machine could see: leave it out, and put it in "
    "~/.pgpass or in the environment variable PGPASSWORD"
)


@dataclass(frozen=True)
class ServerAddress:
    """A PostgreSQL server and database.

    Attributes:
        url: for libpq, without password.
        shown: in messages: without the options.
        schemas: those to look in, in lower case; all if empty.
        options: names of the options that the URL sets.
    """

    url: str
    shown: str
    schemas: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()


def server_address(raw: str) -> ServerAddress | None:
    """The server that ``raw`` is the URL of; None if it is no URL.

    >>> server_address("postgresql://ann@db:5432/mimic?schema=mimiciii")
    ServerAddress(url='postgresql://ann@db:5432/mimic', shown='postgresql://ann@db:5432/mimic', schemas=('mimiciii',), \
options=frozenset())

    Raises:
        UserError: the URL of another database, with a password, or malformed.
    """
    parts = _SCHEME.fullmatch(raw)
    if parts is None or Path(raw).exists():
        return None
    if parts["scheme"].lower() not in _POSTGRESQL:
        raise UserError("--raw: of URLs only postgresql://USER@HOST:PORT/DATABASE is read; expected that, or a path")
    location = parts["location"]
    match = _LOCATION.fullmatch(location)
    settings = _settings(match["query"] or "") if match else []
    if match is None:
        if ":" in location.rpartition("@")[0]:
            raise UserError(_NO_PASSWORD)
        raise UserError("--raw: not a URL of PostgreSQL: expected postgresql://USER@HOST:PORT/DATABASE")
    if any(name.lower() in _SECRETS for name, _ in settings):
        raise UserError(_NO_PASSWORD)
    user = f"{match['user']}@" if match["user"] is not None else ""
    shown = f"postgresql://{user}{match['hosts']}" + (f"/{match['database']}" if match["database"] else "")
    schemas = [part for name, value in settings if name in _SCHEMAS for part in _names(value)]
    others = [(name, value) for name, value in settings if name not in _SCHEMAS]
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in others)
    url = shown + (f"/?{query}" if query and not match["database"] else f"?{query}" if query else "")
    return ServerAddress(url, shown, tuple(schemas), frozenset(name for name, _ in others))


def file_address(raw: str) -> tuple[Path, tuple[str, ...]]:
    """The path that ``raw`` names, and the schemas after ``?schema=``, in lower case, where what precedes it is a file.

    >>> file_address("of a folder, perhaps?")
    (PosixPath('of a folder, perhaps?'), ())
    """
    path, question, query = raw.partition("?")
    if not question or Path(raw).exists() or not Path(path).is_file():
        return Path(raw), ()
    settings = _settings(query)
    if odd := [name for name, _ in settings if name not in _SCHEMAS]:
        raise UserError(f"--raw {path}: unknown option '{odd[0]}' after the question mark; expected schema=NAME")
    return Path(path), tuple(part for _, value in settings for part in _names(value))


def _settings(query: str) -> list[tuple[str, str]]:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _names(value: str) -> list[str]:
    return [name.strip().strip('"').lower() for name in value.split(",") if name.strip()]
