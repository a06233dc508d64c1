"""docs/api.md has every public name, and each has an example; that those run, doctest sees to."""

from __future__ import annotations

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
ENTRIES = re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)
MODULES = [
    "depthbokeh",
    "depthbokeh.color",
    "depthbokeh.data",
    "depthbokeh.evaluation",
    "depthbokeh.models",
    "depthbokeh.models.depth",
    "depthbokeh.models.masks",
    "depthbokeh.optics",
    "depthbokeh.photo",
    "depthbokeh.pipeline",
    *(f"depthbokeh.training.{name}" for name in ("config", "finetune", "lens", "losses", "model", "validation")),
]
# What a test would have to build first: a training, its end, its failure; tuples that functions return.
WITHOUT_EXAMPLE = {"Trainer", "TrainingError", "Outcome", "LensState", "Prediction", "Scores"}


def list_public(name: str) -> list[tuple[str, object]]:
    """Functions and classes that a module offers: those of its ``__all__``, or else those that it defines."""
    module = import_module(name)
    own = [key for key, value in vars(module).items() if key[0] != "_" and getattr(value, "__module__", "") == name]
    values = [(key, getattr(module, key)) for key in getattr(module, "__all__", own)]
    return [(key, value) for key, value in values if inspect.isfunction(value) or inspect.isclass(value)]


PUBLIC = [(module, name, value) for module in MODULES for name, value in list_public(module)]


@pytest.mark.parametrize(("module", "name", "value"), PUBLIC, ids=[f"{module}.{name}" for module, name, _ in PUBLIC])
def test_public_name_is_on_the_page_and_has_an_example(module, name, value):
    homes = {f"{module}.{name}", f"{value.__module__}.{name}", value.__module__}
    assert homes & set(ENTRIES), f"docs/api.md has none of {', '.join(sorted(homes))}"
    assert name in WITHOUT_EXAMPLE or ">>>" in (value.__doc__ or "")


def test_entries_exist_once():
    for entry in ENTRIES:
        assert pkgutil.resolve_name(entry).__doc__, entry
    assert len(set(ENTRIES)) == len(ENTRIES)


def test_the_public_names_are_found():
    """That the tests above have something to test."""
    names = {name for _, name, _ in PUBLIC}
    assert {"scatter_blur", "BokehPipeline", "linear_to_srgb", "EBBDataset", "FinetuneConfig", "DepthModel"} <= names
    assert names > WITHOUT_EXAMPLE
