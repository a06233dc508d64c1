"""What runs elsewhere, in continuous integration and before a commit, is what the Makefile runs here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# An action by its major version, or the branch that its authors move along with it.
PINNED = re.compile(r"[\w-]+(/[\w-]+)+@(v\d+|release/v\d+)")


def load_steps(workflow):
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in [job, *job.get("steps", [])]]


def test_targets_exist():
    scripts = [step["run"] for workflow in WORKFLOWS for step in load_steps(workflow) if "run" in step]
    used = {target for script in scripts for target in re.findall(r"\bmake ([\w-]+)", script)}
    assert {"lint", "test", "docs", "dist"} <= used
    assert used <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned(workflow):
    for used in [step["uses"] for step in load_steps(workflow) if "uses" in step]:
        assert (ROOT / used).is_file() if used.startswith("./") else PINNED.fullmatch(used), used


def test_torch_is_tested_at_both_ends_of_its_range():
    oldest, beyond = re.search(r'"torch>=([\d.]+),<([\d.]+)"', (ROOT / "pyproject.toml").read_text()).groups()
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["torch"][0].startswith(f"{oldest}.")
    major, minor = beyond.split(".")
    assert matrix["torch"][-1].startswith(f"{major}.{int(minor) - 1}.")


def test_commits_are_checked_as_make_lint_checks():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE).group(1)
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    # In the words of make lint: what a hook mends, that only looks at.
    hooks = [re.sub(r" (--fix|-i)\b", "", hook["entry"].removeprefix(".venv/bin/")) for hook in repo["hooks"]]
    linted = [re.sub(r" (--check|--dry-run|--Werror|\.|\$\(\w+\))(?=\s|$)", "", line) for line in recipe.split("\n\t")]
    linted = [line.strip().removeprefix("$(BIN)/") for line in linted]
    # The binary's audit needs a binary: a commit does not build one.
    assert sorted(hooks) == sorted(line for line in linted if not line.startswith("torch-abi-audit"))
