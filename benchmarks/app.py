"""Times what one waits for in the app, on a photo of 12 megapixels: previews, drafts, the download.

``python benchmarks/app.py [--size 3000x4000] [--out benchmarks/results]``; see README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from layered import Size, parse_size
from report import replace_file
from skimage.data import astronaut
from tap_loop import describe_machine

from depthbokeh.app.look import SHAPES, Look
from depthbokeh.app.pictures import save_preview
from depthbokeh.app.session import Session, Upload
from depthbokeh.app.studio import Pick, Studio
from depthbokeh.maps import resize
from depthbokeh.photo import write_photo

PERSON = Pick(0.03, 0.05, 0.94, 0.95)
REPEATS = 7


def measure(size: Size, folder: Path) -> dict[str, float]:
    """Seconds, medians; opening and downloading are done once."""
    photo = folder / "photo.jpg"
    picture = torch.from_numpy(astronaut()).movedim(2, 0)[None] / 255
    write_photo(photo, resize(picture, size))
    studio = Studio("grabcut", "ground_plane")
    studio.warm_up()
    found: dict[str, float] = {}

    def clock(name: str, act: Callable[[], object], repeats: int = 1) -> None:
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            act()
            seconds.append(time.perf_counter() - start)
        found[name] = statistics.median(seconds)

    sessions: list[Session] = []
    clock("open", lambda: sessions.append(Session(studio, Upload(photo, photo.name))))
    session = sessions[0]
    clock("pick", lambda: session.pick(PERSON))

    def show(look: Look, *, draft: bool) -> None:
        save_preview(session.render_preview(look, draft=draft), folder / "preview.jpg", session.icc)

    for shape in SHAPES:
        look = Look(shape=shape)
        clock(f"{shape}, draft", lambda look=look: show(look, draft=True), REPEATS)
        clock(f"{shape}, layers", lambda look=look: show(look, draft=False), REPEATS)
    clock("download", lambda: session.render_full(Look(), folder / "full.jpg"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=(3000, 4000), help="HEIGHTxWIDTH of the photo")
    parser.add_argument("--out", type=Path, help="folder for app_cpu.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.size, Path(folder))
    for name, seconds in found.items():
        print(f"{name:20} {seconds:6.3f} s")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        report = {"machine": describe_machine(), "size": arguments.size, "seconds": found}
        text = json.dumps(report, indent=1) + "\n"
        replace_file(arguments.out / "app_cpu.json", lambda path: path.write_text(text))


if __name__ == "__main__":
    main()
