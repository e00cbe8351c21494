"""Freed memory is kept for the next request where the C library can."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, torch
from uibe.memory import keep_freed_memory
torch.set_num_threads(1)
if {keep}:
    assert keep_freed_memory()
def once():
    return torch.ones(12_000_000).add_(1)
for _ in range(20):  # the heap first grows to a few such arrays, as many as the layout of the process asks
    once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_memory_is_not_cleared_again_at_every_request() -> None:
    assert page_faults(keep=True) < page_faults(keep=False) / 3
