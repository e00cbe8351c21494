"""Rows of csv files, checked."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence

from uibe.data.sources import Source
from uibe.errors import DataError

__all__ = ["CONTROL", "read_table"]

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # would break a message, a table or a terminal


def read_table(
    source: Source, name: str, columns: Sequence[str]
) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Yield (place for messages, line number, cells by column) of each row of a csv file.

    Args:
        source: has the file.
        name: of the file.
        columns: which must be there, once, without control characters; others may hold anything.

    Raises:
        DataError: the file is missing or malformed; the message names it and the line.
    """
    path = source.place(name)
    try:
        text = source.read(name).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; a data set in Broden's format needs it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    reader = csv.reader(io.StringIO(text, newline=None), strict=True)
    try:
        header = next(reader, [])
        _check_header(path, header, columns)
        for fields in reader:
            where = f"{path}, line {reader.line_num}"
            if len(fields) not in (0, len(header)):
                raise DataError(f"{where}: {len(fields)} fields; expected {len(header)} as in the header")
            if fields:
                row = dict(zip(header, fields, strict=True))
                _check_cells(where, row, columns)
                yield where, reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid csv ({error})") from error


def _check_header(path: str, header: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataError(f"{path}, line 1: no column {', '.join(missing)}; the header has {header}")
    repeated = [name for name in columns if header.count(name) > 1]
    if repeated:
        raise DataError(f"{path}, line 1: column {', '.join(repeated)} is there more than once; keep one")


def _check_cells(where: str, row: Mapping[str, str], columns: Sequence[str]) -> None:
    odd = next((name for name in columns if CONTROL.search(row[name])), None)
    if odd is not None:
        raise DataError(f"{where}: {odd} is {row[odd]!r}, with a control character; take it out")
