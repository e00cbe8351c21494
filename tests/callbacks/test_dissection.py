"""When the basis is dissected, and what is kept of it."""

from pathlib import Path

import pytest

import callbacks.dissection as dissection
from callbacks import DissectionCallback
from tests.running import Bench, Run, fit
from uibe.errors import ConfigError
from uibe.metrics.dissection import Dissection
from uibe.metrics.protocol import evaluate


@pytest.mark.parametrize(
    ("every", "expected"), [("1", [0, 1, 2]), ("2", [1, 2]), ("3", [2]), ("9", [2]), ("0", [])]
)
def test_epochs_that_are_due_and_the_last_one(
    every: str, expected: list[int], bench: Bench, trained: Run, tmp_path: Path
) -> None:
    run = fit(bench, tmp_path, "--trainer.max_epochs", "3", "--dissection.every_n_epochs", every)
    assert [entry["epoch"] for entry in run.dissection["history"]] == expected


def test_natural_basis_is_dissected_once(
    bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[Dissection | None] = []

    def note(learned: object, data: object, protocol: object, natural: Dissection | None) -> object:
        known.append(natural)
        return evaluate(learned, data, protocol, natural)  # type: ignore[arg-type]

    monkeypatch.setattr(dissection, "evaluate", note)
    run = fit(bench, tmp_path, "--trainer.max_epochs", "3")
    assert [each is None for each in known] == [True, False, False]
    natural = [entry["natural"] for entry in run.dissection["history"]]
    assert natural[0] == natural[1] == natural[2]
    learned = [entry["learned"] for entry in run.dissection["history"]]
    assert learned[0] != learned[1]


def test_natural_basis_can_be_left_out(bench: Bench, trained: Run, tmp_path: Path) -> None:
    run = fit(bench, tmp_path, "--dissection.natural", "false", "--dissection.thresholds", "[quantile]")
    assert set(run.dissection["history"][-1]) == {"epoch", "quantile"}
    assert "learned at 0.5%" in " ".join(run.outcome.out.split())
    assert "natural at" not in " ".join(run.outcome.out.split())


def test_protocol_is_kept_as_plain_types(trained: Run) -> None:
    expected = {
        "policies": ["learned", "quantile"],
        "quantile": 0.005,
        "union": "annotated",
        "natural": True,
    }
    assert trained.dissection["protocol"] == expected


def test_scores_agree_with_each_other(trained: Run) -> None:
    for entry in trained.dissection["history"]:
        for name in ("learned", "quantile", "natural"):
            scores = entry[name]
            assert 0 < scores["S2"] <= scores["S1"] <= 64
            assert scores["unique"] <= scores["interpretable"] <= 64
    assert trained.dissection["history"][-1]["natural"]["firing_rate"] == pytest.approx(0.005, abs=0.002)


def test_history_survives_its_own_state() -> None:
    first, second = DissectionCallback(), DissectionCallback()
    first.history.append({"epoch": 0, "learned": {"S1": 1.0}})
    second.load_state_dict(first.state_dict())
    assert second.history == first.history
    second.history.append({"epoch": 1})
    assert len(first.history) == 1


def test_wrong_policy_is_refused_where_no_parser_looks() -> None:
    with pytest.raises(ConfigError, match=r"dissection\.thresholds: expected some of"):
        DissectionCallback(thresholds=["loose"])  # type: ignore[list-item]
