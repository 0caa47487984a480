"""Style, scripts and templates of the pages.

Patient text is untrusted. Jinja escapes everything, and invisible characters are shown (``visible``); inserted markup
is either our own style and script, or SVG made of numbers and escaped names. In addition the Content-Security-Policy of
every page allows only the style and scripts of the report: by their hashes in pages that are a single file each, else
from the folder, so that even injected markup could neither run a script nor load anything from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clinragen import __version__
from clinragen.evaluation.table import bounds, number
from clinragen.reporting import markup
from clinragen.reporting.figures import catalogue
from clinragen.reporting.visible import finalize, marked_up

#: The folder of the files that the pages share.
SHARED = "shared"


@dataclass(frozen=True)
class Assets:
    """Style and scripts.

    Attributes:
        single_file: whether they stand in every page.
    """

    single_file: bool

    @cached_property
    def style(self) -> str:
        """The style sheet."""
        return _template("style.css")

    @cached_property
    def script(self) -> str:
        """What the variables are, then the functions of the pages."""
        variables = json.dumps(catalogue(), separators=(",", ":"), ensure_ascii=True)
        parts = ["blinded.js", "plots.js", "stay.js", "index.js", "prescription.js"]
        return f'"use strict";\nconst CATALOGUE = {harmless(variables)};\n' + "".join(map(_template, parts))

    def write(self, folder: Path, **scripts: str) -> None:
        """Write what the pages share.

        Args:
            folder: to make.
            scripts: further ones, by name.
        """
        folder.mkdir()
        further = {f"{name}.js": text for name, text in scripts.items()}
        for name, text in {"style.css": self.style, "report.js": self.script, **further}.items():
            (folder / name).write_text(text, encoding="utf-8")


def harmless(script: str) -> str:
    """JSON that no page can mistake for markup."""
    return script.replace("<", "\\u003c")


def _template(name: str) -> str:
    return (files("clinragen.reporting") / "templates" / name).read_text(encoding="utf-8")


def environment_of(assets: Assets) -> Environment:
    """The templates, with what all of them use."""
    environment = Environment(
        loader=PackageLoader("clinragen.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    folder = "'self' file:"  # where pages are opened from a folder, browsers differ in what 'self' is
    environment.globals |= {
        "single_file": assets.single_file,
        "shared": SHARED,
        "style": Markup(assets.style),
        "script": Markup(assets.script),
        "style_source": Markup(source_hash(assets.style) if assets.single_file else folder),
        "script_source": Markup(source_hash(assets.script) if assets.single_file else folder),
        "version": __version__,
        "part": markup,
    }
    environment.filters |= {"number": number, "bounds": bounds, "shown": marked_up}
    return environment


def source_hash(text: str) -> str:
    """The hash source of Content-Security-Policy level 2."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
