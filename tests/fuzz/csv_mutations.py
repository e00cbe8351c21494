"""Mutations of the csv files of a folder in Broden's format."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from tests.fuzz.folders import CATEGORIES, read_csv, write_csv
from tests.fuzz.harness import Mutation, Verdict

__all__ = ["CSV_MUTATIONS"]

_FILES = ("index.csv", "label.csv", "category.csv")
_ODD = (
    *("", " ", "0", "-1", "1.0", "1e3", "\u0663", "\uff19", "nan", "0x4", "999999999", "9" * 20, "9" * 5000),
    *("../../etc/passwd", "/etc/passwd", "a/../b/1.png", "C:\\x.png", "\\\\host\\x", ".", "..", "a", "a/"),
    *(";", ";;", "6;6", "6;700", "6;257", "1;nowhere.png", "nowhere.png", "con", "~/x.png", "http://x/y.png"),
    *(
        "\x00",
        "a\x00b",
        "\x1b[31m",
        "two\nlines",
        "tab\t",
        "\u2028",
        "\ud800",
        "😀.png",
        "é" * 300,
        "val",
        "Train",
    ),
)
_COUNTS = (
    "object(2)",
    "object(2);part(3)",
    "object",
    "object(-1)",
    "taste(3)",
    "object(2);",
    f"object({'9' * 5000})",
)


def _rewrite(
    name: str, change: Callable[[list[list[str]], Random], None]
) -> Callable[[Path, Random], Sequence[str]]:
    """A mutation of a table."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        rows = read_csv(root / name)
        if len(rows) > 1:
            change(rows, draw)
        write_csv(root / name, rows)
        return [name]

    return apply


def _encode(encoding: str) -> Callable[[Path, Random], Sequence[str]]:
    def apply(root: Path, draw: Random) -> Sequence[str]:
        name = draw.choice(_FILES)
        text = (root / name).read_text(encoding="utf-8-sig")
        (root / name).write_bytes(text.encode(encoding))
        return [name]

    return apply


def _terminate(terminator: str) -> Callable[[Path, Random], Sequence[str]]:
    def apply(root: Path, draw: Random) -> Sequence[str]:
        name = draw.choice(_FILES)
        write_csv(
            root / name, read_csv(root / name), terminator, draw.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
        )
        return [name]

    return apply


def _bytes(change: Callable[[bytes, Random], bytes]) -> Callable[[Path, Random], Sequence[str]]:
    def apply(root: Path, draw: Random) -> Sequence[str]:
        name = draw.choice(_FILES)
        content = (root / name).read_bytes()
        (root / name).write_bytes(change(content, draw))
        return [name]

    return apply


def _flip(content: bytes, draw: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _as_folder(root: Path, draw: Random) -> Sequence[str]:
    name = draw.choice(_FILES)
    (root / name).unlink()
    (root / name).mkdir()
    return [name]


def _missing(root: Path, draw: Random) -> Sequence[str]:
    name = draw.choice(_FILES)
    (root / name).unlink()
    return [name]


def _shuffle(rows: list[list[str]], draw: Random) -> None:
    body = rows[1:]
    draw.shuffle(body)
    rows[1:] = body


def _reorder(rows: list[list[str]], draw: Random) -> None:
    order = list(range(len(rows[0])))
    draw.shuffle(order)
    rows[:] = [[row[place] for place in order] for row in rows]


def _duplicate(rows: list[list[str]], draw: Random) -> None:
    rows.insert(draw.randint(1, len(rows)), list(draw.choice(rows[1:])))


def _drop(rows: list[list[str]], draw: Random) -> None:
    del rows[draw.randrange(1, len(rows))]


def _extra_column(rows: list[list[str]], draw: Random) -> None:
    place = draw.randint(0, len(rows[0]))
    for number, row in enumerate(rows):
        row.insert(place, draw.choice(["", "7", "text"]) if number else "remark")


def _drop_column(rows: list[list[str]], draw: Random) -> None:
    needed = ("image", "split", "sh", "sw", "number", "name", "category", *CATEGORIES)
    place = draw.choice([place for place, name in enumerate(rows[0]) if name in needed])
    for row in rows:
        del row[place]


def _repeat_column(rows: list[list[str]], draw: Random) -> None:
    place = draw.choice([place for place, name in enumerate(rows[0]) if name in ("image", "split", "object")])
    for number, row in enumerate(rows):
        row.append(row[place] if number % 2 == 0 else "")


def _odd_cell(rows: list[list[str]], draw: Random) -> None:
    row = draw.choice(rows[1:])
    row[draw.randrange(len(row))] = draw.choice(_ODD)


def _odd_header(rows: list[list[str]], draw: Random) -> None:
    rows[0][draw.randrange(len(rows[0]))] = draw.choice(_ODD)


def _swap_cells(rows: list[list[str]], draw: Random) -> None:
    one, other = draw.choice(rows[1:]), draw.choice(rows[1:])
    place = draw.randrange(len(one))
    one[place], other[place] = other[place], one[place]


def _short_row(rows: list[list[str]], draw: Random) -> None:
    draw.choice(rows[1:]).pop()


def _keep(count: int) -> Callable[[list[list[str]], Random], None]:
    def change(rows: list[list[str]], draw: Random) -> None:
        rows[1:] = draw.sample(rows[1:], min(count, len(rows) - 1))

    return change


def _huge(rows: list[list[str]], draw: Random) -> None:
    """A mask size that no memory holds, of a row that may have no mask at all."""
    row = draw.choice(rows[1:])
    for name in draw.choice([("sh",), ("sw",), ("sh", "sw")]):
        row[rows[0].index(name)] = draw.choice(["9999999", "999999999"])
    if draw.random() < 0.5:
        for name in CATEGORIES:
            row[rows[0].index(name)] = "6"


def _share(rows: list[list[str]], draw: Random) -> None:
    draw.choice(rows[1:])[rows[0].index("category")] = draw.choice(_COUNTS)


def _new_label(rows: list[list[str]], draw: Random) -> None:
    number = str(draw.choice([9, 300, 65535]))
    rows.append(
        [number, draw.choice(["Ω, or so", 'a "b"', "<b>", "|"]), "object(1)"] + [""] * (len(rows[0]) - 3)
    )


def _bare_category(root: Path, draw: Random) -> Sequence[str]:
    """A category without labels."""
    rows, images = read_csv(root / "category.csv"), read_csv(root / "index.csv")
    name = f"taste {len(rows)}"  # of its own, if it is done twice
    rows.insert(draw.randint(1, len(rows)), [name, *[""] * (len(rows[0]) - 1)])
    write_csv(root / "category.csv", rows)
    wider = [row and [*row, name if number == 0 else ""] for number, row in enumerate(images)]  # or blank
    write_csv(root / "index.csv", wider)
    return ["category.csv", "index.csv"]


def _blank_lines(content: bytes, draw: Random) -> bytes:
    return content + b"\n" * draw.randint(1, 3)


_TABLE: list[tuple[str, Verdict, str, Callable[[list[list[str]], Random], None]]] = [
    ("rows of the index shuffled", "accepted", "index.csv", _shuffle),
    ("rows of the labels shuffled", "accepted", "label.csv", _shuffle),
    ("columns reordered", "accepted", "index.csv", _reorder),
    ("a row of the index twice", "accepted", "index.csv", _duplicate),
    ("a label twice", "refused", "label.csv", _duplicate),
    ("a category twice", "refused", "category.csv", _duplicate),
    ("a row of the index dropped", "either", "index.csv", _drop),
    ("a label dropped", "either", "label.csv", _drop),
    ("a category dropped", "refused", "category.csv", _drop),
    ("one more column", "accepted", "index.csv", _extra_column),
    ("a column dropped", "refused", "index.csv", _drop_column),
    ("a column of the labels dropped", "refused", "label.csv", _drop_column),
    ("a column twice", "refused", "index.csv", _repeat_column),
    ("an odd cell of the index", "either", "index.csv", _odd_cell),
    ("an odd cell of the labels", "either", "label.csv", _odd_cell),
    ("an odd cell of the categories", "either", "category.csv", _odd_cell),
    ("an odd header", "either", "index.csv", _odd_header),
    ("two cells swapped", "either", "index.csv", _swap_cells),
    ("a row too short", "refused", "index.csv", _short_row),
    ("no image", "refused", "index.csv", _keep(0)),
    ("one image", "refused", "index.csv", _keep(1)),
    ("no label", "refused", "label.csv", _keep(0)),
    ("no category", "refused", "category.csv", _keep(0)),
    ("a huge mask size", "refused", "index.csv", _huge),
    ("a label's categories", "either", "label.csv", _share),
    ("a label that no image has", "accepted", "label.csv", _new_label),
]

CSV_MUTATIONS = [
    *(Mutation(name, verdict, _rewrite(file, change)) for name, verdict, file, change in _TABLE),
    Mutation("a category without labels", "accepted", _bare_category),
    Mutation("a byte order mark", "accepted", _encode("utf-8-sig")),
    Mutation("UTF-16", "refused", _encode("utf-16")),
    Mutation("CRLF", "accepted", _terminate("\r\n")),
    Mutation("CR", "accepted", _terminate("\r")),
    Mutation("blank lines", "accepted", _bytes(_blank_lines)),
    Mutation("bytes of a table", "either", _bytes(_flip)),
    Mutation(
        "a table cut off", "either", _bytes(lambda content, draw: content[: draw.randrange(len(content))])
    ),
    Mutation("an empty table", "refused", _bytes(lambda content, draw: b"")),
    Mutation("a table twice", "either", _bytes(lambda content, draw: content * 2)),
    Mutation("a folder for a table", "refused", _as_folder),
    Mutation("no table", "refused", _missing),
]
