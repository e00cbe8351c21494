"""Loss terms, gradients, moments, quantiles, tallies and scores of 2 and 3 processes are those of one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.worker import PIXELS
from uibe.data.synthetic import render

pytestmark = pytest.mark.distributed
WORLDS = (1, 2, 3)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], dict[str, Any]]:
    """What each process of each run found, by their number and rank; 7 and 5 images divide by neither."""
    folder = tmp_path_factory.mktemp("exact")
    render(folder / "set", num_train=7, num_val=5, image_size=32, mask_size=16)
    for world in WORLDS:
        started = [_start(rank, world, folder) for rank in range(world)]
        for process in started:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    return {
        (world, rank): torch.load(folder / f"{world}-{rank}.pt", weights_only=True)
        for world in WORLDS
        for rank in range(world)
    }


def _start(rank: int, world: int, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.distributed.worker", str(rank), str(world), str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture(params=[(world, rank) for world in WORLDS[1:] for rank in range(world)], ids=str)
def pair(
    request: pytest.FixtureRequest, results: dict[tuple[int, int], dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The results of one process alone, and of one of several."""
    return results[1, 0], results[request.param]


Pair = tuple[dict[str, Any], dict[str, Any]]


@pytest.mark.parametrize("kind", ["fused", "plain"])
def test_terms_gradients_and_trajectory(pair: Pair, kind: str) -> None:
    alone, several = (each[kind] for each in pair)
    for part in ("terms", "gradients", "state"):
        torch.testing.assert_close(several[part], alone[part], rtol=1e-10, atol=1e-12)
    assert all(gradient.abs().max() > 1e-3 for gradient in alone["gradients"].values())


def test_moments_and_means(pair: Pair) -> None:
    alone, several = pair
    torch.testing.assert_close(several["moments"], alone["moments"], rtol=1e-12, atol=1e-12)
    assert several["moments"]["num_pixels"] == PIXELS
    assert several["means"] == alone["means"] == {"loss": torch.tensor(3.0, dtype=torch.float64)}


def test_quantiles_are_the_same_bits(pair: Pair) -> None:
    alone, several = (each["quantiles"] for each in pair)
    assert all(torch.equal(left, right) for left, right in zip(alone, several, strict=True))


def test_criteria(pair: Pair) -> None:
    alone, several = (each["criteria"] for each in pair)
    assert several == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("part", ["thresholds", "tallies", "labels", "firing", "replicates", "grouped"])
def test_dissection_is_the_same_bits(pair: Pair, part: str) -> None:
    alone, several = (each["dissection"][part] for each in pair)
    torch.testing.assert_close(several, alone, rtol=0, atol=0)


def test_scores_are_equal(pair: Pair) -> None:
    alone, several = (each["dissection"]["scores"] for each in pair)
    assert several == alone
    assert alone["1"]["S1"] > 0


def test_every_image_is_counted(results: dict[tuple[int, int], dict[str, Any]]) -> None:
    seen = {key: each["dissection"]["tallies"]["0"]["num_pixels"] for key, each in results.items()}
    assert len({int(count) for count in seen.values()}) == 1


def test_helpers(results: dict[tuple[int, int], dict[str, Any]]) -> None:
    for (world, _), found in results.items():
        assert found["sum"].tolist() == [sum(range(world)), world]
        assert sum(found["sizes"]) == PIXELS
        assert found["broadcast"].tolist() == [1.0]
        assert found["text"] == "from 0"
