"""Figures of a detector: the picture as it is where the detector fires, dimmed elsewhere."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from uibe.report.figures import detector_figure

RED = Image.new("RGB", (16, 16), (255, 0, 0))
FADED = (130 / 255,) * 3
LEFT = torch.tensor([[[1.0, -1.0], [1.0, -1.0]]])


def shown(figure: Figure, panel: int = 0) -> NDArray[np.float64]:
    return np.asarray(figure.axes[panel].images[0].get_array(), dtype=np.float64)


def test_pixels_of_the_mask_are_kept_and_others_faded() -> None:
    picture = shown(detector_figure([RED], LEFT, 0.0, "sky"))
    middle = picture.shape[1] // 2
    assert np.allclose(picture[:, : middle - 1], (1.0, 0.0, 0.0))
    assert np.allclose(picture[:, middle + 1 :], FADED)


def test_the_mask_is_outlined() -> None:
    assert len(detector_figure([RED], LEFT, 0.0, "sky").axes[0].collections) == 1


@pytest.mark.parametrize(("threshold", "colour"), [(5.0, FADED), (-5.0, (1.0, 0.0, 0.0))])
def test_nothing_or_everything_fires(threshold: float, colour: tuple[float, ...]) -> None:
    figure = detector_figure([RED], LEFT, threshold, "sky")
    assert np.allclose(shown(figure), colour)
    assert len(figure.axes[0].collections) == 0


def test_firing_is_strictly_above_the_threshold() -> None:
    assert np.allclose(shown(detector_figure([RED], torch.ones(1, 2, 2), 1.0, "sky")), FADED)


@pytest.mark.parametrize("count", [1, 3, 5, 6])
def test_a_panel_an_image_under_one_caption(count: int) -> None:
    figure = detector_figure([RED] * count, LEFT.repeat(count, 1, 1), 0.0, "sky (object), IoU 0.12")
    assert len(figure.axes) == count
    assert all(len(axis.images) == 1 for axis in figure.axes)
    assert figure.get_suptitle() == "sky (object), IoU 0.12"


def test_it_can_be_saved() -> None:
    file = io.BytesIO()
    detector_figure([RED], LEFT, 0.0, "sky").savefig(file, format="png")
    assert Image.open(file).size[0] > 100


def test_numbers_of_images_and_maps_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        detector_figure([RED, RED], LEFT, 0.0, "sky")
