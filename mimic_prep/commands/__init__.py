"""One file per command of ``mimic-prep``: its docstring is its line in the overview, ``command`` its function."""
