"""Labels at random, for the tests of counting."""

import torch

from uibe.data.broden import ImageLabels

__all__ = ["random_labels"]


def random_labels(
    generator: torch.Generator, size: tuple[int, int], planes: int = 2, concepts: int = 9
) -> ImageLabels:
    """Some pixels are unlabelled, some concepts absent, and the last is image-wide now and then."""
    codes = torch.randint(0, concepts + 1, (planes, *size), generator=generator)
    codes *= torch.rand(codes.shape, generator=generator) < 0.6
    wide = [concepts - 1] * int(torch.randint(2, (), generator=generator))
    present = sorted({*codes[codes > 0].sub(1).tolist(), *wide})
    return ImageLabels(
        codes.to(torch.uint8),
        torch.tensor(wide, dtype=torch.int64),
        torch.tensor([True]),
        torch.tensor(present, dtype=torch.int64),
    )
