"""The SLURM script stops at the warning, asks to be queued again, and goes on; srun is played."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.running import Bench, finished, quick, run_train, same_tensors, synthetic

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[1]
SHORT = ["--data.pixels_per_batch", "700", "--data.passes_per_epoch", "4", "--trainer.accelerator", "cpu"]


def played(folder: Path) -> dict[str, str]:
    """The environment of a task of SLURM's, and stand-ins for its commands."""
    commands = folder / "bin"
    commands.mkdir()
    texts = {
        "srun": 'exec "$@"',
        "python": f'exec {sys.executable} "$@"',
        "scontrol": f'echo "$@" >> {folder / "scontrol.log"}',
    }
    for name, text in texts.items():
        (commands / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (commands / name).chmod(0o755)
    task = {
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NAME": "uibe-train",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS": "1",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "127.0.0.1",
    }
    own = {"PATH": f"{commands}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return {**os.environ, **task, **own}


def test_warned_queued_again_and_finished(bench: Bench, tmp_path: Path) -> None:
    environment = played(tmp_path)
    arguments = [*synthetic(bench.root, bench.cache), *quick(tmp_path / "runs"), *SHORT]
    script = ["bash", str(ROOT / "configs" / "slurm" / "train.sbatch"), *arguments]

    def submit(*extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*script, *extra],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    init = f'{{"number": {int(signal.SIGUSR1)}, "step": 2}}'
    warned = submit(
        "--trainer.callbacks", f'[{{"class_path": "tests.interrupting.SignalAt", "init_args": {init}}}]'
    )
    assert warned.returncode == 128 + signal.SIGUSR1, warned.stderr
    assert (tmp_path / "scontrol.log").read_text() == "requeue 17\n"
    assert not list((tmp_path / "runs").rglob("hpc_ckpt*"))
    kept = tmp_path / "runs" / "uibe" / "version_0" / "checkpoints" / "last.ckpt"
    assert torch.load(kept, weights_only=True)["global_step"] == 2
    finishing = submit()
    assert finishing.returncode == 0, finishing.stderr
    assert (tmp_path / "scontrol.log").read_text() == "requeue 17\n"
    end = torch.load(kept, weights_only=True)
    never = ["fit", *synthetic(bench.root, bench.cache), *quick(tmp_path / "never"), *SHORT]
    assert same_tensors(end["state_dict"], finished(run_train(*never), tmp_path / "never").state)
