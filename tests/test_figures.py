"""The scripts behind the documentation's figures run; what they draw is looked at by people.

Pictures in folders of their own, such as the gallery's, have tests of their own.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
SHARED = {"style", "made_up"}
SCRIPTS = sorted(path.stem for path in (DOCS / "figures").glob("*.py") if path.stem not in SHARED)
# Drawn by hand, or by other scripts: benchmarks/sheets.py, benchmarks/overfit_pairs.py,
# benchmarks/finetune_experiment.py, `depthbokeh demo`.
OTHERS = re.compile(r"data_flow\.svg|demo\.jpg|finetune\.jpg|quality_\w+\.jpg|overfit_pairs\.png")


@pytest.mark.parametrize("script", SCRIPTS)
def test_figure_is_drawn(script, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "figures"))
    import made_up

    monkeypatch.setattr(made_up, "SIZE", (48, 72))
    spec = importlib.util.spec_from_file_location(f"figure_{script}", DOCS / "figures" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.no_grad():
        module.draw(tmp_path)
    (picture,) = tmp_path.iterdir()
    with Image.open(picture) as drawn, Image.open(DOCS / "images" / picture.name) as committed:
        assert drawn.size == committed.size


def test_every_picture_is_shown_and_comes_from_somewhere():
    pages = "".join(page.read_text() for page in DOCS.rglob("*.md"))
    for picture in filter(Path.is_file, (DOCS / "images").iterdir()):
        assert f"images/{picture.name}" in pages
        assert picture.stem in SCRIPTS or OTHERS.fullmatch(picture.name)
