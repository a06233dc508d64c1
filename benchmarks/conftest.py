"""Options of the benchmark suite and the machine's data in its JSON."""

from __future__ import annotations

from typing import Any

import pytest
from tap_loop import YARDSTICKS, TapLoop, TapLoopUnavailable, describe_machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="small pictures only, half a minute")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    del config
    machine_info.pop("node", None)  # the machine's name is nobody's business
    machine_info["depthbokeh"] = describe_machine()


@pytest.fixture(scope="session")
def yardsticks() -> dict[str, TapLoop | str]:
    """Every variant of the tap loop, or why there is none."""
    loops: dict[str, TapLoop | str] = {}
    for name in YARDSTICKS:
        try:
            loops[name] = TapLoop(name)
        except TapLoopUnavailable as error:
            loops[name] = str(error)
    return loops
