"""Thousands of mutants of all that is read: `pytest -m fuzz`, with another seed by `UIBE_FUZZ_SEED=7`."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.harness import Kind, Mutation, Wrong, fuzz, judged, summary, tell
from tests.fuzz.kinds import KINDS

Judge = Callable[[Path, Random], None]
SEED = os.environ.get("UIBE_FUZZ_SEED", "0")
MUTANTS = {
    "tables": 600,
    "pictures": 600,
    "skipped": 300,
    "caches": 400,
    "shards": 300,
    "checkpoints": 300,
    "weights": 150,
    "folders": 250,
    "runs": 150,
    "configs": 80,
    "arguments": 80,
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kind:
    return KINDS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.mark.fuzz
@pytest.mark.parametrize("name", KINDS)
def test_every_mutant_is_read_right_or_refused_by_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = fuzz(KINDS[name](tmp_path), tmp_path, SEED, MUTANTS[name])
    counts = summary(records)
    with capsys.disabled():
        tell(f"\n{name:12} {len(records):5} mutants, seed {SEED}: {counts}\n")
    wrong = [record for record in records if record.outcome == "wrong"]
    assert not wrong, "\n\n".join(f"{each.number} {each.mutations}: {each.detail}" for each in wrong[:10])
    assert len(records) == MUTANTS[name]
    assert counts["accepted"]


def test_there_are_enough_mutants() -> None:
    assert MUTANTS.keys() == KINDS.keys()
    assert sum(MUTANTS.values()) >= 2_000


def test_what_is_not_mutated_is_accepted(kind: Kind, tmp_path: Path) -> None:
    nothing = Mutation("nothing", "accepted", lambda root, draw: [])
    for seed in range(4):  # each kind is read in several ways
        outcome = judged(kind._replace(mutations=[nothing]), tmp_path / str(seed), Random(seed))
        assert outcome[1] == "accepted", outcome


def _state(root: Path) -> dict[str, object]:
    """What is at each path below a folder."""
    paths = sorted(root.rglob("*"))
    return {
        str(path.relative_to(root)): path.readlink()
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else path.stat().st_mode
        for path in paths
    }


def test_each_mutation_changes_something(kind: Kind, tmp_path: Path) -> None:
    before = _state(kind.pristine)

    def changes(mutation: Mutation, seed: int) -> bool:
        folder = tmp_path / "mutant"
        shutil.copytree(kind.pristine, folder, symlinks=True)
        mutation.apply(folder, Random(seed))
        after = _state(folder)
        shutil.rmtree(folder)
        return after != before

    for mutation in kind.mutations:
        assert any(changes(mutation, seed) for seed in range(20)), mutation.name  # some draw what is there


def _forget(folder: Path, draw: Random) -> None:
    raise Wrong("another number")


def _stumble(folder: Path, draw: Random) -> None:
    raise KeyError("bare")


def _quiet_refusal(folder: Path, draw: Random) -> None:
    raise ValueError("not one of ours")


@pytest.mark.parametrize("judge", [_forget, _stumble, _quiet_refusal])
def test_wrong_outcomes_are_noticed(tmp_path: Path, judge: Judge) -> None:
    (tmp_path / "pristine").mkdir()
    nothing = Mutation("nothing", "either", lambda root, draw: [])
    kind = Kind("wrong", tmp_path / "pristine", [nothing], judge)
    assert [record.outcome for record in fuzz(kind, tmp_path, "0", 3)] == ["wrong"] * 3


def _hang(folder: Path, draw: Random) -> None:
    while True:
        pass


def _blow_up(folder: Path, draw: Random) -> None:
    len(bytearray(2**33))


def _end(folder: Path, draw: Random) -> None:
    os._exit(3)


@pytest.mark.parametrize(
    ("judge", "mention"), [(_hang, "Hang"), (_blow_up, "MemoryError"), (_end, "ended with 3")]
)
def test_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judge: Judge, mention: str) -> None:
    monkeypatch.setattr("tests.fuzz.harness.SECONDS", 0.5)
    (tmp_path / "pristine").mkdir()
    nothing = Mutation("nothing", "either", lambda root, draw: [])
    kind = Kind("limits", tmp_path / "pristine", [nothing], judge)
    [record] = fuzz(kind, tmp_path, "0", 1)
    assert record.outcome == "wrong"
    assert mention in record.detail
