"""Importing is cheap: each part loads what it cannot do without, and the command starts before torch does."""

from __future__ import annotations

import json
import subprocess
import sys

STEPS = ("depthbokeh.cli", "torch", "depthbokeh", "depthbokeh.models", "depthbokeh.pipeline")
CODE = """
import importlib, json, sys
for step in {steps}:
    before = set(sys.modules)
    module = importlib.import_module(step)
    if step == "depthbokeh":
        module.BokehRenderer  # loaded when it is asked for
    print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""


def test_each_part_loads_what_it_needs():
    """By one process, in the order in which the parts build on each other."""
    code = CODE.format(steps=STEPS)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {step: set(json.loads(line)) for step, line in zip(STEPS, run.stdout.splitlines(), strict=True)}
    assert {"typer", "depthbokeh"} <= loaded["depthbokeh.cli"]
    assert not {"torch", "numpy", "PIL", "pydantic"} & loaded["depthbokeh.cli"]
    assert "torch" in loaded["torch"]
    for step in STEPS[2:]:
        assert "depthbokeh" in loaded[step], step
        others = {name for name in loaded[step] - sys.stdlib_module_names if not name.startswith(("torch", "_"))}
        assert others <= {"depthbokeh", "numpy"}, step
