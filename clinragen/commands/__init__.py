"""One file per command of ``clinragen``: its docstring is its line in the overview, ``command`` its function."""
