import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vsalign.errors import InputError
from vsalign.weights import PublishedWeights, find_weights, forget_networks, load_tensors, shared_network


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
    with pytest.raises(InputError, match=r"Toy: package nowhere is not installed; pip install nowhere, or --weights FILE"):
        find_weights(PublishedWeights("Toy", "nowhere", "w.pt", ""))
    with pytest.raises(InputError, match=r"package brings_weights has no x.pt"):
        find_weights(PublishedWeights("Toy", "brings_weights", "x.pt", ""))
    with pytest.raises(InputError, match=r"'missing.pt' is no file that exists; accepted is a copy of w.pt \(Toy\)"):
        find_weights(published, "missing.pt")
    (tmp_path / "other.pt").write_bytes(b"other")
    with pytest.raises(InputError, match=rf"other.pt has SHA-256 d9298a10.*; accepted is {published.sha256} \(Toy\)"):
        load_tensors(published, find_weights(published, str(tmp_path / "other.pt")))


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
