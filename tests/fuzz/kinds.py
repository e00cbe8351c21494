"""What is fuzzed: each kind of file with its mutations and its judge."""

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.csv_mutations import CSV_MUTATIONS
from tests.fuzz.folders import write_folder
from tests.fuzz.harness import Kind
from tests.fuzz.picture_mutations import PICTURE_MUTATIONS
from tests.fuzz.reading import Reader

__all__ = ["KINDS"]


def _tables(scratch: Path) -> Kind:
    return Kind("tables", write_folder(scratch / "pristine"), CSV_MUTATIONS, Reader(scratch).judge)


def _pictures(scratch: Path) -> Kind:
    return Kind("pictures", write_folder(scratch / "pristine"), PICTURE_MUTATIONS, Reader(scratch).judge)


KINDS: dict[str, Callable[[Path], Kind]] = {"tables": _tables, "pictures": _pictures}
