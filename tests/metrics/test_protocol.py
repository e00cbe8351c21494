"""One evaluation: threshold policies and the natural basis beside the learned one."""

import json

import pytest
import torch

from tests.metrics.fakes import FakeConcepts, FakeFeatures, Split, image_labels
from uibe.functional.detectors import Detectors
from uibe.metrics.protocol import EvaluationProtocol, describe, evaluate

CONCEPTS = FakeConcepts(("sky", "sea"), torch.tensor([0, 1]), ("object", "scene"))
# channel 0 is strong on the sky (left), channel 1 everywhere weak
FEATURES = torch.tensor([[[[4.0, 1.0]], [[2.0, 1.0]]], [[[3.0, 0.0]], [[1.0, 0.0]]]])
SPLIT = Split(FEATURES, [image_labels([[1, 0]])] * 2)
LEARNED = Detectors(torch.eye(2), torch.tensor([2.0, 9.0]))


def data() -> FakeFeatures:
    return FakeFeatures(CONCEPTS, SPLIT, SPLIT)


def test_each_policy_has_its_thresholds() -> None:
    # quantile 1/4 of 4 pixels: one may lie above, the second largest is 3 for channel 0 and 1 for channel 1
    found = evaluate(LEARNED, data(), EvaluationProtocol(quantile=0.25))
    assert list(found) == ["learned", "quantile", "natural"]
    assert found["learned"].thresholds.tolist() == [2.0, 9.0]
    assert found["quantile"].thresholds.tolist() == [3.0, 1.0]
    # learned: channel 0 fires at both skies and nowhere else, channel 1 never; quantile: at one of them
    assert found["learned"].iou_val.tolist() == [1.0, 0.0]
    assert found["quantile"].iou_val.tolist() == [0.5, 0.5]


def test_natural_basis_is_the_identity_at_the_quantile() -> None:
    turned = Detectors(torch.tensor([[0.6, 0.8], [-0.8, 0.6]]), torch.zeros(2))
    found = evaluate(turned, data(), EvaluationProtocol(quantile=0.25))
    assert found["natural"].thresholds.tolist() == [3.0, 1.0]
    assert found["natural"].iou_val.tolist() == [0.5, 0.5]


def test_a_known_natural_basis_is_used_again() -> None:
    known = evaluate(LEARNED, data(), EvaluationProtocol())["natural"]
    features = data()
    found = evaluate(LEARNED, features, EvaluationProtocol(), known)
    assert found["natural"] is known
    assert features.unlabelled_passes == ["train"]  # for the quantile policy, none for the natural basis
    assert list(found) == ["learned", "quantile", "natural"]


def test_natural_basis_is_left_out_on_demand() -> None:
    protocol = EvaluationProtocol(policies=("learned",), natural=False)
    known = evaluate(LEARNED, data(), EvaluationProtocol())["natural"]
    assert list(evaluate(LEARNED, data(), protocol)) == ["learned"]
    assert list(evaluate(LEARNED, data(), protocol, known)) == ["learned"]


def test_natural_basis_fires_as_often_as_the_learned_one() -> None:
    # learned: channel 0 fires at two of four pixels, channel 1 at none: 1/4 on average
    found = evaluate(LEARNED, data(), EvaluationProtocol(quantile=0.5), as_often=True)
    assert list(found) == ["learned", "quantile", "natural", "natural_as_often"]
    assert float(found["learned"].firing_rate.mean()) == 0.25
    expected = evaluate(LEARNED, data(), EvaluationProtocol(quantile=0.25))["natural"]
    for one, other in zip(found["natural_as_often"][:5], expected[:5], strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    assert not torch.equal(found["natural"].thresholds, expected.thresholds)


@pytest.mark.parametrize("threshold", [-1.0, 99.0])
def test_what_fires_everywhere_or_nowhere_is_compared_with_nothing(threshold: float) -> None:
    same = Detectors(torch.eye(2), torch.full((2,), threshold))
    found = evaluate(same, data(), EvaluationProtocol(), as_often=True)
    assert list(found) == ["learned", "quantile", "natural"]


def test_without_own_thresholds_there_is_no_rate_to_be_matched() -> None:
    assert "natural_as_often" not in evaluate(
        LEARNED, data(), EvaluationProtocol(("quantile",)), as_often=True
    )


def test_everything_shares_one_pass_over_the_labels() -> None:
    features = data()
    evaluate(LEARNED, features, EvaluationProtocol())
    assert features.passes == ["train", "val"]


def test_the_union_rule_reaches_the_tally() -> None:
    # the sky is left in image 0 only; image 1 carries nothing, though the category is annotated there
    split = Split(FEATURES, [image_labels([[1, 0]]), image_labels([[0, 0]])])
    features = FakeFeatures(CONCEPTS, split, split)
    scores = [
        evaluate(LEARNED, features, EvaluationProtocol(("learned",), union=union))["learned"].iou_val[0]
        for union in ("annotated", "netdissect-lite")
    ]
    assert [float(score) for score in scores] == [0.5, 1.0]


def test_description_is_plain_and_complete() -> None:
    found = describe(evaluate(LEARNED, data(), EvaluationProtocol(("learned",)))["learned"])
    assert json.loads(json.dumps(found)) == {
        "S1": 1.0,
        "S2": 1.0,
        "interpretable": 1,
        "unique": 1,
        "firing_rate": 0.25,  # channel 0 at two of four pixels, channel 1 at none
        "categories": {
            "object": {"S1": 1.0, "S2": 1.0, "interpretable": 1, "unique": 1},
            "scene": {"S1": 0.0, "S2": 0.0, "interpretable": 0, "unique": 0},
        },
    }


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (EvaluationProtocol(policies=()), r"thresholds: expected some of learned, quantile, got \[\]"),
        (EvaluationProtocol(policies=("learned", "best")), "thresholds: expected"),  # type: ignore[arg-type]
        (EvaluationProtocol(union="all"), "union: expected one of annotated, netdissect-lite"),  # type: ignore[arg-type]
        (EvaluationProtocol(quantile=0.0), "quantile: expected a share"),
        (EvaluationProtocol(quantile=1.0), "quantile: expected a share"),
    ],
)
def test_meaningless_protocols_are_refused(protocol: EvaluationProtocol, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol.check()


def test_a_sound_protocol_checks_as_itself() -> None:
    protocol = EvaluationProtocol()
    assert protocol.check() is protocol
