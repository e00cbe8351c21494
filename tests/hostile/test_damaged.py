"""Damaged images and masks that are left out: what is read then is what is sound, and nothing else."""

import io
from pathlib import Path
from random import Random

import pytest

from datamodules import BrodenDataModule
from tests.data.builders import edit
from tests.fuzz.folders import write_folder
from tests.fuzz.harness import Mutation
from tests.fuzz.picture_mutations import PICTURE_MUTATIONS
from tests.fuzz.reading import Reader
from tests.running import broden, finished, quick, run_train, same_tensors
from uibe.data.broden import BrodenDataset

BY_NAME = {mutation.name: mutation for mutation in PICTURE_MUTATIONS}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("reader"))


def images(reader: Reader, root: Path) -> list[str]:
    """The images that are left."""
    data = BrodenDataModule(root=str(root), damaged="skip", cache=False)
    found = reader.open(data).images
    assert isinstance(found, BrodenDataset)
    return [row.image for row in found.index.rows]


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_left_is_read_as_the_oracle_does(name: str, reader: Reader, tmp_path: Path) -> None:
    mutation: Mutation = BY_NAME[name]
    whole = images(reader, write_folder(tmp_path / "set"))
    [changed] = mutation.apply(tmp_path / "set", Random(0))
    left = images(reader, tmp_path / "set")
    if mutation.verdict != "either":
        assert len(left) == len(whole) - (mutation.verdict == "refused")
    missing = set(whole) - set(left)
    assert len(missing) <= 1
    assert all(Path(image).stem == changed[0] for image in missing)  # images and masks begin with a number
    reader.judge_skipping(tmp_path / "set", Random(0))


def test_run_without_damaged_images_is_that_of_a_set_without_them(broden_root: Path, tmp_path: Path) -> None:
    path = broden_root / "images" / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:-40])
    outcome = run_train(
        *broden(broden_root, tmp_path / "a"), *quick(tmp_path / "skipped"), "--data.damaged", "skip"
    )
    skipped = finished(outcome, tmp_path / "skipped")
    line = next(line for line in io.StringIO((broden_root / "index.csv").read_text()) if "a/1.png" in line)
    edit(broden_root / "index.csv", line, "")
    whole = finished(
        run_train(*broden(broden_root, tmp_path / "b"), *quick(tmp_path / "whole")), tmp_path / "whole"
    )
    assert same_tensors(skipped.state, whole.state)
    assert skipped.dissection.keys() == whole.dissection.keys()
    assert str(skipped.dissection) == str(whole.dissection)
