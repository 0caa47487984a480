"""Markdown that people read beside an output: the card of a model, of a data set, of rationales, from a template."""

from __future__ import annotations

import jinja2

from clinragen.config import CONFIG_ROOT


def card(template: str, **values: object) -> str:
    """The text of a template in ``configs``, such as ``export/card.md.j2``; a value that it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CONFIG_ROOT),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown of counts, and of names of the catalogue
    )
    return environment.get_template(template).render(**values)
