"""Packages that are functions, too: ``clinragen.verify`` and ``clinragen.report`` hold code and can be called."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, home: str) -> None:
    """Let a call of a package be a call of the function of its name.

    Once ``clinragen.report.build`` is imported, Python binds the name ``clinragen.report`` to the package, and what
    ``import clinragen`` offers under that name would be gone.

    Args:
        package: full name, as in its own ``__name__``.
        home: module of the function, imported when it is first called.
    """
    name = package.rpartition(".")[2]

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **named: Any) -> Any:
            return getattr(import_module(home), name)(*args, **named)

    sys.modules[package].__class__ = CallablePackage
