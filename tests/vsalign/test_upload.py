import warnings

import numpy as np
import pytest
import torch

from vsalign.upload import upload


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_on_the_cpu_nothing_is_copied(kind: type):
    samples = np.arange(12).reshape(3, 4).astype(kind)
    assert upload(samples, "cpu").data_ptr() == samples.ctypes.data


def test_memory_that_may_not_be_written_is_never_handed_on():
    samples = np.arange(12, dtype=np.uint8)
    samples.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = upload(samples, torch.device("cpu"))
    tensor.fill_(0)
    assert samples.tolist() == list(range(12))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gets_the_same_samples():
    samples = np.random.default_rng(0).integers(0, 1 << 16, (64, 48)).astype(np.uint16)
    assert np.array_equal(upload(samples, "cuda").float().cpu().numpy(), samples.astype(np.float32))
