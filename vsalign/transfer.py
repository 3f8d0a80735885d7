"""HDR codes as an SDR film of the same scene would have them, near enough for the levels of both to be compared.

Sync's signatures and the dense alignment need none of it: they look at structure, normalised where they look, and lose by a
curve that presses highlights together. Metrics that subtract pictures need it.

PQ (SMPTE ST 2084) and HLG (ITU-R BT.2100, system gamma 1.2 at 1000 cd/m2) are taken to the light of the display, that above
what SDR has is bent down (the EETF of ITU-R BT.2390, from 1000 to 203 cd/m2, the reference white of BT.2408), and the rest is
coded with SDR's gamma of 2.4 (BT.1886).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vsalign.picture import Picture, Plane, is_full_range

_Values = npt.NDArray[np.float64]

#: FFmpeg's numbers (AVColorTransferCharacteristic).
TRANSFER_PQ, TRANSFER_HLG, _TRANSFER_SDR = 16, 18, 1

_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_PEAK, _HDR_PEAK, _SDR_PEAK, _SDR_GAMMA = 10000.0, 1000.0, 203.0, 2.4
_HLG_A, _HLG_B, _HLG_C, _HLG_GAMMA = 0.17883277, 0.28466892, 0.55991073, 1.2


def is_hdr(transfer: int) -> bool:
    """Samples of this transfer need :func:`as_sdr` before they are compared with SDR's."""
    return transfer in (TRANSFER_PQ, TRANSFER_HLG)


def as_sdr(values: _Values, transfer: int) -> _Values:
    """Coded luma, black 0 and white 1, as SDR codes it; itself for all transfers but PQ and HLG. Rising, within [0, 1]."""
    if not is_hdr(transfer):
        return values
    coded = np.clip(values, 0.0, 1.0)
    light = _pq_light(coded) if transfer == TRANSFER_PQ else _hlg_light(coded)
    return np.asarray((_bent(light) / _SDR_PEAK) ** (1 / _SDR_GAMMA), dtype=np.float64)


def sdr_picture(picture: Picture) -> Picture:
    """``picture`` with the luma (of RGB: all three) that SDR has for it, in the codes it had; itself where it is no HDR."""
    transfer, format = picture.colour.transfer, picture.format
    if not is_hdr(transfer):
        return picture
    step = 1 << (format.bit_depth - 8)
    black, white = (0, (1 << format.bit_depth) - 1) if is_full_range(picture) else (16 * step, 235 * step)
    table = _sdr_codes(transfer, black, white, 1 << format.bit_depth)
    bent = picture.planes if format.family == "rgb" else picture.planes[:1]
    planes: list[Plane] = [_as(plane, table[plane]) for plane in bent]
    return Picture((*planes, *picture.planes[len(bent) :]), format, replace(picture.colour, transfer=_TRANSFER_SDR))


def _as(plane: Plane, codes: npt.NDArray[np.uint16]) -> Plane:
    return codes.astype(np.uint8) if plane.dtype == np.uint8 else codes


@lru_cache(maxsize=16)
def _sdr_codes(transfer: int, black: int, white: int, num_codes: int) -> npt.NDArray[np.uint16]:
    """The code that stands for each of ``num_codes`` codes, of which two are black and white."""
    codes = np.arange(num_codes, dtype=np.float64)
    return np.rint(black + (white - black) * as_sdr((codes - black) / (white - black), transfer)).astype(np.uint16)


def _pq_light(coded: _Values) -> _Values:
    """cd/m2."""
    root = coded ** (1 / _M2)
    return np.asarray(_PQ_PEAK * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1), dtype=np.float64)


def _pq_coded(light: _Values) -> _Values:
    power = (np.asarray(light, dtype=np.float64) / _PQ_PEAK) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, dtype=np.float64)


def _hlg_light(coded: _Values) -> _Values:
    """cd/m2 on a display of 1000 cd/m2."""
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - _HLG_C) / _HLG_A) + _HLG_B) / 12)
    return np.asarray(_HDR_PEAK * scene**_HLG_GAMMA, dtype=np.float64)


def _bent(light: _Values) -> _Values:
    """Light that is no more than _SDR_PEAK: straight up to a knee, from there on a Hermite spline (BT.2390, in PQ codes)."""
    peak, most = _pq_coded(np.array([_HDR_PEAK, _SDR_PEAK])).tolist()
    coded, most = np.minimum(_pq_coded(light) / peak, 1.0), most / peak
    knee = 1.5 * most - 0.5
    t = np.maximum(coded - knee, 0) / (1 - knee)
    above = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return _pq_light(np.where(coded < knee, coded, above) * peak)
