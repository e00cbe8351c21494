"""Mistyped words on the command lines: one line with the closest word; no beginnings of options."""

import pytest

import evaluate
import experiments
import train
from tests.running import run

EXPLAIN = ["explain", "--ckpt_path", "a.ckpt", "--image", "b.png", "--out", "c"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [*EXPLAIN, "--clases", "x"],
            "--clases: no such option of evaluate.py explain; did you mean --classes?",
        ),
        (
            [*EXPLAIN, "--clases=x"],
            "--clases: no such option of evaluate.py explain; did you mean --classes?",
        ),
        ([*EXPLAIN, "--data.rot", "x"], "--data.rot: no such option; did you mean --data.root?"),
        (
            [*EXPLAIN, "--zzzz", "x"],
            "--zzzz: no such option of evaluate.py explain; see evaluate.py explain --help",
        ),
        (["explian", *EXPLAIN[1:]], "explian: no such command; did you mean explain?"),
        (["explain", "--ckpt_path", "a", "--image", "b"], "evaluate.py explain: give --out; see"),
        ([*EXPLAIN, "--debgu"], "did you mean --debug?"),
    ],
)
def test_one_line_names_the_closest(words: list[str], message: str) -> None:
    outcome = run(evaluate.main, words)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_values_keep_the_usage() -> None:
    outcome = run(evaluate.main, [*EXPLAIN, "--top", "many"])
    assert outcome.code == 2
    assert "many" in outcome.err
    assert outcome.err.startswith("usage: ")


def test_beginnings_of_options_are_refused() -> None:
    short = run(evaluate.main, ["explain", "--ckpt", "a.ckpt", "--image", "b.png", "--out", "c"])
    assert short.code == 2
    assert "--ckpt: no such option of evaluate.py explain; did you mean --ckpt_path?" in short.err
    short = run(experiments.main, ["--config", "nowhere", "--backb", "x"])
    assert short.code == 2
    short = run(experiments.main, ["--backb", "x"])
    assert short.err.startswith("error: --backb: no such option of experiments.py; did you mean --backbone?")
    short = run(train.main, ["fit", "--trainer.max_epo", "1"])
    assert short.code == 2
    assert "--trainer.max_epo" in short.err
