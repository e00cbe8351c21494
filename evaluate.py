"""Evaluate a checkpoint: `python evaluate.py score --ckpt_path CKPT --out DIR`.

An error is one line; `--debug` shows its traceback.
"""

import sys
from collections.abc import Sequence

from jsonargparse import auto_cli

from commands import compare, explain, export, report, score
from commands.arguments import Parser, with_lists
from lightning_modules.configs import bound_parsers, check_configs
from uibe.errors import one_line_errors

LISTS = {"compare": ("--ckpt_path", "--bases", "--shares"), "explain": ("--image", "--classes")}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; `--debug` shows the traceback of an error.

    Args:
        args: instead of `sys.argv`, for tests.
    """
    given = sys.argv[1:] if args is None else list(args)
    with one_line_errors(debug="--debug" in given):
        check_configs(given)
        bound_parsers()
        auto_cli(
            [score, compare, explain, report, export],
            args=with_lists(
                [arg for arg in given if arg != "--debug"], LISTS.get(given[0] if given else "", ())
            ),
            as_positional=False,
            parser_class=Parser,
            description=__doc__,
            prog="evaluate.py",
        )


if __name__ == "__main__":
    main()
