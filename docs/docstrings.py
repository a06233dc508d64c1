"""Reads the docstrings of the package as Markdown: what else stands in them is spelt as Sphinx and doctest spell it."""

from __future__ import annotations

import re
from typing import Any

import griffe

# :func:`depthbokeh.scatter_blur`, `~` in front hides the path.
_ROLE = re.compile(r":(attr|class|data|exc|func|meth|mod):`(~?)([\w.]+)`")


class Docstrings(griffe.Extension):
    """Translates every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = translate(obj.docstring.value, obj)


def translate(text: str, obj: griffe.Object) -> str:
    """Roles become links where there is something to link to, ``Example:`` a section, ``::`` a colon."""
    text = _ROLE.sub(lambda role: _link(role, obj), text)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    return re.sub(r"(?<=\w)::$", ":", text, flags=re.MULTILINE)


def _link(role: re.Match[str], obj: griffe.Object) -> str:
    kind, hidden, name = role.groups()
    shown, path = name.rpartition(".")[2] if hidden else name, name
    if "." not in name:  # of the same class or module
        within = (obj if obj.is_class else obj.parent) if kind in ("attr", "meth") else obj.module
        path = name if within is None else f"{within.path}.{name}"
    return f'<autoref optional identifier="{path}"><code>{shown}</code></autoref>'
