"""Commands of the documentation that are not run as they stand: what is checked of each instead, and why.

Whatever is not named here is run. A command is named by its whole text, so that a slip of the pen in a page makes it
another one, which is run and fails; and what no page has any more is found by the tests, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guides import Command
from guides_shell import (
    check_git,
    check_make,
    check_on_gpu,
    check_pip,
    parse_depthbokeh,
    parse_launcher,
    parse_script,
    run_depthbokeh,
    write_photo_and_maps,
)


@dataclass(frozen=True)
class Cover:
    """Another check than running the command: it gets the command's words and fails if they are wrong."""

    check: Callable[[Sequence[str]], None]
    why: str

    def run(self, command: Command) -> None:
        self.check(command.words)


def parse(why: str) -> Cover:
    """The command's arguments are read by the real parser, and nothing is done."""
    return Cover(lambda words: parse_depthbokeh(words[1:]), why)


def add(options: str, why: str, photo: tuple[int, int] | None = None) -> Cover:
    """The command runs with further options, which go before its own; photo.jpg and its maps have another size."""

    def check(words: Sequence[str]) -> None:
        parse_depthbokeh(words[1:])
        if photo is not None:
            write_photo_and_maps(Path(), photo)
        run_depthbokeh([*words[1:], *options.split(";")])

    return Cover(check, why)


_LARGE = "coordinates are those of a large photo, which is reduced"
_TINY_NETWORK = (
    "--mask-model;deeplab_mobilenet;--mask-options;{backbone: test_resnet, width: 8};--size;32,48;--steps;1;--batch;2;"
    "--workers;0;--strength;0.06;--validate-every;1"
)

COVERED: dict[str, Cover] = {
    "make demo": Cover(check_make, "makes an environment; tests/test_cli.py runs depthbokeh demo"),
    "make test": Cover(check_make, "runs this test; .ci/run does it"),
    "make lint": Cover(check_make, ".ci/run does it"),
    "make oldest": Cover(check_make, ".ci/run does it"),
    "make bench": Cover(check_make, "takes minutes alone on a machine; .ci/run does bench-quick"),
    "make docs": Cover(check_make, ".ci/run does it"),
    ". .venv/bin/activate": Cover(lambda words: None, "the environment of make demo"),
    **dict.fromkeys(
        (
            "pip install depthbokeh",
            "pip install 'depthbokeh[app]'",
            "pip install torch==2.13.0",
            "pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu",
            "pip install 'setuptools>=77' wheel ninja",
            "pip install --no-build-isolation .",
            "pip install --no-build-isolation --no-binary depthbokeh depthbokeh",
            "DEPTHBOKEH_CUDA=1 pip install --no-build-isolation .",
        ),
        Cover(check_pip, "needs a network; .ci/run installs by the Makefile, with the same torch"),
    ),
    "DEPTHBOKEH_CUDA=1 depthbokeh info": parse("compiles for minutes where there is nvcc; tests/test_native.py"),
    **dict.fromkeys(
        ("git commit -am 'Version 1.2.3'", "git tag -a v1.2.3 -m 'Version 1.2.3'", "git push origin main v1.2.3"),
        Cover(check_git, "a release of this project"),
    ),
    **dict.fromkeys(
        ("depthbokeh app", "depthbokeh app --host 0.0.0.0 --port 8000"),
        parse("serves until it is stopped; tests/test_app_browser.py has a browser"),
    ),
    **dict.fromkeys(
        (
            "python examples/recover_radius.py --size 48x48",
            "python examples/loss_layer.py --pairs 3 --size 48x32 --steps 120",
            "python examples/depth_from_defocus.py --size 96x64 --steps 40",
            "python examples/recover_lens.py --size 96x64 --shapes disk ring:0.5",
            "python examples/video.py --frames 5 --size 96x64",
            "python examples/swap_depth_model.py --size 96x64",
            "python examples/finetune_ebb.py run --pairs 4 --size 48x32 --steps 12",
        ),
        Cover(parse_script, "tests/test_examples.py runs these short forms and looks at what comes of them"),
    ),
    "benchmarks/on_gpu.sh results check": Cover(check_on_gpu, "needs a GPU"),
    "depthbokeh render photo.jpg -o bokeh.jpg --subject 420,80,600,940": add("--max-size;96", _LARGE, (1040, 1040)),
    "depthbokeh render photo.jpg -o bokeh.jpg --disparity disparity.png --focus 512,300": add(
        "--max-size;96", _LARGE, (600, 400)
    ),
    "depthbokeh weights get mask_rcnn_resnet50_fpn megadepth": parse("downloads; tests/test_weights.py has a server"),
    "depthbokeh render photo.jpg -o bokeh.jpg --disparity disparity.png --quality exact": add(
        "--max-size;32", "hundreds of views take ten seconds"
    ),
    "depthbokeh fit photo.jpg bokeh.jpg --disparity disparity.png": add("--max-size;32", "takes five seconds"),
    "depthbokeh synthesize --pairs 500 --out pairs/": add(
        "--pairs;1;--size;48x32;--samples;8;--workers;1", "500 pairs take an hour"
    ),
    "depthbokeh synthesize --portraits --pairs 480 --size 144x96 --out pairs": add(
        "--pairs;4;--size;48x32;--samples;8;--workers;1", "480 pairs take an hour"
    ),
    "depthbokeh prepare EBB/ -o ebb/": add("--workers;1;--out;prepared_now", "no processes are started by a test"),
    "depthbokeh finetune runs/vgg --data ebb/ --mask-model deeplab_vgg16": parse(
        "days of training; docs/finetuning.md has it once more"
    ),
    "depthbokeh finetune runs/vgg --data ebb --mask-model deeplab_vgg16": add(_TINY_NETWORK, "days of training"),
    "depthbokeh finetune runs/small --data pairs --train-split 40-479 --val-split 0-39 --disparity coarse_disparity "
    "--size 96,144 --mask-model deeplab_mobilenet --mask-options '{backbone: test_resnet, width: 32}' "
    "--learn-per-photo strength --gap 0.2 --strength 0.04 --batch 8 --lr 3e-3 --steps 500 --validate-every 100": add(
        "--train-split;2-3;--val-split;0-1;--size;32,48;--mask-options;{backbone: test_resnet, width: 8};--steps;1;"
        "--batch;2;--workers;0;--strength;0.06",
        "hours of training",
    ),
    "accelerate launch --num_processes 8 -m depthbokeh.cli finetune runs/vgg --data ebb --precision bf16": Cover(
        parse_launcher, "eight GPUs"
    ),
    "torchrun --nproc-per-node 2 -m depthbokeh.cli finetune runs/vgg --data ebb": Cover(
        parse_launcher, "tests/test_finetune.py trains by two processes"
    ),
    "depthbokeh evaluate --target EBB/Training/bokeh --input EBB/Training/original --ids 4400-4693 "
    "--renderer fast,default --mask-model grabcut,deeplab_vgg16=weights.pth --disparity maps/ --out report/": add(
        "--mask-model;grabcut", "a checkpoint of 76 MB"
    ),
}

# Replaced in Python blocks before they run: page, what stands there, what runs, why.
PYTHON: list[tuple[str, str, str, str]] = [
    ("docs/data.md", "num_workers=4", "num_workers=0", "no processes are started by a test"),
    ("docs/data.md", "crop=(512, 512)", "crop=(32, 48)", "the pictures here have 96 x 64 pixels"),
]

# Options of other programs that pages mention.
FOREIGN_OPTIONS = {
    "--install": "xcode-select",
    "--no-build-isolation": "pip",
    "--num_processes": "accelerate",
}
