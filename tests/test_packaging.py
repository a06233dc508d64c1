"""What a source distribution and a wheel will contain, and that what is said about a release agrees with itself."""

from __future__ import annotations

import re
import runpy
from importlib import import_module
from pathlib import Path

import pytest
import setuptools
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import FileList

import depthbokeh
from depthbokeh import _build

ROOT = Path(__file__).parents[1]
NATIVE = {".cpp", ".h", ".cu", ".cuh"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture
def arguments(monkeypatch):
    """What setup.py hands to setuptools."""
    handed = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DEPTHBOKEH_CUDA", "0")
    monkeypatch.setattr(setuptools, "setup", handed.update)
    runpy.run_path(str(ROOT / "setup.py"))
    return handed


@pytest.fixture
def wheel(arguments):
    """The files of a wheel beside its library, as they will be installed."""
    arguments = {key: value for key, value in arguments.items() if key not in ("cmdclass", "ext_modules")}
    command = build_py(setuptools.Distribution({**arguments, "script_name": "setup.py"}))
    command.ensure_finalized()
    target = Path(command.build_lib)
    return {Path(path).relative_to(target).as_posix() for path in command.get_outputs(include_bytecode=False)}


def test_wheel_has_every_module_and_data_file(wheel):
    package = ROOT / "depthbokeh"
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix not in {".pyc", ".so"}]
    assert {path.relative_to(ROOT).as_posix() for path in files} == {name for name in wheel if "/_cuda/" not in name}


def test_wheel_has_what_the_library_is_compiled_from(wheel, arguments):
    sources = [path for path in (ROOT / "cuda").rglob("*") if path.suffix in NATIVE and path.parent.name != "emu"]
    packed = {name for name in wheel if name.startswith("depthbokeh/_cuda/")}
    assert packed == {f"depthbokeh/_cuda/{path.relative_to(ROOT / 'cuda').as_posix()}" for path in sources}
    compiled = {path.relative_to(ROOT).as_posix() for path in _build.list_sources(ROOT / "cuda")}
    (extension,) = arguments["ext_modules"]
    assert set(extension.sources) == compiled != set()


def test_source_distribution_has_what_building_and_testing_need(monkeypatch):
    monkeypatch.chdir(ROOT)
    manifest = FileList()
    for line in read("MANIFEST.in").splitlines():
        if line and not line.startswith("#"):
            manifest.process_template_line(line)
    packed = {Path(path).as_posix() for path in manifest.files}
    for folder in ("cuda", "tests"):
        needed = [path for path in (ROOT / folder).rglob("*") if path.suffix in NATIVE | {".py"}]
        assert {path.relative_to(ROOT).as_posix() for path in needed} <= packed, folder
    assert {"CHANGELOG.md", "CITATION.cff", "Makefile", "docs/index.md", ".github/workflows/ci.yml"} <= packed
    assert not [path for path in packed if path.endswith((".pyc", ".so"))]


def test_version_is_the_same_everywhere():
    assert re.findall(r"^version: (.+)$", read("CITATION.cff"), re.MULTILINE) == [depthbokeh.__version__]
    releases = re.findall(r"^## \[(\d[^\]]*)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert releases[0] == depthbokeh.__version__
    assert 'attr = "depthbokeh.__version__"' in read("pyproject.toml")
    assert not re.search(r"^version = \"", read("pyproject.toml"), re.MULTILINE)


def test_citation_has_the_date_of_the_release():
    (date,) = re.findall(rf"^## \[{re.escape(depthbokeh.__version__)}\] - (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    cited = re.findall(r"^date-released: \"?([\d-]+)", read("CITATION.cff"), re.MULTILINE)
    assert cited == ([] if date == "unreleased" else [date])


def test_changelog_is_in_order():
    headings = re.findall(r"^## (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    assert headings
    for heading in headings:
        assert re.fullmatch(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - (\d{4}-\d\d-\d\d|unreleased)", heading), heading
    kinds = set(re.findall(r"^### (.+)$", read("CHANGELOG.md"), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_commands_can_be_imported():
    tomllib = pytest.importorskip("tomllib")
    scripts = tomllib.loads(read("pyproject.toml"))["project"]["scripts"]
    assert "depthbokeh" in scripts
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert callable(getattr(import_module(module), name)), target


def test_extras_are_those_of_the_documentation():
    tomllib = pytest.importorskip("tomllib")
    extras = set(tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"])
    table = read("docs/install.md").partition("## Extras")[2].partition("\n## ")[0]
    assert {
        name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    } == extras
    texts = [path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "depthbokeh").rglob("*.py")]
    named = {
        name for text in texts for names in re.findall(r"depthbokeh\[([\w,]+)\]", text) for name in names.split(",")
    }
    assert {"transformers", "exr"} <= named <= extras


def test_torch_of_the_documentation_is_that_of_the_package():
    oldest, beyond = re.search(r'"torch>=([\d.]+),<([\d.]+)"', read("pyproject.toml")).groups()
    newest = re.search(r"torch from ([\d.]+) up to ([\d.]+\d)", read("docs/install.md")).groups()
    major, minor = beyond.split(".")
    assert newest == (oldest, f"{major}.{int(minor) - 1}")
    assert re.search(r"^TORCH \?= ([\d.]+)$", read("Makefile"), re.MULTILINE).group(1).startswith(f"{newest[1]}.")
