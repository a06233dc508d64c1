"""The documentation does what it says: every command and every block of Python in README.md and docs runs."""

from __future__ import annotations

import doctest
import pkgutil
import re
import shutil

import pytest
import torch
from guides import PYTHON, ROOT, SHELL, Block, find_blocks, find_spans, list_pages, read_blocks, read_commands
from guides_covered import COVERED, FOREIGN_OPTIONS
from guides_covered import PYTHON as REPLACED
from guides_shell import check_pip, keep_registry, list_options, parse_depthbokeh, run_command, write_files

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
    keep_registry(monkeypatch)
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


def check_options(text: str, page: str = "") -> None:
    """Fails if an option between backticks is none of any command, or none of the script before it."""
    known = list_options() | set(FOREIGN_OPTIONS)
    if page == "docs/examples.md":  # which speaks of its scripts' own
        known.update(*(_OPTION.findall(script.read_text()) for script in (ROOT / "examples").glob("*.py")))
    for span in find_spans(text):
        if span.startswith("pip install"):
            continue  # check_commands reads all of it
        script = re.match(r"python (\w+/\w+\.py)", span)
        place = (ROOT / script[1]).read_text() if script else known
        for option in _OPTION.findall(span):
            assert option in place, f"{page}: {span}"


def check_commands(text: str) -> None:
    """Fails if a command between backticks does not exist."""
    for words in map(str.split, find_spans(text)):
        if words[:2] == ["pip", "install"]:
            check_pip([word.strip("\"'") for word in words])
        elif words[0] == "depthbokeh" and len(words) > 1 and re.fullmatch("[a-z]+", words[1]):
            parse_depthbokeh([words[1], "--help"])


def check_names(text: str, page: str = "") -> None:
    """Fails if a dotted name of the package, or a file of the project, between backticks does not exist."""
    for span in find_spans(text):
        if re.fullmatch(r"depthbokeh(\.\w+)+", span) and span != "depthbokeh.cli":
            pkgutil.resolve_name(span)
        elif re.fullmatch(r"(benchmarks|tests|cuda|examples|depthbokeh|docs)/[\w/.-]+", span):
            assert (ROOT / span).exists(), f"{page}: {span}"


@pytest.mark.parametrize("page", PAGES)
def test_what_stands_between_backticks_exists(page):
    text = PAGES[page].read_text()
    check_options(text, page)
    check_commands(text)
    check_names(text, page)


class TestMistakesAreFound:
    """A slip of the pen anywhere in a page makes a test above fail."""

    @pytest.mark.parametrize(
        "command",
        [
            "depthbokeh rendr photo.jpg -o new.jpg",
            "depthbokhe render photo.jpg -o new.jpg",
            "depthbokeh render foto.jpg -o new.jpg",
            "depthbokeh render photo.jpg -o new.jpg --strenght 3",
            "depthbokeh render photo.jpg -o new.jpg --aperture polygone:6",
            "depthbokeh render photo.jpg -o new.gif",
            "depthbokeh evaluate --target bokeh/ --out report/",
            "python benchmarks/qualty.py",
            "make tests",
            "cd somewhere",
        ],
    )
    def test_in_a_command_that_is_run(self, command, workspace):
        with pytest.raises(AssertionError, match=re.escape(command)):
            run_shell(Block("page.md", 1, "sh", f"{command}\n"))

    @pytest.mark.parametrize("command", COVERED)
    def test_in_a_command_of_the_table(self, command, workspace):
        """Spelt wrong it is another command; and its check finds an option that does not exist."""
        wrong = re.sub(r"(--?[a-z][\w-]*)(?!.*--?[a-z])", r"\1x", command) if " -" in command else f"{command}x"
        assert wrong != command
        with pytest.raises(AssertionError):
            run_shell(Block("page.md", 1, "sh", f"{wrong}\n"))
        if command.split()[0] not in (".", "make") and " -" in command:
            with pytest.raises(AssertionError):
                COVERED[command].run(read_commands(wrong)[0])

    @pytest.mark.parametrize("code", ["import depthbokeh\ndepthbokeh.scater_blur\n", ">>> 1 + 1\n3\n", ">>> nothing\n"])
    def test_in_python(self, code, workspace):
        with pytest.raises((AssertionError, AttributeError)):
            run_python(Block("page.md", 1, "python", code), {})

    @pytest.mark.parametrize("text", ["```pyhton\n1\n```\n", "```\nmake\n```\n", "```sh\nmake test\n"])
    def test_in_a_fence(self, text):
        with pytest.raises(ValueError, match=r"page\.md"):
            read_blocks(text, "page.md")

    @pytest.mark.parametrize(
        ("check", "text"),
        [
            (check_options, "With `--no-algin` nothing moves."),
            (check_options, "See `python benchmarks/quality.py --dta DIR`."),
            (check_commands, "See `depthbokeh rendr PHOTO`."),
            (check_commands, "Take `pip install 'depthbokeh[trian]'`."),
            (check_names, "`depthbokeh.optics.thin_lens` is there."),
            (check_names, "`benchmarks/qualty.py` measures."),
        ],
    )
    def test_in_the_text(self, check, text):
        with pytest.raises(Exception, match=r"algin|dta|rendr|trian|thin_lens|qualty"):
            check(text)

    def test_continued_lines_comments_and_variables_are_read_as_a_shell_reads_them(self):
        code = "# first\nA=1 make x \\\n    'y z'  # last\n\n"
        (command,) = read_commands(code)
        assert command.words == ("make", "x", "y z")
        assert command.environment == (("A", "1"),)
        (block,) = read_blocks(f"1. text\n\n    ```sh\n    {code.strip()}\n    ```\n", "page.md")
        assert (block.line, block.language) == (4, "sh")
