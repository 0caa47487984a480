"""The audit as one HTML file without external resources: a verdict, and one card for each check."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clinragen import __version__
from mimic_prep.audit import Audit

FOLDED = 12  # rows shown before the rest is collapsed

_VERDICTS = {
    "leak": "The cohort leaks",
    "warning": "No leak found; read the warnings",
    "note": "No leak found",
    "pass": "No leak found",
}
_BADGES = {"leak": "✕ leak", "warning": "! warning", "note": "i note", "pass": "✓ pass"}


def render(audit: Audit) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("mimic_prep.audit", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure}
    style = (files("mimic_prep.audit") / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        audit=audit,
        verdict=_VERDICTS[audit.status],
        badges=_BADGES,
        folded=FOLDED,
        style=Markup(style),
        style_hash=f"'sha256-{digest}'",
        version=__version__,
    )


def _figure(value: object, kind: str) -> str:
    """A cell as text.

    >>> _figure(0.7725, "share"), _figure(12345, "count"), _figure(0.01234, "number"), _figure(None, "share")
    ('77.2 %', '12,345', '0.0123', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, int | float) and kind in ("share", "percent"):
        return f"{100 * value:.1f} %"
    if isinstance(value, int | float) and kind == "count":
        return f"{value:,}"
    if isinstance(value, int | float) and kind == "number":
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
