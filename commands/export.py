"""A basis for other programs."""

from rich.console import Console

from commands.processes import alone
from lightning_modules.checkpoint import basis_from, hyper_parameters, read_checkpoint
from uibe.report.files import output_folder

__all__ = ["export"]


def export(ckpt_path: str, out: str) -> None:
    """Write `basis.safetensors`: directions and thresholds in raw feature space, for other programs.

    Detector i fires at a pixel x of the layer where `directions[i] . x > thresholds[i]`.

    Args:
        ckpt_path: checkpoint that train.py wrote.
        out: folder for the file.
    """
    alone("export")
    checkpoint = read_checkpoint(ckpt_path)
    options = hyper_parameters(checkpoint)
    path = output_folder(out) / "basis.safetensors"
    metadata = {name: str(options[name]) for name in ("backbone", "weights", "layer")}
    basis_from(checkpoint).save(path, {**metadata, "weights_sha256": checkpoint["uibe"]["weights_sha256"]})
    Console(soft_wrap=True).print(f"written  {path}")
