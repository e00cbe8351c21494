"""Sums over processes, in threads that stand in for them; `tests/distributed` has the real ones."""

from datetime import timedelta

import pytest
import torch
from torch import Tensor

from tests.functional.worlds import World, in_a_world
from uibe.functional import processes
from uibe.functional.processes import (
    barrier,
    broadcast,
    global_sum,
    global_sums,
    long_barrier,
    rank,
    shared_text,
    sizes,
    world_size,
)
from uibe.functional.quantiles import column_quantiles


def test_one_process_is_the_first_of_one() -> None:
    assert (rank(), world_size()) == (0, 1)
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    assert global_sums(values) == (values,)
    total = global_sum(values)
    total += 1  # the argument is left alone
    assert values.tolist() == [1.0, 2.0]
    assert not total.requires_grad
    broadcast([values])
    barrier()
    with long_barrier() as wait:
        wait()
    large = 2**24 + 1  # no number of float32
    assert (sizes(large, torch.device("cpu")), shared_text("here")) == ([large], "here")


def test_a_module_without_distributed_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def is_available(self) -> bool:
            return False

    monkeypatch.setattr(processes, "dist", Nothing())
    assert (rank(), world_size()) == (0, 1)


@pytest.mark.parametrize("size", [2, 3])
def test_every_process_has_its_number_and_the_sum(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> tuple[int, int, list[int], list[int], list[int]]:
        local = torch.tensor([rank() + 1, 10 * rank()])
        total = global_sum(local)
        assert local.tolist() == [rank() + 1, 10 * rank()]
        return rank(), world_size(), local.tolist(), total.tolist(), sizes(rank() + 5, torch.device("cpu"))

    found = in_a_world(size, body, monkeypatch)
    assert [each[0] for each in found] == list(range(size))
    totals = [sum(column) for column in zip(*(each[2] for each in found), strict=True)]
    for _, world, _, total, each_size in found:
        assert world == size
        assert total == totals
        assert each_size == list(range(5, 5 + size))


def test_the_first_process_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> tuple[list[list[float]], str]:
        own = [torch.full((2,), float(rank() + 1)), torch.tensor([7.0 - rank()], requires_grad=True)]
        broadcast(own)
        return [each.tolist() for each in own], shared_text(f"runs/{rank()}")

    assert in_a_world(2, body, monkeypatch) == [([[1.0, 1.0], [7.0]], "runs/0")] * 2


def test_sums_carry_the_gradient_that_averaging_makes_the_global_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # loss = (sum of a)^2 * (sum of b) over both processes, at a = (1, 2) and (3, 4), b = 5 and 6:
    # sums 10 and 11; dloss/da = 2 * 10 * 11 = 220, dloss/db = 100; averaged over 2, each counts twice
    def body() -> tuple[float, list[float], float, bool]:
        a = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[rank()].requires_grad_()
        b = torch.tensor(5.0 + rank(), requires_grad=True)
        fixed = torch.tensor([[1.0]])
        first, second, third = global_sums(a, b, fixed)
        assert (first.shape, second.shape, third.tolist()) == ((2,), (), [[2.0]])
        loss = first.sum().square() * second
        da, db = torch.autograd.grad(loss, (a, b))
        return loss.item(), da.tolist(), db.item(), third.requires_grad

    for loss, da, db, constant in in_a_world(2, body, monkeypatch):
        assert (loss, da, db, constant) == (1100.0, [440.0, 440.0], 200.0, False)


def test_a_sum_of_sums_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    monkeypatch.setattr(processes, "dist", world)

    def body() -> tuple[Tensor, ...]:
        return global_sums(torch.ones(2, 3), torch.tensor(2.0), torch.zeros(0))

    for first, second, third in world.run(body):
        assert (first.tolist(), second.tolist(), third.tolist()) == ([[2.0] * 3] * 2, 4.0, [])
    assert world.calls == ["all_reduce"]


def test_barriers_wait_for_all_and_the_long_one_for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    monkeypatch.setattr(processes, "dist", world)

    def body() -> None:
        barrier()
        with long_barrier() as wait:
            wait()

    world.run(body)
    assert world.calls == ["barrier of everybody", "new_group", "barrier of gloo", "destroy"]
    assert world.patience[0] is not None
    assert world.patience[0] >= timedelta(days=1)


def test_a_long_barrier_is_taken_down_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    monkeypatch.setattr(processes, "dist", world)

    def body() -> None:
        with pytest.raises(KeyError), long_barrier():
            raise KeyError

    world.run(body)
    assert world.groups == 0
    assert len(world.patience) == 1


@pytest.mark.parametrize("memory", [0, 10**6])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.4])
def test_quantiles_over_processes_are_those_of_all_rows(
    memory: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    values[:, 2] = values[:, 2].round()
    parts = [values[:31], values[31:]]

    def body() -> Tensor:
        return column_quantiles(parts[rank()].split(7), share, 50, memory, global_sum)

    expected = column_quantiles([values], share, 50)
    for found in in_a_world(2, body, monkeypatch):
        assert torch.equal(found, expected)


def test_rows_of_all_processes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        with pytest.raises(ValueError, match="expected 7 rows to take a quantile of, got 6"):
            column_quantiles([torch.ones(3, 1)], 0.1, 7, add_up=global_sum)

    in_a_world(2, body, monkeypatch)
