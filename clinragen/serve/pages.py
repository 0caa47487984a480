"""The pages of the service: to type or upload a stay and ask about it, its schema, and errors.

All of them come from this machine. A page allows only its own style and script, by their hashes
(Content-Security-Policy), and no request but those to the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clinragen import __version__
from clinragen.catalog import variables
from clinragen.cohort.sections import SECTIONS, section_title
from clinragen.dialogue.reading import MOST_CHARACTERS
from clinragen.reporting.assets import source_hash
from clinragen.serve.answer import NOTICE
from clinragen.serve.limits import Limits
from clinragen.serve.refusals import RefusalError

#: Headers of a stay's page. What it may load it says itself, by hashes; the start page shows it in a frame.
REPORT_HEADERS = {"content-security-policy": "frame-ancestors 'self'; connect-src 'none'; form-action 'none'"}


@dataclass(frozen=True)
class Page:
    """A page with the policy that it is sent under."""

    html: str
    policy: str

    def response(self, status: int = 200, headers: Mapping[str, str] | None = None) -> HTMLResponse:
        """The response with it."""
        return HTMLResponse(self.html, status, headers={**(headers or {}), "content-security-policy": self.policy})


def start_page(*, token: bool, limits: Limits, similar: bool = False) -> Page:
    """The page to type or upload a stay, and to ask about it.

    Args:
        token: whether it asks for a token.
        limits: of the service, which it names.
        similar: whether it can ask for similar cases.
    """
    named = [(key, variable.label, variable.unit) for key, variable in variables().items()]
    sections = [(key, section_title(key)) for key in SECTIONS]
    return _page(
        "start.html",
        scripts=("start.js", "ask.js", *(("similar.js",) if similar else ())),
        policy="connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'",
        token=token,
        limits=limits,
        variables=named,
        sections=sections,
        longest_question=MOST_CHARACTERS,
        similar=similar,
    )


def docs_page(schema: Mapping[str, Any]) -> Page:
    """The schema as a page: operations, then models.

    Args:
        schema: OpenAPI.
    """
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    return _page("docs.html", operations=operations, models=schema["components"]["schemas"], kind=_kind)


def refusal_page(refusal: RefusalError) -> Page:
    """An error as a page."""
    return _page("refusal.html", policy="frame-ancestors 'self'; form-action 'none'", refusal=refusal)


def _page(template: str, *, scripts: Sequence[str] = (), policy: str = "", **values: Any) -> Page:
    style, code = _text("pages.css"), "".join(map(_text, scripts))
    sources = [f"default-src 'none'; style-src {source_hash(style)}; img-src data:; base-uri 'none'"]
    sources += [f"script-src {source_hash(code)}"] if code else []
    sources += [policy or "form-action 'none'; frame-ancestors 'none'"]
    html = _environment().get_template(template).render(
        style=Markup(style), script=Markup(code), version=__version__, notice=NOTICE, **values
    )  # fmt: skip
    return Page(html, "; ".join(sources))


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a field in a few words.

    >>> _kind({"type": "array", "items": {"$ref": "#/components/schemas/Claim"}})
    'list of Claim'
    """
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " or ".join(map(str, schema.get("enum", [schema.get("const")])))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "anything")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("clinragen.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _text(name: str) -> str:
    return (files("clinragen.serve") / "templates" / name).read_text(encoding="utf-8")
