"""What many tests share: one small rendered set, one short training."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.data.builders import write_broden
from tests.running import Bench, Run, fit

# the same examples in every run, however slow the machine
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _own_process() -> Iterator[None]:
    """One thread, no command line of pytest's for LightningCLI to see, no pictures on a screen."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train.py"])
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("COLUMNS", "200")
        yield


@pytest.fixture(autouse=True)
def _leaves_no_environment() -> Iterator[None]:
    """Put the variables back that a trainer sets, such as the seed."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before) - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Folders of the rendered set, which the first training writes."""
    folder = tmp_path_factory.mktemp("bench")
    return Bench(folder / "set", folder / "cache", folder / "runs")


@pytest.fixture(scope="session")
def trained(bench: Bench) -> Run:
    """Two epochs on the rendered set, with pictures of two detectors; not to be changed."""
    return fit(bench, bench.runs, "--figures.detectors", "2", "--figures.images", "2")


@pytest.fixture
def broden_root(tmp_path: Path) -> Path:
    """The hand-made data set of four images, to be damaged at will."""
    return write_broden(tmp_path / "broden")
