"""The same on other numbers of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Result = TypeVar("Result")


def run_on_threads(run: Callable[[], Result], counts: Sequence[int] = (1, 3)) -> list[Result]:
    """What comes out on each number of threads."""
    before, found = torch.get_num_threads(), []
    try:
        for count in counts:
            torch.set_num_threads(count)
            found.append(run())
    finally:
        torch.set_num_threads(before)
    return found
