"""What each image adds to the counts of labelled detectors: the tally of that image alone."""

import pytest
import torch

from tests.functional.test_tally import CATEGORIES, counted, random_case, unions
from uibe.functional.label_counts import label_counts
from uibe.functional.tally import Union, image_counts


@unions
@pytest.mark.parametrize("seed", range(4))
def test_each_image_counts_as_in_a_tally_of_its_own(seed: int, union: Union) -> None:
    maps, thresholds, labels = random_case(seed, images=6, detectors=9)
    categories = torch.tensor(CATEGORIES)
    concepts = torch.randint(len(CATEGORIES), (9,), generator=torch.Generator().manual_seed(seed))
    [table] = label_counts(labels)
    found = image_counts(maps, thresholds, table, categories, concepts, union)
    assert {counts.dtype for counts in found} == {torch.int64}
    for image, each in enumerate(labels):
        alone = counted(maps[image : image + 1], thresholds, [each], union)
        assert torch.equal(found.intersections[image], alone.intersections.gather(1, concepts[:, None])[:, 0])
        owner = categories[concepts][:, None]
        assert torch.equal(found.activated[image], alone.activated.gather(1, owner)[:, 0])
        assert torch.equal(found.labelled[image], alone.labelled)


def test_labels_of_other_images_and_unknown_unions_are_refused() -> None:
    maps, thresholds, labels = random_case(0, images=2)
    concepts, categories = torch.zeros(3, dtype=torch.int64), torch.tensor(CATEGORIES)
    [table] = label_counts(labels)
    with pytest.raises(ValueError, match=r"^expected labels for 1 images, got 2$"):
        image_counts(maps[:1], thresholds, table, categories, concepts)
    with pytest.raises(
        ValueError, match=r"^expected union to be one of annotated, netdissect-lite, got 'all'$"
    ):
        image_counts(maps, thresholds, table, categories, concepts, "all")  # type: ignore[arg-type]


def test_a_map_with_nan_is_refused() -> None:
    maps, thresholds, labels = random_case(0, images=1)
    maps[0, 1, 0, 0] = torch.nan
    [table] = label_counts(labels)
    first = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^expected finite projections to count masks of, got NaN$"):
        image_counts(maps, thresholds, table, torch.tensor(CATEGORIES), first)
