"""What docstrings name by a role of Sphinx, such as ``:func:`` before a name, as plain code on the site."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?([^`]+)`")


class DocstringRoles(Extension):
    """Rewrites the docstrings that mkdocstrings shows."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Take the role from each name of a docstring, and the second backquote from code."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
