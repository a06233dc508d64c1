"""The documentation does what it says: every command and every block of Python in README.md and docs runs."""

from __future__ import annotations

import doctest
import os
import pkgutil
import re
import shutil

import pytest
import torch
from guides import PYTHON, ROOT, SHELL, Block, find_blocks, find_spans, list_pages, read_blocks, read_commands
from guides_covered import COVERED, FOREIGN_OPTIONS
from guides_covered import PYTHON as REPLACED
from guides_shell import list_options, parse_depthbokeh, run_command, write_files

PAGES = {str(page.relative_to(ROOT)): page for page in list_pages()}
BLOCKS = {name: find_blocks(page) for name, page in PAGES.items()}
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_DOCTEST = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guides") / "files"
    folder.mkdir()
    write_files(folder)
    return folder


@pytest.fixture
def workspace(template, tmp_path, monkeypatch):
    """A folder with the pages' files, in which nothing is downloaded and no weights are here."""
    folder = tmp_path / "work"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    for name in ("TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("DEPTHBOKEH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    torch.manual_seed(0)
    return folder


@pytest.mark.parametrize("page", [name for name, blocks in BLOCKS.items() if blocks])
def test_page_runs(page, workspace):
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCKS[page]:
        if block.language in SHELL:
            run_shell(block)
        elif block.language in PYTHON:
            run_python(block, names)


def run_shell(block: Block) -> None:
    for command in read_commands(block.code):
        try:
            covered = COVERED.get(command.text)
            if covered is None:
                run_command(command)
            else:
                covered.run(command)
        except Exception as error:
            raise AssertionError(f"{block.place}: {command.text}\n{error}") from error


def run_python(block: Block, names: dict[str, object]) -> None:
    code = block.code
    for page, old, new, _ in REPLACED:
        if page == block.page:
            code = code.replace(old, new)
    if ">>> " in code:
        runner = doctest.DocTestRunner(optionflags=_DOCTEST)
        example = doctest.DocTestParser().get_doctest(code, names, block.place, block.page, block.line - 1)
        said: list[str] = []
        runner.run(example, out=said.append, clear_globs=False)
        assert not runner.failures, "".join(said)
        names.update(example.globs)
    else:
        exec(compile("\n" * (block.line - 1) + code, block.page, "exec", dont_inherit=True), names)


class TestWhatIsNotRun:
    def test_every_command_of_the_table_is_in_a_page(self):
        there = {
            command.text
            for blocks in BLOCKS.values()
            for block in blocks
            if block.language in SHELL
            for command in read_commands(block.code)
        }
        assert set(COVERED) <= there
        for page, old, _, _ in REPLACED:
            assert any(old in block.code for block in BLOCKS[page]), (page, old)

    def test_every_entry_says_why(self):
        assert all(cover.why for cover in COVERED.values())

    def test_what_continuous_integration_is_said_to_do_it_does(self):
        script = (ROOT / ".ci" / "run").read_text()
        for target in ("lint", "docs", "test", "bench-quick"):
            assert f"make {target} " in script


class TestText:
    """Names between backticks exist."""

    @pytest.mark.parametrize("page", PAGES)
    def test_options(self, page):
        known = list_options() | set(FOREIGN_OPTIONS)
        scripts = {path.name: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
        for span in find_spans(PAGES[page].read_text()):
            script = re.match(r"python \w+/(\w+\.py)", span)
            for option in _OPTION.findall(span):
                assert option in (scripts[script[1]] if script else known), f"{page}: {span}"

    @pytest.mark.parametrize("page", PAGES)
    def test_commands(self, page):
        for span in find_spans(PAGES[page].read_text()):
            words = span.split()
            if words[0] == "depthbokeh" and len(words) > 1 and re.fullmatch("[a-z]+", words[1]):
                parse_depthbokeh([words[1], "--help"])

    @pytest.mark.parametrize("page", PAGES)
    def test_names_and_files(self, page):
        for span in find_spans(PAGES[page].read_text()):
            if re.fullmatch(r"depthbokeh(\.\w+)+", span) and span != "depthbokeh.cli":
                pkgutil.resolve_name(span)
            elif re.fullmatch(r"(benchmarks|tests|cuda|examples|depthbokeh|docs)/[\w/.-]+", span):
                assert (ROOT / span).exists() or (ROOT / "docs" / span).exists(), f"{page}: {span}"
