"""Runs the commands of the documentation in this process, in a folder of small files with the names that it uses."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import fields
from functools import cache
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from guides import ROOT, Command
from packaging.requirements import Requirement
from pairs import write_pair
from PIL import Image
from typer.testing import CliRunner

from depthbokeh import cli
from depthbokeh.finetune_cli import parse_flags
from depthbokeh.models import registry

WIDTH, HEIGHT = 96, 64
# Options of pip install that take a value, and those that take none.
_PIP_OPTIONS = {"--index-url", "--no-binary"}
_PIP_SWITCHES = {"--force-reinstall", "--no-build-isolation", "--no-deps"}


class Parsed(Exception):
    """A program has read its arguments without complaint, and stops there."""


def write_files(folder: Path) -> None:
    """Small files under the names that the pages use."""
    write_photo_and_maps(folder, (WIDTH, HEIGHT))
    shutil.copy(folder / "photo.jpg", folder / "bokeh.jpg")
    for name in ("a", "b"):
        for kind, source in (("photos", "photo.jpg"), ("bokeh", "bokeh.jpg")):
            (folder / kind).mkdir(exist_ok=True)
            shutil.copy(folder / source, folder / kind / f"{name}.jpg")
        for kind, source in (("maps", "disparity.png"), ("masks", "mask.png")):
            (folder / kind).mkdir(exist_ok=True)
            shutil.copy(folder / source, folder / kind / f"{name}.png")
    for number in (0, 1, 4400, 4401):  # of either split of EBB!
        training = folder / "EBB" / "Training"
        pictures = [training / kind / f"{number}.jpg" for kind in ("original", "bokeh")]
        write_pair(*pictures, seed=number, shape=(HEIGHT, WIDTH))
        for kind, source in (("disparity", "disparity.png"), ("mask", "mask.png")):
            (training / kind).mkdir(exist_ok=True)
            shutil.copy(folder / source, training / kind / f"{number}.png")
            shutil.copy(folder / source, folder / "maps" / f"{number}.png")
        for method in ("pynet", "mine", "theirs"):
            (folder / "results" / method).mkdir(parents=True, exist_ok=True)
            shutil.copy(pictures[0], folder / "results" / method / f"{number}.png")
    for name in ("ebb", "prepared"):  # what `depthbokeh prepare` leaves
        shutil.copytree(folder / "EBB", folder / name)


def write_photo_and_maps(folder: Path, size: tuple[int, int]) -> None:
    """A photo with detail, a ramp for its disparity and a disk for its mask."""
    width, height = size
    detail = np.random.default_rng(0).integers(0, 256, (HEIGHT // 2, WIDTH // 2, 3), dtype=np.uint8)
    Image.fromarray(detail).resize(size).save(folder / "photo.jpg")
    y, x = np.mgrid[:height, :width]
    Image.fromarray((y * 65535 // (height - 1)).astype(np.uint16)).save(folder / "disparity.png")
    disk = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (0.3 * height) ** 2
    Image.fromarray(disk * np.uint8(255)).save(folder / "mask.png")


def run_depthbokeh(arguments: Sequence[str]) -> None:
    """Runs ``depthbokeh`` with these arguments; fails if it does."""
    if "finetune" in arguments:
        _forget_processes()
    # Examples are each for itself: what an earlier one wrote must not stop the next.
    for option, value in pairwise(arguments):
        if option in ("-o", "--output", "--out", "--json"):
            _remove(Path(value))
    result = CliRunner().invoke(cli.app, list(arguments))
    if result.exit_code:
        raise AssertionError(f"ends with {result.exit_code}: {result.exception!r}\n{result.output}")


def _remove(path: Path) -> None:
    if path.is_dir() and not (path / "Training").is_dir():
        shutil.rmtree(path)
    elif path.is_file():
        path.unlink()


def _forget_processes() -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


@cache
def make_parser() -> Any:
    """The command line as click has it, whose commands check their arguments and do nothing else."""
    group = typer.main.get_command(cli.app)
    for command in _walk(group):
        command.invoke = _check_settings if command.name == "finetune" else _do_nothing
    return group


def _walk(group: Any) -> list[Any]:
    """All commands, those of groups within it too."""
    nested = [_walk(command) if hasattr(command, "commands") else [command] for command in group.commands.values()]
    return [command for commands in nested for command in commands]


def _do_nothing(context: Any) -> None:
    pass


def _check_settings(context: Any) -> None:
    from depthbokeh.training.config import FinetuneConfig

    FinetuneConfig.from_dict(parse_flags(context.args))


def parse_depthbokeh(arguments: Sequence[str]) -> None:
    """Has the real parser read the arguments; fails if it would refuse them."""
    try:
        with redirect_stdout(StringIO()):  # of --help
            make_parser().main(list(arguments), prog_name="depthbokeh", standalone_mode=False)
    except Exception as error:
        told = error.format_message() if hasattr(error, "format_message") else error
        raise AssertionError(f"depthbokeh {' '.join(arguments)} is not understood: {told}") from error


def list_options() -> set[str]:
    """Every option of every command, settings of ``finetune`` among them."""
    from inspect import signature

    from depthbokeh.data.augment import Augmentation
    from depthbokeh.training.config import FinetuneConfig
    from depthbokeh.training.losses import LossWeights

    names = [entry.name for entry in fields(FinetuneConfig)]
    names += [f"loss-{entry.name}" for entry in fields(LossWeights)]
    names += [f"augment-{name}" for name in signature(Augmentation).parameters]
    options = {"--help", *(f"--{name.replace('_', '-')}" for name in names)}
    group = make_parser()
    for command in [group, *_walk(group)]:
        for parameter in command.params:
            options.update(parameter.opts, parameter.secondary_opts)
    return options


def keep_registry(patch: pytest.MonkeyPatch) -> None:
    """Has models that pages and scripts register forgotten again; here they begin with those of the package."""
    for name in ("_mask_models", "_depth_models"):
        models = getattr(registry, name)
        patch.setattr(registry, name, {key: make for key, make in models.items() if _is_own(make)})


def _is_own(make: Callable[..., object]) -> bool:
    return getattr(make, "func", make).__module__.startswith("depthbokeh.")  # of a partial, the function's module


def run_script(words: Sequence[str]) -> None:
    """Runs ``python FILE ...`` in this process."""
    script = ROOT / words[1]
    if not script.is_file():
        raise AssertionError(f"{words[1]}: no such file")
    with pytest.MonkeyPatch.context() as patch:
        keep_registry(patch)
        patch.setattr(sys, "argv", [str(script), *words[2:]])
        patch.syspath_prepend(str(script.parent))
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise AssertionError(f"{' '.join(words)} ends with {end.code}") from end


def parse_script(words: Sequence[str]) -> None:
    """Has a script's own argparse read the arguments, and stops it there."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *given: Any, **named: Any) -> Any:
        parse(parser, *given, **named)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        try:
            run_script(words)
        except Parsed:
            return
    raise AssertionError(f"{words[1]} reads no arguments")


def parse_launcher(words: Sequence[str]) -> None:
    """Reads ``accelerate launch`` or ``torchrun`` by its own parser, then what it starts by ours."""
    if words[0] == "torchrun":
        from torch.distributed.run import get_args_parser

        told = get_args_parser().parse_args(list(words[1:]))
        module, script, arguments = told.module, told.training_script, told.training_script_args
    else:
        from accelerate.commands.launch import launch_command_parser

        if words[1] != "launch":
            raise AssertionError(f"accelerate {words[1]}: expected launch")
        told = launch_command_parser().parse_args(list(words[2:]))
        module, script, arguments = told.module, told.training_script, told.training_script_args
    if not module or script != "depthbokeh.cli":
        raise AssertionError(f"starts {script}: expected -m depthbokeh.cli")
    parse_depthbokeh(arguments)


def check_make(words: Sequence[str]) -> None:
    """Has make say what it would do."""
    if shutil.which("make") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("no make")
    told = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode:
        raise AssertionError(told.stderr)


def check_on_gpu(words: Sequence[str]) -> None:
    """Looks for the steps that ``benchmarks/on_gpu.sh FOLDER STEP...`` is asked for."""
    script = ROOT / words[0]
    if not os.access(script, os.X_OK):
        raise AssertionError(f"{words[0]}: no such program")
    for step in words[2:]:
        if f"if wanted {step};" not in script.read_text():
            raise AssertionError(f"{words[0]} has no step {step!r}")


def check_pip(words: Sequence[str]) -> None:
    """Fails where ``pip install ...`` has unknown options, or asks for what the project does not have or test."""
    if list(words[:2]) != ["pip", "install"]:
        raise AssertionError(f"{words[:2]}: expected pip install")
    rest = iter(words[2:])
    for word in rest:
        if word in _PIP_OPTIONS:
            next(rest, None)
        elif word.startswith("-") and word not in _PIP_SWITCHES:
            raise AssertionError(f"pip install has no {word!r}, as far as is known here")
        elif not word.startswith(("-", ".")):
            _check_requirement(Requirement(word))


def _check_requirement(wanted: Requirement) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if wanted.name != "depthbokeh" and not re.search(rf'"{wanted.name}\b', project):
        raise AssertionError(f"{wanted.name} is no package that pyproject.toml names")
    for extra in wanted.extras:
        if not re.search(rf"^{extra} = \[", project, re.MULTILINE):
            raise AssertionError(f"there is no extra {extra!r}")
    if wanted.name == "torch" and wanted.specifier:
        tested = re.search(r"^TORCH [?:]?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        if tested is None or not wanted.specifier.contains(tested[1]):
            raise AssertionError(f"{wanted} is not the torch that the Makefile installs")


def check_git(words: Sequence[str]) -> None:
    """Knows the few commands of a release."""
    if words[1] not in ("commit", "tag", "push") or {word for word in words if word[0] == "-"} - {"-a", "-m", "-am"}:
        raise AssertionError(f"{' '.join(words)} is none of the commands that are known here")


def run_command(command: Command) -> None:
    """Runs a command as it is."""
    program = command.words[0] if command.words else ""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in command.environment:
            patch.setenv(name, value)
        if program == "depthbokeh":
            run_depthbokeh(command.words[1:])
        elif program == "python" and not command.words[1].startswith("-"):
            run_script(command.words)
        else:
            raise AssertionError(f"{program!r} is run by nothing here: name it in tests/guides_covered.py")
