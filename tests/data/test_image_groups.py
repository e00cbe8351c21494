"""Groups of images by their paths, and one line for expressions that find none."""

import re

import pytest

from uibe.data.groups import check_group_by, image_groups
from uibe.errors import ConfigError, DataError

NAMES = [
    "camvid/0016E5_07959.jpg",
    "camvid/Seq05VD_f00000.jpg",
    "camvid/0016E5_08001.jpg",
    "dtd/banded_0002.jpg",
    "camvid/Seq05VD_f00990.jpg",
    "camvid/0001TP_008550.jpg",
    "dtd/banded_0004.jpg",
    "camvid/0016E5_08003.jpg",
]


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (r"^camvid/(\w+)_", [0, 1, 0, 2, 1, 3, 4, 0]),
        (r"^camvid/(\w+)\d{3}\.jpg$", [0, 1, 2, 3, 1, 4, 5, 2]),
        (r"^\w+", [0, 0, 0, 1, 0, 0, 1, 0]),
        (r"(?:dtd)/(banded)_|Seq", [0, 1, 2, 3, 4, 5, 3, 6]),
        (r"_(f00)?\d", [0, 1, 2, 3, 1, 4, 5, 6]),
    ],
    ids=["films", "blocks", "whole match", "first group of those that match", "captures nothing"],
)
def test_images_share_a_group_where_the_same_is_captured(group_by: str, expected: list[int]) -> None:
    assert image_groups(NAMES, group_by, "split 'val'").tolist() == expected


def test_single_images_join_no_group_of_their_number() -> None:
    assert image_groups(["x", "1a", "1b"], r"^(\d)", "split 'val'").tolist() == [0, 1, 1]
    assert image_groups(["1a", "0", "1b"], r"^(\d)[a-z]", "split 'val'").tolist() == [0, 1, 0]


def test_paths_that_repeat_are_images_of_their_own() -> None:
    assert image_groups(["b", "b", "a1", "a2"], "^a", "split 'val'").tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize("group_by", ["^CamVid/", "x*", "(y)?"])
def test_what_matches_no_image_is_said_with_a_path(group_by: str) -> None:
    message = f"data.group_by: {group_by!r} matches no image of split 'val', such as {NAMES[0]!r}; correct it"
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        image_groups(NAMES, group_by, "split 'val'")


def test_a_single_group_is_refused() -> None:
    with pytest.raises(DataError, match=r"^data\.group_by: '\.jpg' puts all images of split 'val' into one"):
        image_groups(NAMES, ".jpg", "split 'val'")


@pytest.mark.parametrize("group_by", ["(", "[a", "a{99999999999}", "(?P<1>a)"])
def test_what_is_no_expression_is_refused(group_by: str) -> None:
    with pytest.raises(ConfigError, match=r"^data\.group_by: .* is no regular expression \(.*\); correct it"):
        check_group_by(group_by)


@pytest.mark.parametrize("group_by", [None, "", r"^camvid/(\w+)_"])
def test_expressions_and_none_are_taken(group_by: str | None) -> None:
    check_group_by(group_by)
