"""Notebooks as pages: their text and code; outputs are not stored."""

from __future__ import annotations

import json


def page(notebook: str) -> str:
    """A notebook as Markdown.

    Args:
        notebook: the text of the .ipynb file.

    Returns:
        Its cells of text as they are, its cells of code as blocks of Python.
    """
    cells = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        cells.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(cells) + "\n"
