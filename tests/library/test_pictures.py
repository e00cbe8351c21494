"""Images of any kind become the same picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from uibe.errors import DataError
from uibe.library.pictures import pictures

BYTES = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        Image.fromarray(BYTES),
        Image.fromarray(BYTES).convert("RGBA"),
        BYTES,
        BYTES[None],
        BYTES.astype(np.float32) / 255,
        BYTES / 255,
        torch.from_numpy(BYTES).permute(2, 0, 1),
        torch.from_numpy(BYTES).permute(2, 0, 1)[None] / 255,
        (torch.from_numpy(BYTES).permute(2, 0, 1) / 255).double().requires_grad_(),
        [BYTES],
        (Image.fromarray(BYTES),),
    ],
)
def test_all_kinds_give_one_picture(images: object) -> None:
    (picture,) = pictures(images)  # type: ignore[arg-type]
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), BYTES)


def test_lists_may_be_mixed_and_of_several_sizes() -> None:
    found = pictures([BYTES, Image.new("L", (2, 3)), torch.zeros(2, 3, 4, 6)])
    assert [picture.size for picture in found] == [(7, 5), (2, 3), (6, 4), (6, 4)]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 5, 7), np.uint8), r"expected an array \(H, W, 3\)"),
        (torch.zeros(5, 7, 3), r"expected a tensor \(3, H, W\)"),
        (np.full((4, 4, 3), 7.0), r"in \[0, 1\]"),
        (np.full((4, 4, 3), np.nan), r"in \[0, 1\]"),
        (np.zeros((4, 4, 3), np.int64), "uint8"),
        (np.zeros((0, 4, 3), np.uint8), "expected an array"),
        ("a.png", "got a str"),
    ],
)
def test_anything_else_is_refused(images: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pictures(images)  # type: ignore[arg-type]
