"""Mutations of YAML files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.fuzz.file_mutations import byte_mutations, change_value, odd_value
from tests.fuzz.harness import Mutation, Verdict

__all__ = ["yaml_mutations"]


def _bomb(content: str, draw: Random) -> str:
    """Aliases of aliases: a kilobyte of ten billion entries to who walks through them."""
    listed = draw.random() < 0.5
    inner = [f"[{', '.join(['x'] * 10)}]"] if listed else ["{x: 1}"]
    for number in range(9):
        parts = [f"*a{number}" if listed else f"k{key}: *a{number}" for key in range(10)]
        inner.append(f"[{', '.join(parts)}]" if listed else "{" + ", ".join(parts) + "}")
    lines = [f"a{number}: &a{number} {text}" for number, text in enumerate(inner)]
    place = draw.choice(["model", "data", "trainer", "bomb"])
    return "\n".join([*lines, f"{place}: *a9", content if place == "bomb" else ""])


def _merge_bomb(content: str, draw: Random) -> str:
    """Merges of merges: each level holds ten times the pairs of the one before."""
    levels = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    place = draw.choice(["model", "data", "trainer", "bomb"])
    return "\n".join(["a0: &a0 {x: 1}", *levels, f"{place}: {{<<: *a9}}", content if place == "bomb" else ""])


def _merged(content: str, draw: Random) -> str:
    """Pairs by way of a merge key, or a merge of what is no mapping."""
    base = draw.choice(["{max_epochs: 3}", "{strange: 1}", "7", "[a]", "[{a: 1}, 7]", "~", "!!set {a}", "{}"])
    place = draw.choice(["trainer", "model", "data", "dissection", "x", "<<"])
    lines = draw.choice([f"{place}: {{<<: {base}}}", f"<<: {base}", f"<<: {{{place}: {base}}}"])
    return f"{content}{lines}\n"


def _nested(content: str, draw: Random) -> str:
    depth = draw.choice([40, 400, 2_000, 50_000])
    name = draw.choice(["model", "trainer", "deep"])
    return f"{name}: " + "[" * depth + "]" * depth + "\n"


def _itself(content: str, draw: Random) -> str:
    """A value that contains itself."""
    return content + draw.choice(
        ["model: &m {init_args: *m}\n", "data: &d [*d]\n", "trainer: &t {logger: *t}\n"]
    )


def _tabs(content: str, draw: Random) -> str:
    return content.replace("  ", "\t")


def _twice(content: str, draw: Random) -> str:
    return content + draw.choice(["model: 7\n", "data: [a]\n", "seed_everything: x\n", "trainer:\n"])


def _tag(content: str, draw: Random) -> str:
    tags = ["!!python/object/apply:os.system [false]", "!!binary zzz", "!!timestamp 2001-99-99", "!unknown x"]
    return content + f"{draw.choice(['seed_everything', 'model', 'x'])}: {draw.choice(tags)}\n"


def _scalar(content: str, draw: Random) -> str:
    return draw.choice(
        ["7", "text", "- a\n- b\n", "---\na: 1\n---\nb: 2\n", "? [a]\n: b\n", "2001-99-99", "1: 2", "%"]
    )


_TEXTS: dict[str, Callable[[str, Random], str]] = {
    "aliases of aliases": _bomb,
    "merges of merges": _merge_bomb,
    "a merge": _merged,
    "deep nesting": _nested,
    "a value within itself": _itself,
    "tabs": _tabs,
    "a key twice": _twice,
    "a tag": _tag,
    "another document": _scalar,
    "CRLF": lambda content, draw: content.replace("\n", "\r\n"),
    "a byte order mark": lambda content, draw: "\ufeff" + content,
}


def yaml_mutations(name: str, verdict: Verdict) -> list[Mutation]:
    """Mutations of one YAML file, of its bytes, its text and its values.

    Args:
        name: of the file.
        verdict: after all of them but the loss of the file.
    """

    def text(title: str, change: Callable[[str, Random], str]) -> Mutation:
        def apply(root: Path, draw: Random) -> Sequence[str]:
            (path,) = root.rglob(name)
            changed = change(path.read_text(encoding="utf-8"), draw)
            path.write_text(changed, encoding="utf-8", newline="")
            return [path.name]

        return Mutation(f"{name}: {title}", verdict, apply)

    def value(root: Path, draw: Random) -> Sequence[str]:
        (path,) = root.rglob(name)
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        if draw.random() < 0.3:
            content[draw.choice(["strange", "model", "data", "trainer", "ckpt_path"])] = odd_value(draw)
        else:
            change_value(content, draw)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return [path.name]

    everything = ["cut off", "lost bytes", "other text", "empty", "a folder for it"]
    values = [Mutation(f"{name}: a value", verdict, value)] * 8
    return [*byte_mutations(name, loose=everything), *values, *(text(*each) for each in _TEXTS.items())]
