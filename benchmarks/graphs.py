"""CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def capture(call: Callable[[], Result]) -> Callable[[], Result]:
    """The same call as one CUDA graph: what it returns is overwritten by the next one."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # warmed up off the stream that captures, as torch asks for
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Result:
        graph.replay()
        return result

    return replay
