"""A basis for other programs, and a folder for `uibe.load`."""

from pathlib import Path
from shlex import quote

from rich.console import Console

from commands.data import DataOptions, device_of, learned_on
from commands.labelling import labels_for, open_labelled
from commands.processes import alone
from lightning_modules.checkpoint import basis_from, hyper_parameters, read_checkpoint
from uibe.errors import ConfigError
from uibe.library.detector import ConceptDetector
from uibe.library.folder import write_folder
from uibe.library.loading import detector_from
from uibe.report.files import results_folder

__all__ = ["export"]


def export(
    ckpt_path: str,
    out: str,
    data: DataOptions | None = None,
    replicates: int = 200,
    weights: str | None = None,
    device: str = "cpu",
) -> None:
    """Write a folder: the basis for other programs, labels, options, and a model card.

    `basis.safetensors` holds directions and thresholds in raw feature space: detector i fires at a pixel x of
    the layer where `directions[i] . x > thresholds[i]`. `uibe.load(out)` reads the folder. Labels, in
    `detectors.json`, are written where the data is at hand.

    Args:
        ckpt_path: checkpoint that train.py wrote.
        out: folder for the files.
        data: overrides of the checkpoint's data.
        replicates: of the bootstrap over validation images, for the labels' intervals.
        weights: where the backbone's weights are now, if not where they were.
        device: where to compute, `cpu` or `cuda`.
    """
    alone("export")
    if replicates < 1:
        raise ConfigError("--replicates: expected at least 1")
    checkpoint = read_checkpoint(ckpt_path)
    console = Console(soft_wrap=True)
    with results_folder(out) as folder:
        try:
            detector = detector_from(checkpoint, weights).to(device_of(device))
        except ConfigError as error:
            if weights is not None or device != "cpu":
                raise
            # directions need no network; they were written without one ever since
            options = hyper_parameters(checkpoint)
            named = {name: str(options[name]) for name in ("backbone", "weights", "layer")}
            sha256 = checkpoint["uibe"]["weights_sha256"]
            basis_from(checkpoint).save(folder / "basis.safetensors", {**named, "weights_sha256": sha256})
            console.print(f"written  {folder / 'basis.safetensors'} alone: {error}", markup=False)
            return
        datamodule, reason = open_labelled(checkpoint, data or DataOptions(), detector.backbone)
        about = {"learned on": learned_on(checkpoint)}
        if datamodule is not None:
            detector.labels = labels_for(detector.detectors, datamodule, replicates).labels
            detector.grouping = datamodule.features.grouping
            about.update(datamodule.features.facts())
        # names of files, not where they lie: the folder is made to be shared
        made = [
            f"python evaluate.py export --ckpt_path {quote(Path(ckpt_path).name)} --out {quote(folder.name)}"
        ]
        write_folder(
            folder, detector.backbone, detector.basis, detector.labels, about, made, detector.grouping
        )
        _say(console, detector, folder, reason)


def _say(console: Console, detector: ConceptDetector, folder: Path, reason: str) -> None:
    if detector.labels is None:
        console.print(f"labels   none: {reason}", markup=False)
    labels = "" if detector.labels is None else "detectors.json, "
    console.print(f"written  {folder / 'basis.safetensors'}, {labels}config.json, README.md", markup=False)
