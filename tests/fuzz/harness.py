"""Making mutants, and judging each in a child process with limits of time and memory."""

import contextlib
import json
import os
import resource
import shutil
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

import torch

from tests.data.groups import FORK
from tests.hostile.faults import limited_time
from uibe.errors import ConfigError, DataError, MismatchError

__all__ = ["Kind", "Mutation", "Record", "Wrong", "fuzz", "judged", "mutate"]

SECONDS = 20  # that one mutant may take; most take a twentieth of a second
MEMORY = 1_500 * 2**20  # that a child may take beyond what it begins with
BATCH = 40  # mutants a child process

Verdict = Literal["accepted", "refused", "either"]


class Wrong(AssertionError):  # noqa: N818 - not an error of the program: a verdict
    """What must not happen happened to a mutant."""


class Hang(BaseException):
    """A mutant took longer than it may; nothing catches it on the way."""


class Mutation(NamedTuple):
    """One change to a folder.

    Attributes:
        name: what it does.
        verdict: whether the reader must accept what comes out, must refuse it, or may do either.
        apply: changes the folder and returns what a message may blame: names of files, or options.
    """

    name: str
    verdict: Verdict
    apply: Callable[[Path, Random], Sequence[str]]


class Kind(NamedTuple):
    """What is mutated.

    Attributes:
        name: of the kind.
        pristine: the folder that mutants are copies of.
        mutations: to choose from.
        judge: reads a folder and raises `Wrong` if the result is not what it should be.
    """

    name: str
    pristine: Path
    mutations: Sequence[Mutation]
    judge: Callable[[Path, Random], None]


class Record(NamedTuple):
    """What became of a mutant: `accepted`, `refused`, or `wrong` with the reason."""

    number: int
    mutations: list[str]
    outcome: str
    detail: str


def mutate(kind: Kind, folder: Path, draw: Random) -> tuple[list[Mutation], list[str]]:
    """Apply one to three mutations to a copy of the pristine folder; which, and what may be blamed."""
    shutil.copytree(kind.pristine, folder, symlinks=True)
    chosen = draw.choices(kind.mutations, k=draw.choices([1, 2, 3], [6, 3, 1])[0])
    blamed: list[str] = []
    applied = []
    for mutation in chosen:
        with contextlib.suppress(Exception):  # an earlier one took away what it would change
            blamed += mutation.apply(folder, draw)
            applied.append(mutation)
    return applied, blamed


def judged(kind: Kind, folder: Path, draw: Random) -> tuple[list[str], str, str]:
    """Mutate, read and judge: the names of the mutations, the outcome and why."""
    applied, blamed = mutate(kind, folder, draw)
    names = [mutation.name for mutation in applied]
    verdicts = {mutation.verdict for mutation in applied}
    try:
        with limited_time(SECONDS, Hang), _quiet():
            kind.judge(folder, draw)
    except (ConfigError, DataError, MismatchError) as error:
        return names, *_of_refusal(str(error), verdicts, blamed)
    except (Exception, Hang) as error:  # anything else is what is looked for
        return names, "wrong", "".join(traceback.format_exception(error)[-6:])
    if verdicts == {"refused"} and len(applied) == 1:
        return names, "wrong", "accepted, but must be refused"
    return names, "accepted", ""


def _of_refusal(message: str, verdicts: set[Verdict], blamed: Sequence[str]) -> tuple[str, str]:
    if verdicts == {"accepted"}:
        return "wrong", f"must be accepted, but: {message}"
    if len(message.splitlines()) != 1 or any(ord(letter) < 32 for letter in message):
        return "wrong", f"not one line: {message!r}"
    if blamed and not any(name in message for name in blamed):
        return "wrong", f"names none of {blamed}: {message}"
    return "refused", message


def fuzz(kind: Kind, scratch: Path, seed: str, count: int) -> list[Record]:
    """Judge mutants of one kind, by child processes one after the other.

    Args:
        kind: what to mutate.
        scratch: folder for copies.
        seed: of everything that is drawn.
        count: number of mutants.
    """
    found = []
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        log = scratch / f"{first}.jsonl"
        child = FORK.Process(target=_child, args=(kind, scratch, seed, numbers, log))
        child.start()
        child.join(SECONDS * 10)
        code = child.exitcode
        child.kill()
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        records = [Record(**json.loads(line)) for line in lines]
        if code != 0 or len(records) != len(numbers):
            reason = f"the child process ended with {code} at mutant {first + len(records)}"
            records.append(Record(first + len(records), [], "wrong", reason))
        found += records
    return found


def summary(records: Sequence[Record]) -> dict[str, int]:
    """How many mutants had each outcome."""
    counts = Counter(record.outcome for record in records)
    return {name: counts[name] for name in ("accepted", "refused", "wrong")}


def _child(kind: Kind, scratch: Path, seed: str, numbers: Sequence[int], log: Path) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.set_num_threads(1)  # of OpenMP's threads none came through the fork
    with log.open("w", encoding="utf-8") as lines:
        for number in numbers:
            folder = scratch / f"{kind.name}-{number}"
            draw = Random(f"{seed}/{kind.name}/{number}")
            names, outcome, detail = judged(kind, folder, draw)
            record = Record(number, names, outcome, detail)
            lines.write(json.dumps(record._asdict()) + "\n")
            lines.flush()
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, and decoders may warn as much as they like."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def tell(text: str) -> None:
    """Write to the terminal."""
    sys.stdout.write(text)
