"""The interpretable basis: starts, folding, scores, saving and loading."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from uibe.errors import ConfigError, MismatchError
from uibe.functional.moments import Moments, pixel_moments
from uibe.functional.orthogonal import ROTATION_MAPS, RotationMap, random_rotation
from uibe.modules.basis import InterpretableBasis
from uibe.modules.rotation import STARTS, Start
from uibe.modules.standardizer import STANDARDIZATIONS, Standardization

D = 6
kinds = pytest.mark.parametrize("kind", STANDARDIZATIONS)


def pixels(num: int = 300) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, D, generator=generator) @ torch.randn(D, D, generator=generator) + 2


def moments() -> Moments:
    return pixel_moments(pixels(), full=True)


def images() -> Tensor:
    return pixels(2 * 4 * 3).view(2, 4, 3, D).permute(0, 3, 1, 2)


def started(
    kind: Standardization = "zscore", rotation_map: RotationMap = "cayley", start: Start = "random"
) -> InterpretableBasis:
    """A basis as it may be in the middle of training."""
    basis = InterpretableBasis(D, kind, rotation_map, margin=0.3)
    basis.start(moments(), start, seed=1)
    basis.start_thresholds(torch.linspace(-0.5, 1.0, D))
    with torch.no_grad():
        basis.rotation.generator.normal_(0, 0.2, generator=torch.Generator().manual_seed(2))
        basis.log_margin.fill_(-1.2345678)
    return basis


@kinds
@pytest.mark.parametrize("rotation_map", ROTATION_MAPS)
def test_saved_and_loaded_is_the_same_basis(
    tmp_path: Path, kind: Standardization, rotation_map: RotationMap
) -> None:
    basis = started(kind, rotation_map)
    basis.save(tmp_path / "basis.safetensors")
    loaded = InterpretableBasis.load(tmp_path / "basis.safetensors")
    assert (loaded.standardizer.kind, loaded.rotation.rotation_map) == (kind, rotation_map)
    for found, expected in zip(loaded.detectors(), basis.detectors(), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(loaded.margin, basis.margin)
    assert torch.equal(loaded.transform(images()), basis.transform(images()))
    assert bool(loaded.started)
    assert bool(loaded.standardizer.fitted)


def test_saving_twice_gives_the_same_tensors(tmp_path: Path) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    started().save(first)
    InterpretableBasis.load(first).save(second)
    for name, tensor in load_file(first).items():
        assert torch.equal(load_file(second)[name], tensor), name


def test_nothing_partial_is_left_beside_the_file(tmp_path: Path) -> None:
    started().save(tmp_path / "basis.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["basis.safetensors"]


def metadata_of(path: Path) -> dict[str, str]:
    header = path.read_bytes()
    length = int.from_bytes(header[:8], "little")
    described: dict[str, str] = json.loads(header[8 : 8 + length])["__metadata__"]
    return described


@kinds
def test_metadata_describe_the_basis(tmp_path: Path, kind: Standardization) -> None:
    basis = started(kind)
    basis.save(tmp_path / "basis.safetensors", {"layer": "features.4"})
    described = metadata_of(tmp_path / "basis.safetensors")
    assert set(described) == {
        "format", "standardization", "rotation_map", "mean", "sd", "margin", "layer", "tensors_sha256",
    }  # fmt: skip
    assert (described["standardization"], described["layer"]) == (kind, "features.4")
    assert float(described["margin"]) == float(basis.margin.detach())
    mean, sd = (torch.tensor(json.loads(described[name])) for name in ("mean", "sd"))
    expected = [torch.zeros(D), torch.ones(D)] if kind == "none" else [pixels().mean(0), pixels().std(0)]
    torch.testing.assert_close(mean, expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sd, expected[1], rtol=1e-2, atol=1e-2)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.safetensors: no such file"):
        InterpretableBasis.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all, but long enough for a header"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "basis.safetensors"
    path.write_bytes(content)
    with pytest.raises(MismatchError, match=r"basis\.safetensors: expected a basis"):
        InterpretableBasis.load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "uibe-basis-99"}, {"other": "x"}])
def test_safetensors_of_something_else_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"directions": torch.eye(2)}, path, metadata)
    with pytest.raises(MismatchError, match="is not 'uibe-basis-1'"):
        InterpretableBasis.load(path)


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "basis.safetensors"
    started().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(MismatchError, match="expected a basis"):
        InterpretableBasis.load(path)


@pytest.mark.parametrize("name", ["directions", "rotation", "log_margin"])
def test_a_basis_without_one_of_its_tensors_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "basis.safetensors"
    started().save(path)
    tensors = load_file(path)
    del tensors[name]
    save_file(tensors, path, metadata_of(path))
    with pytest.raises(MismatchError, match="expected a basis"):
        InterpretableBasis.load(path)


@kinds
def test_saved_detectors_are_those_of_raw_features(tmp_path: Path, kind: Standardization) -> None:
    basis = started(kind)
    basis.save(tmp_path / "basis.safetensors")
    tensors = load_file(tmp_path / "basis.safetensors")
    raw = pixels().double() @ tensors["directions"].double().T - tensors["thresholds"].double()
    logits = basis(pixels()).detach()
    torch.testing.assert_close((raw / basis.margin.item()).float(), logits, rtol=1e-3, atol=1e-3)


@kinds
def test_transform_scores_are_the_sigmoid_of_the_logits(kind: Standardization) -> None:
    basis = started(kind)
    scores = basis.transform(images())
    expected = torch.sigmoid(basis(pixels(24)).detach()).view(2, 4, 3, D).permute(0, 3, 1, 2)
    assert bool(((scores >= 0) & (scores <= 1)).all())
    assert not scores.requires_grad
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("start", STARTS)
@kinds
def test_every_start_is_orthonormal(kind: Standardization, start: Start) -> None:
    basis = InterpretableBasis(D, kind)
    basis.start(moments(), start)
    assert float(basis.orthogonality_error()) < 1e-5


@kinds
def test_start_near_given_directions_finds_them_if_it_can(kind: Standardization) -> None:
    basis, known = InterpretableBasis(D, kind), InterpretableBasis(D, kind)
    known.start(moments(), "random", seed=3)
    lengths = torch.linspace(0.1, 5, D)[:, None]
    basis.start_near(moments(), lengths * known.detectors().directions)
    torch.testing.assert_close(basis.rotation(), known.rotation(), rtol=1e-3, atol=1e-3)
    basis.start_near(moments(), known.detectors().directions[:3])
    assert float(basis.orthogonality_error()) < 1e-5
    torch.testing.assert_close(basis.rotation()[:3], known.rotation()[:3], rtol=1e-3, atol=1e-3)


def test_identity_start_is_the_natural_basis() -> None:
    basis = InterpretableBasis(D, "none")
    basis.start(moments(), "identity")
    assert torch.equal(basis.detectors().directions, torch.eye(D))


def test_random_start_is_set_by_its_seed() -> None:
    directions = []
    for seed in (0, 0, 1):
        basis = InterpretableBasis(D)
        basis.start(moments(), "random", seed)
        directions.append(basis.rotation().detach())
    assert torch.equal(directions[0], directions[1])
    assert not torch.allclose(directions[0], directions[2], atol=0.1)
    expected = random_rotation(D, torch.Generator().manual_seed(0), torch.float32)
    torch.testing.assert_close(directions[0], expected)


@pytest.mark.parametrize("kind", ["none", "zscore"])
def test_pca_start_decorrelates(kind: Standardization) -> None:
    basis = InterpretableBasis(D, kind)
    basis.start(moments(), "pca")
    projections = basis.standardizer(pixels()) @ basis.rotation().detach().T
    correlation = torch.corrcoef(projections.T)
    torch.testing.assert_close(correlation, torch.eye(D), rtol=0, atol=1e-3)
    natural = torch.corrcoef(pixels().T)
    assert float((natural - torch.eye(D)).abs().max()) > 0.1


def test_unknown_start_is_refused() -> None:
    with pytest.raises(ConfigError, match="start: expected one of identity, random, pca, got 'ica'"):
        InterpretableBasis(D).start(moments(), "ica")  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [0.0, -1.0])
def test_margin_must_be_positive(margin: float) -> None:
    with pytest.raises(ConfigError, match="margin: expected a positive number"):
        InterpretableBasis(D, margin=margin)


def test_margin_stays_positive_at_any_step() -> None:
    basis = InterpretableBasis(D, margin=0.3)
    assert basis.margin.item() == pytest.approx(0.3)
    optimizer = torch.optim.SGD(basis.parameters(), lr=100.0)
    basis.margin.backward()
    optimizer.step()
    assert 0 < basis.margin.item() < 1e-9


def test_rotation_thresholds_and_margin_are_learned_and_standardization_is_not() -> None:
    basis = started()
    names = {name for name, _ in basis.named_parameters()}
    assert names == {"rotation.generator", "thresholds", "log_margin"}
    basis(pixels()).square().sum().backward()
    assert all(bool(p.grad.any()) for p in basis.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in basis.parameters())


def test_state_dict_restores_it_exactly() -> None:
    basis, copy = started(), InterpretableBasis(D)
    assert not bool(copy.started)
    copy.load_state_dict(basis.state_dict())
    assert bool(copy.started)
    assert torch.equal(copy(pixels()), basis(pixels()))
