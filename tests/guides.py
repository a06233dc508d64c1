"""What the documentation tells its readers to type: the commands and the Python of its pages, in order."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What a fence may say its block is. Shell and Python are run; a word that is in none of these sets is a mistake.
SHELL = {"sh", "bash"}
PYTHON = {"python"}
OTHER = {"text", "yaml", "bibtex"}

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*).*\n(?P<code>(?:.*\n)*?)(?P=indent)```\s*$", re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_ASSIGNMENT = re.compile(r"([A-Z_][A-Z0-9_]*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``line`` is that of its first line."""

    page: str
    line: int
    language: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell block, as the shell would see it."""

    text: str
    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def list_pages() -> list[Path]:
    """README.md and every page below docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def find_blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page.

    Raises:
        ValueError: If a block does not say what it is, or something unknown.
    """
    return read_blocks(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))


def read_blocks(text: str, page: str) -> list[Block]:
    """The same of a page's text."""
    blocks = []
    for match in _FENCE.finditer(text):
        line = text[: match.start()].count("\n") + 2
        language = match["language"]
        if language not in SHELL | PYTHON | OTHER:
            known = ", ".join(sorted(SHELL | PYTHON | OTHER))
            raise ValueError(f"{page}:{line - 1}: a block of {language!r}: expected {known}")
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        blocks.append(Block(page, line, language, code))
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    if fences != 2 * len(blocks):
        raise ValueError(f"{page}: {fences} fences are not those of {len(blocks)} blocks")
    return blocks


def find_spans(text: str) -> list[str]:
    """What stands between single backticks in a page, blocks left out."""
    return [" ".join(span.split()) for span in _SPAN.findall(_FENCE.sub("", text))]


def read_commands(code: str) -> list[Command]:
    """The commands of a shell block: continued lines are one, comments are none."""
    commands = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        environment = []
        while words and (assignment := _ASSIGNMENT.fullmatch(words[0])):
            environment.append((assignment[1], assignment[2]))
            words.pop(0)
        if words or environment:
            settings = [f"{name}={value}" for name, value in environment]
            text = " ".join([*settings, *(shlex.quote(word) for word in words)])
            commands.append(Command(text, tuple(words), tuple(environment)))
    return commands
