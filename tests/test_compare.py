from __future__ import annotations

import subprocess
from pathlib import Path

import compare
import pytest
from compare import Change, fastest


def test_slowest_first_and_lone_cases_last():
    before = {"a": 1.0, "b": 1.0, "gone": 1.0}
    after = {"a": 0.5, "b": 1.2, "new": 1.0}
    changes = compare.compare(before, after)
    assert [change.name for change in changes] == ["b", "a", "gone", "new"]
    assert [change.ratio for change in changes] == [1.2, 0.5, None, None]


def test_a_case_counts_by_its_fastest_round():
    assert fastest([{"a": 3.0}, {"a": 2.0, "b": 1.0}]) == {"a": 2.0, "b": 1.0}


def test_unknown_commit_is_named():
    if not (Path(compare.__file__).parents[1] / ".git").exists():
        pytest.skip("no checkout")
    message = "REV must be a commit of this repository, got 'no-such-thing'"
    with pytest.raises(ValueError, match=message), compare.check_out("no-such-thing"):
        pass


def test_checkout_is_that_commit_and_leaves_nothing(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet")
    for text in ("old", "new"):
        (tmp_path / "file").write_text(text)
        git("add", "file")
        git("commit", "--quiet", "-m", text)
    monkeypatch.setattr(compare, "_ROOT", tmp_path)
    with compare.check_out("HEAD~1") as folder:
        assert (folder / "file").read_text() == "old"
    assert not folder.exists()
    assert len(git("worktree", "list").splitlines()) == 1


def test_a_run_without_cases_says_so(tmp_path):
    with pytest.raises(RuntimeError, match="no case ran with the package in"):
        compare.measure(tmp_path, ["-k", "no_such_case", "--quick"])


def test_ratio_needs_both_sides():
    assert Change("a", None, 1.0).ratio is None
    assert Change("a", 2.0, 3.0).ratio == 1.5
