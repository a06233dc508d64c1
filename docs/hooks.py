"""What `mkdocs build` does beyond Markdown: formulas become MathML, and no page may call another server."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What pymdownx.arithmatex leaves of $...$ and of $$...$$.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
# Anything that a browser fetches by itself; a link waits for the reader.
_FETCHED = re.compile(
    r'<(?:script|img|iframe|source|link(?! rel="canonical"))\b[^>]*?(?:src|href)="((?:https?:)?//[^"]*)"'
)


def on_page_content(content: str, **_: Any) -> str:
    """Every browser shows MathML by itself: no script and no font has to be fetched for a formula."""
    return _FORMULA.sub(_to_mathml, content)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuses a page that would fetch something from elsewhere."""
    foreign = _FETCHED.search(output)
    if foreign is not None:
        raise PluginError(f"{page.file.src_path} fetches {foreign[1]}: expected files of this site alone")
    return output


def _to_mathml(formula: re.Match[str]) -> str:
    return str(convert(html.unescape(formula[3]), display="block" if formula[2] == "[" else "inline"))
