"""The picture metrics of sync's precisions 1 to 3: found before work begins, and ready to compare on a worker.

Nothing heavy is imported before it is asked for: not torch, not numba, not VapourSynth.
"""

from __future__ import annotations

from pathlib import Path

from tasks.errors import TaskError
from tasks.messages import MetricSettings
from vsalign.errors import InputError
from vsalign.metric import Metric
from vsalign.published import TOPIQ_FR, check_hash, find_weights, hash_of, weights_folder

#: The precision that compares no pictures: the solve's signatures decide alone.
BY_SIGNATURE = 4
#: Raised by hand when a change alters the numbers of our own metric.
_PLANESTATS_VERSION = "1"


def find_metric(precision: int, device: str) -> MetricSettings | None:
    """The metric of ``precision`` on "auto", "cpu" or "cuda", found on this machine; None for precision 4.

    Raises InputError when its plugin or its weights are not here.
    """
    if precision == BY_SIGNATURE:
        return None
    if precision == 1:
        return MetricSettings(1, "PlaneStats", _PLANESTATS_VERSION)
    return _found_plugin("" if device == "auto" else device) if precision == 2 else _found_network(device)


def open_metric(settings: MetricSettings, device: str = "cpu", threads: int = 0) -> Metric:
    """The metric ready to compare, on ``device``; ``threads`` of a plugin's core, 0 for its own number.

    Raises TaskError when this machine has another plugin than was found before, InputError when the weights are missing.
    """
    if settings.precision == 1:
        from vsalign.planestats import PlaneStats

        return PlaneStats()
    if settings.precision == 2:
        from vsalign.pluginmetric import PluginMetric, find_filter, limit_threads

        found = find_filter(settings.backend or None, quiet=True)
        if (seen := f"{found.plugin} {found.version}") != settings.version:
            raise TaskError(f"precision 2: this machine has {found.name} of {seen}, the job is for {settings}")
        limit_threads(threads)
        return PluginMetric(filter=found)
    from vsalign.topiq import Topiq

    # Where the path of the machine that began the job does not exist, this one's own file is taken; its hash counts.
    given = settings.weights if Path(settings.weights).is_file() else ""
    # A window of features is kept: 382 MB each at 1920x1080 in single precision.
    return Topiq(given, device, half_storage=True)


def _found_plugin(backend: str) -> MetricSettings:
    try:
        from vsalign.pluginmetric import find_filter

        found = find_filter(backend or None, quiet=True)
    except ImportError as error:
        raise InputError(
            f"sync.precision is 2: VapourSynth can't be loaded ({error}); accepted without it: 1, 3 or 4"
        ) from None
    except ValueError:
        wanted = "Vship, or take --device cpu" if backend == "cuda" else "vszip or julek, or Vship for CUDA"
        raise InputError(
            f'sync.precision is 2: no VapourSynth plugin for it is loaded; install {wanted} (vsalign\'s extra "metrics" brings '
            f"vszip); accepted without it: 1, 3 or 4"
        ) from None
    return MetricSettings(2, found.name, f"{found.plugin} {found.version}", backend, on_gpu=found.plugin == "vship")


def _found_network(device: str) -> MetricSettings:
    try:
        path = find_weights(TOPIQ_FR)
    except InputError:
        raise InputError(
            f"sync.precision is 3: the weights of TOPIQ are not in {weights_folder()}; "
            f"`vsalign weights get {TOPIQ_FR.name}` fetches them"
        ) from None
    try:
        check_hash(TOPIQ_FR, path, hash_of(path))
    except (InputError, OSError) as error:
        raise InputError(f"sync.precision is 3: {error}") from None
    return MetricSettings(3, "TOPIQ", TOPIQ_FR.sha256, weights=str(path), on_gpu=device != "cpu")
