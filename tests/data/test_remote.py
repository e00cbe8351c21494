"""Byte ranges over HTTP: exact, or one clear error."""

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.loopback import Loopback, serve
from uibe.data.remote import RangeIgnoredError, RemoteFile, is_remote
from uibe.errors import ConfigError, DataError

CONTENT = bytes(index % 251 for index in range(10_000))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Loopback]:
    (tmp_path / "file").write_bytes(CONTENT)
    with serve(tmp_path) as running:
        yield running


def remote(server: Loopback, retries: int = 3, timeout: float = 20.0, name: str = "file") -> RemoteFile:
    return RemoteFile(f"{server.url}/{name}", retries, pause=0.001, timeout=timeout)


RANGES = [(0, 1), (0, 10_000), (17, 4000), (9_999, 10_000), (5, 5)]


@pytest.mark.parametrize(("start", "end"), RANGES)
def test_ranges_are_those_of_the_file(server: Loopback, tmp_path: Path, start: int, end: int) -> None:
    for file in (remote(server), RemoteFile(str(tmp_path / "file")), RemoteFile(f"file://{tmp_path}/file")):
        assert file.read(start, end) == CONTENT[start:end]
        assert file.size() == len(CONTENT)


def test_only_the_range_is_transferred(server: Loopback) -> None:
    remote(server).read(17, 4000)
    assert server.requests == [("GET", "file", "bytes=17-3999")]


def test_whole_file_and_rest(server: Loopback) -> None:
    assert remote(server).read() == CONTENT
    assert remote(server).read(9_000) == CONTENT[9_000:]


PASSING = ["500", "503", "429", "408", "cut", "short"]


@pytest.mark.parametrize("failure", PASSING)
def test_failures_that_pass_are_tried_again(server: Loopback, failure: str) -> None:
    server.failures.extend([failure, failure, failure])
    assert remote(server, retries=3).read(100, 3000) == CONTENT[100:3000]
    assert server.gets() == {("file", "bytes=100-2999"): 4}


def test_pauses_double(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    server.failures.extend(["500"] * 9)
    assert RemoteFile(f"{server.url}/file", retries=9, pause=0.5).read(0, 5) == CONTENT[:5]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("failure", PASSING)
def test_last_failure_is_one_line(server: Loopback, failure: str) -> None:
    server.always["file"] = failure
    with pytest.raises(
        DataError, match=r"/file: bytes 1 to 100 cannot be read, 3 attempts \(.+\); check"
    ) as caught:
        remote(server, retries=2).read(1, 100)
    assert "\n" not in str(caught.value)
    assert sum(server.gets().values()) == 3


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("404", "no such file"),
        ("403", "access is denied"),
        ("401", "access is denied"),
        ("400", "answered 400"),
    ],
)
def test_final_answers_are_not_tried_again(server: Loopback, status: str, said: str) -> None:
    server.always["file"] = status
    with pytest.raises(DataError, match=said):
        remote(server).read(0, 10)
    assert len(server.requests) == 1


def test_range_beyond_the_end(server: Loopback) -> None:
    with pytest.raises(DataError, match="answered 416"):
        remote(server).read(20_000, 20_001)
    with pytest.raises(DataError, match="100 bytes came instead of 200"):
        remote(server, retries=1).read(9_900, 10_100)


@pytest.mark.parametrize(
    ("failure", "start"), [("ignore", 10), ("ignore", 0), ("shifted", 10), ("shifted", 0)]
)
def test_other_bytes_than_asked_for_are_refused(server: Loopback, failure: str, start: int) -> None:
    server.always["file"] = failure
    with pytest.raises(RangeIgnoredError, match="local copy"):
        remote(server).read(start, 20)
    assert len(server.requests) == 1


def test_whole_file_in_place_of_an_equal_range_is_exact(server: Loopback) -> None:
    server.always["file"] = "ignore"
    assert remote(server).read(0, len(CONTENT)) == CONTENT
    assert remote(server).read() == CONTENT


def test_silence_ends_in_a_timeout(server: Loopback) -> None:
    server.always["file"] = "slow"
    with pytest.raises(DataError, match="2 attempts"):
        remote(server, retries=1, timeout=0.2).read(0, 10)


def test_no_server(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        file = remote(server, retries=1)
    with pytest.raises(DataError, match=r"file: bytes 0 to 3 cannot be read, 2 attempts .*onnect"):
        file.read(0, 3)
    with pytest.raises(DataError, match=r"file: size cannot be read, 2 attempts .*onnect"):
        file.size()


def test_size_is_tried_again_and_a_missing_file_is_final(server: Loopback) -> None:
    with pytest.raises(DataError, match="no such file"):
        remote(server, name="none").size()
    assert len(server.requests) == 2  # HEAD, then GET


def test_missing_local_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        RemoteFile(str(tmp_path / "none")).read(0, 1)
    with pytest.raises(DataError, match="1 attempt"):
        RemoteFile(str(tmp_path)).read(0, 1)


def test_protocols() -> None:
    assert is_remote("s3://bucket/shards")
    assert not is_remote("C:/shards")
    with pytest.raises(ConfigError, match="nothing"):
        RemoteFile("nothing://x")


def test_invalid_url() -> None:
    with pytest.raises(DataError, match="not a valid URL"):
        RemoteFile("http://:x/file").read(0, 1)


@pytest.mark.parametrize("options", [{"retries": -1}, {"pause": -1.0}, {"timeout": 0.0}])
def test_numbers_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        RemoteFile("http://127.0.0.1/x", **options)  # type: ignore[arg-type]


def test_many_threads(server: Loopback) -> None:
    server.decide = lambda name, wanted: "503" if len(server.requests) % 5 == 0 else None
    file = remote(server, retries=9)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: file.read(start, start + 100), range(0, 10_000, 100)))
    assert b"".join(parts) == CONTENT


class _Parts(Dataset[torch.Tensor]):
    def __init__(self, file: RemoteFile) -> None:
        self.file = file

    def __len__(self) -> int:
        return 20

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.tensor(list(self.file.read(500 * i, 500 * (i + 1))), dtype=torch.uint8)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_after_use_in_the_parent(server: Loopback, method: str) -> None:
    file = remote(server)
    assert file.read(0, 3) == CONTENT[:3]  # the parent's event loop runs when it forks
    loader = DataLoader(_Parts(file), None, num_workers=2, multiprocessing_context=method, timeout=60)
    assert torch.cat(list(loader)).numpy().tobytes() == CONTENT
    assert pickle.loads(pickle.dumps(file)).read(0, 3) == CONTENT[:3]  # noqa: S301
