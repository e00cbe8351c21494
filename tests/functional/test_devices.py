"""Results have the type that is promised and lie where the arguments do; the meta device shows it."""

import pytest
import torch

from uibe.functional.criteria import pixel_sums
from uibe.functional.detectors import is_natural
from uibe.functional.explanation import class_influence, coordinates, split_prediction
from uibe.functional.fused import fused_loss_sums
from uibe.functional.label_counts import table_scratch
from uibe.functional.losses import loss_sums
from uibe.functional.moments import pixel_moments
from uibe.functional.orthogonal import nearest_rotation, orthogonality_error, rotation
from uibe.functional.places import divided
from uibe.functional.tally import empty_tally

META = torch.device("meta")
KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def test_sums_lie_where_the_pixels_do() -> None:
    pixels = torch.zeros(4, 3, device=META)
    for sums in (pixel_sums(pixels), loss_sums(pixels, 2.0), fused_loss_sums(pixels, 2.0)):
        assert {each.device for each in sums} == {META}
    assert {each.device for each in pixel_moments(pixels)} == {META}


def test_sums_for_criteria_are_float64_whatever_the_logits() -> None:
    for dtype in (torch.float32, torch.float64):
        assert {each.dtype for each in pixel_sums(torch.zeros(4, 3, dtype=dtype))} == {torch.float64}


@pytest.mark.parametrize("dtype", KINDS[2:])
def test_loss_sums_keep_the_type_of_the_logits(dtype: torch.dtype) -> None:
    for sums in (loss_sums, fused_loss_sums):
        assert {each.dtype for each in sums(torch.zeros(4, 3, dtype=dtype), 2.0)} == {dtype}


@pytest.mark.parametrize("dtype", KINDS)
def test_orthogonality_keeps_the_type_and_the_device(dtype: torch.dtype) -> None:
    assert orthogonality_error(torch.eye(3, dtype=dtype)).dtype == dtype
    assert orthogonality_error(torch.eye(3, dtype=dtype, device=META)).device == META
    assert rotation(torch.zeros(3, 3, device=META), "cayley").device == META


def test_fewer_directions_than_dimensions_can_be_orthogonal() -> None:
    assert float(orthogonality_error(torch.eye(5)[:2])) == 0.0


def test_the_nearest_rotation_keeps_the_type() -> None:
    for dtype in KINDS[2:]:
        assert nearest_rotation(torch.eye(3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", KINDS)
def test_channels_are_recognized_in_any_type(dtype: torch.dtype) -> None:
    assert is_natural(torch.eye(3, dtype=dtype))
    assert not is_natural(2 * torch.eye(3, dtype=dtype))


def test_empty_counts_and_scratch_memory_lie_where_they_are_wanted() -> None:
    assert [(each.device, each.dtype) for each in empty_tally(2, 3, 2, "meta")] == [(META, torch.int64)] * 3
    scratch = table_scratch("meta")
    assert (scratch.device, scratch.dtype) == (META, torch.uint8)


def test_coordinates_move_to_a_device() -> None:
    moved = coordinates(torch.eye(2), torch.zeros(2)).to(META)
    assert {each.device for each in moved} == {META}


def test_influence_is_summed_in_the_type_of_the_basis() -> None:
    # 2 ** 25 + 3 is no number of float32
    weights, features = torch.tensor([2.0**25, 1, 1, 1]), torch.zeros(1, 1, 2, 2)
    basis = coordinates(torch.eye(1), torch.zeros(1))
    found = class_influence(lambda x: (x.flatten(1) * weights).sum(1)[:, None], features, basis, 1)
    assert found.tolist() == [[2.0**25 + 3]]
    meta = class_influence(lambda x: x.mean((2, 3)), features.to(META), basis.to(META), num_classes=1)
    assert meta.device == META


def test_the_parts_of_a_prediction_are_float64_while_the_head_works_in_its_own_type() -> None:
    weight, features = torch.tensor([[1.0], [2.0]]), torch.ones(1, 2, 1, 1)
    basis = coordinates(torch.eye(2), torch.zeros(2))
    found = split_prediction(lambda x: x.mean((2, 3)) @ weight, features, [0], basis)
    assert [each.dtype for each in found] == [torch.float64] * 4 + [torch.float32]
    assert found.contributions.tolist() == [[[1.0, 2.0]]]


def test_positions_are_divided_on_any_device() -> None:
    for part in divided(torch.arange(6, device=META), width=4):
        assert (part.device, part.dtype) == (META, torch.int64)
