"""Mutations of any files: bytes, length, place, and values of JSON."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.harness import Mutation, Verdict

__all__ = ["byte_mutations", "json_mutation", "odd_value"]

Reseal = Callable[[Any], Any]


def odd_value(draw: Random) -> Any:  # noqa: ANN401 - anything
    """A value that hardly fits anywhere."""
    small = [
        None,
        True,
        0,
        -1,
        1,
        7,
        1.5,
        1e308,
        2**70,
        "",
        "x",
        "1",
        [],
        {},
        [None],
        {"a": [1]},
        ["a", "b", "c"],
    ]
    return draw.choice(
        [*small, "é\n", "../x", "/etc/passwd", "9" * 5000, [[[]]] * 3, float("nan"), float("inf")]
    )


def _chosen(root: Path, pattern: str, draw: Random) -> Path:
    files = sorted(path for path in root.rglob(pattern) if path.is_file())
    return draw.choice(files)


def _flip(path: Path, draw: Random) -> None:
    """Other bits in one byte."""
    content = bytearray(path.read_bytes())
    place = draw.randrange(min(len(content), 300) if draw.random() < 0.3 else len(content))
    content[place] ^= draw.randint(1, 255)
    path.write_bytes(bytes(content))


def _blank(path: Path, draw: Random) -> None:
    """A page of zeros or of noise, as after a crash of the system."""
    content = path.read_bytes()
    start = draw.randrange(len(content))
    length = min(draw.choice([16, 512, 4096]), len(content) - start)
    page = bytes(length) if draw.random() < 0.5 else draw.randbytes(length)
    path.write_bytes(content[:start] + page + content[start + length :])


def _cut(path: Path, draw: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def _lose(path: Path, draw: Random) -> None:
    """Bytes from the middle."""
    content = path.read_bytes()
    start = draw.randrange(len(content))
    path.write_bytes(content[:start] + content[start + draw.choice([1, 4, 512]) :])


def _grow(path: Path, draw: Random) -> None:
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.choice([1, 4, 512])))


def _folder(path: Path, draw: Random) -> None:
    path.unlink()
    path.mkdir()


def _dangle(path: Path, draw: Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _itself(path: Path, draw: Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _text(path: Path, draw: Random) -> None:
    path.write_text(
        draw.choice(["text", "\n", "{}", "[]", "null", "[" * 100_000, '{"a":' * 50_000, "\x00", "'"])
    )


_BYTES: list[tuple[str, Verdict, Callable[[Path, Random], object]]] = [
    ("bits of a byte", "either", _flip),
    ("a blank page", "either", _blank),
    ("cut off", "refused", _cut),
    ("lost bytes", "refused", _lose),
    ("more bytes", "either", _grow),
    ("missing", "refused", lambda path, draw: path.unlink()),
    ("empty", "refused", lambda path, draw: path.write_bytes(b"")),
    ("a folder for it", "refused", _folder),
    ("a link to nothing", "refused", _dangle),
    ("a link to itself", "refused", _itself),
    ("other text", "refused", _text),
]


def byte_mutations(
    pattern: str, strict: Sequence[str] = (), loose: Sequence[str] = (), named: Sequence[str] = ()
) -> list[Mutation]:
    """Mutations of the bytes of one file of a pattern.

    Args:
        pattern: of names.
        strict: names of mutations after which the file must be refused, though of others it need not be.
        loose: names of mutations after which the file need not be refused.
        named: what else a message may blame.
    """

    def mutation(name: str, verdict: Verdict, change: Callable[[Path, Random], object]) -> Mutation:
        def apply(root: Path, draw: Random) -> Sequence[str]:
            path = _chosen(root, pattern, draw)
            change(path, draw)
            return [path.name, *named]

        chosen: Verdict = "refused" if name in strict else "either" if name in loose else verdict
        return Mutation(f"{pattern}: {name}", chosen, apply)

    return [mutation(*each) for each in _BYTES]


def swap_mutation(pattern: str, verdict: Verdict = "refused") -> Mutation:
    """Two files of a pattern in each other's place."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        files = sorted(path for path in root.rglob(pattern) if path.is_file())
        one, other = draw.sample(files, 2)
        kept = one.with_suffix(".kept")
        one.rename(kept)
        other.rename(one)
        kept.rename(other)
        return [one.name, other.name]

    return Mutation(f"{pattern}: two files swapped", verdict, apply)


def copy_mutation(pattern: str, verdict: Verdict = "refused") -> Mutation:
    """One file of a pattern in the place of another."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        one, other = draw.sample(sorted(root.rglob(pattern)), 2)
        shutil.copy(one, other)
        return [other.name]

    return Mutation(f"{pattern}: one file twice", verdict, apply)


def json_mutation(name: str, reseal: Reseal = lambda content: content) -> Mutation:
    """One value of a JSON file changed, or one left out.

    Args:
        name: of the file.
        reseal: gives the changed content a new checksum, where it has one.
    """

    def apply(root: Path, draw: Random) -> Sequence[str]:
        path = _chosen(root, name, draw)
        content = json.loads(path.read_text(encoding="utf-8"))
        touched = change_value(content, draw)
        path.write_text(json.dumps(reseal(content)), encoding="utf-8")
        return [path.name, touched]

    return Mutation(f"{name}: a value", "either", apply)


def change_value(content: Any, draw: Random) -> str:  # noqa: ANN401 - JSON
    """Change one value somewhere inside, or leave one out; the outermost key that leads there."""
    top = ""
    while True:
        key = draw.choice(list(content) if isinstance(content, dict) else list(range(len(content))))
        top = top or str(key)
        inner = content[key]
        if not (isinstance(inner, dict | list) and inner and draw.random() < 0.8):
            break
        content = inner
    if draw.random() < 0.25:
        del content[key]
    else:
        content[key] = odd_value(draw)
    return top
