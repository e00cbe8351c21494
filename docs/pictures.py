"""Take a picture out of TensorBoard's logs: `python docs/pictures.py --run RUN --tag TAG --out FILE`."""

import io
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import auto_cli
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from uibe.errors import ConfigError, one_line_errors


def picture(run: str, tag: str, out: str) -> None:
    """Write the newest picture of a tag.

    Args:
        run: folder of the run.
        tag: its name in the images tab, or how it begins.
        out: file to write, `.jpg` or `.png`.

    Raises:
        ConfigError: if the run has no such picture.
    """
    events = EventAccumulator(run, size_guidance={"images": 0}).Reload()
    tags = events.Tags()["images"]
    found = [name for name in tags if name.startswith(tag)]
    if not found:
        raise ConfigError(f"tag: {run} has no picture {tag!r}, only {', '.join(tags) or 'none at all'}")
    encoded = events.Images(found[0])[-1].encoded_image_string
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(encoded)).convert("RGB").save(out)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: instead of `sys.argv`, for tests.
    """
    with one_line_errors():
        auto_cli(picture, as_positional=False, args=None if args is None else list(args))


if __name__ == "__main__":
    main()
