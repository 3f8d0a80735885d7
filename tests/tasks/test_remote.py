"""Films read from an object store: the same pictures and sound as from a disk, few bytes, one version, clear refusals."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tasks import remote, remotefile
from tasks.decode import FrameReader
from tasks.errors import SourceChanged, StorageError
from tasks.messages import Probe, Source
from tasks.probe import parse_source, probe
from tasks.probefile import load_probe, save_probe
from tasks.remote import bytes_fetched, open_source, read_range, size_if_there, source_sha256, source_size, source_version
from tasks.remotefile import RemoteFile
from tasks.seekplan import SeekPlan
from tasks.soundread import SoundReader
from tasks.stitch import SegmentPlan, stitch
from tasks.store import file_sha256
from tasks.streamcopy import all_sound
from tests.gcs import Bucket, Stored, gcs_server
from tests.s3 import SECRET, S3Bucket, S3Server
from tests.synth import ALT_REF_VPX, OPEN_GOP_H264, Audio, Video, make_film, picture_hash
from vsalign.errors import InputError
from vsalign.frames import FrameRange

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bucket(s3: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh bucket, with an empty cache, and short pauses between attempts."""
    monkeypatch.setattr("tasks.objectread.PAUSES", (0.01, 0.01, 0.01))
    return s3.name


@pytest.fixture
def server(s3: S3Bucket) -> S3Server:
    return s3.server


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a tiny film has many."""
    monkeypatch.setattr(remotefile, "BLOCK_BYTES", 2048)


def put(bucket: str, name: str, content: bytes | Path) -> str:
    from tasks.objectclients import file_system

    data = content.read_bytes() if isinstance(content, Path) else content
    file_system("s3").pipe_file(f"{bucket}/{name}", data)
    return f"s3://{bucket}/{name}"


def drop(address: str) -> None:
    from tasks.objectclients import file_system

    file_system("s3").rm_file(address)


def fetched(work: Callable[[], object]) -> int:
    before = bytes_fetched()
    work()
    return bytes_fetched() - before


def hashes(film: Probe, frames: Sequence[int]) -> list[str]:
    with FrameReader(film) as reader:
        return [picture_hash(picture) for _, picture in reader.pictures(frames)]


def forget_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("VSALIGN_CACHE", str(folder))


FILMS = {
    "film.mkv": Video(num_frames=80, options=OPEN_GOP_H264),
    "film.mp4": Video(num_frames=80, options=OPEN_GOP_H264),
    "film.ts": Video(num_frames=80, options=OPEN_GOP_H264),
    "film.webm": Video(num_frames=80, codec="libvpx", options=ALT_REF_VPX),
}


# --- the same film


@pytest.mark.parametrize("name", FILMS)
def test_frames_from_a_store_are_those_of_the_disk(bucket: str, small_blocks: None, tmp_path: Path, name: str) -> None:
    local = make_film(tmp_path / name, FILMS[name])
    here, there = probe(Source(str(local))), probe(Source(put(bucket, f"a folder/{name}", local)))
    assert there.info.identity == here.info.identity, "wherever it lies"
    assert save_probe(there)[1] == save_probe(here)[1]
    frames = random.Random(name).choices(range(len(here.index)), k=12)
    assert hashes(there, frames) == hashes(here, frames)
    assert hashes(there, range(30, 60)) == hashes(here, range(30, 60))


def test_a_picture_is_the_same_mask_from_a_store(bucket: str, tmp_path: Path) -> None:
    local = make_film(tmp_path / "mask.png", Video(num_frames=1, codec="png", pixel_format="rgb24"), format="image2")
    here, there = probe(Source(str(local))), probe(Source(put(bucket, "mask.png", local)))
    assert there.info.identity == here.info.identity
    assert hashes(there, [0]) == hashes(here, [0])


def test_sound_from_a_store_is_that_of_the_disk(bucket: str, small_blocks: None, tmp_path: Path) -> None:
    local = make_film(tmp_path / "film.mkv", Video(), audio=[Audio(2.0), Audio(2.0, codec="flac")])
    there = put(bucket, "film.mkv", local)

    def heard(path: str) -> list[bytes]:
        with SoundReader(path, source_version(path)) as reader:
            reader.window(0.5, 1.5)
            return [reader.take(n, form.rate // 2, form.rate * 3 // 2).tobytes() for n, form in enumerate(reader.formats)]

    assert heard(there) == heard(str(local))


def test_stitch_copies_sound_from_a_store(bucket: str, small_blocks: None, tmp_path: Path) -> None:
    local = make_film(tmp_path / "film.mkv", Video(), audio=[Audio(2.0)])
    segment = [SegmentPlan(str(make_film(tmp_path / "segment.mkv", Video())), FrameRange(0, 48))]
    pts, there = np.arange(48, dtype=np.int64) * 40, put(bucket, "film.mkv", local)
    for name, audio in (("here.mkv", all_sound(str(local))), ("there.mkv", all_sound(there, version=source_version(there)))):
        stitch(segment, pts, Fraction(1, 1000), 40, str(tmp_path / name), audio)
    assert (tmp_path / "there.mkv").read_bytes() == (tmp_path / "here.mkv").read_bytes()
    with pytest.raises(SourceChanged):
        stitch(segment, pts, Fraction(1, 1000), 40, str(tmp_path / "no.mkv"), all_sound(there, version="another"))


def test_any_stream_of_an_object_can_be_meant(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = make_film(tmp_path / "film.mp4", Video(), Video(num_frames=20, width=96, height=64))
    source = parse_source(put(bucket, "film.mp4", local) + "#v:1")
    assert source == Source(f"s3://{bucket}/film.mp4", 1)
    assert probe(source).info.num_frames == 20
    odd = tmp_path / "s3:" / bucket
    odd.mkdir(parents=True)
    (odd / "film.mp4#v:1").touch()
    monkeypatch.chdir(tmp_path)
    assert parse_source(str(source)) == source, "no file of this machine is meant"


def test_ranges_sizes_and_hashes_are_those_of_the_file(bucket: str, small_blocks: None, tmp_path: Path) -> None:
    local = tmp_path / "data.bin"
    local.write_bytes(random.Random(0).randbytes(10_000))
    there = put(bucket, "data.bin", local)
    assert source_size(there) == source_size(str(local)) == 10_000
    assert source_sha256(there) == source_sha256(str(local)) == file_sha256(local)
    for start, stop in ((0, 1), (2047, 2049), (4096, 6144), (9_990, 99_999), (10_000, None), (0, None), (5, 5)):
        assert read_range(there, start, stop) == read_range(str(local), start, stop) == local.read_bytes()[start:stop]
    assert source_version(str(local)) == "" != source_version(there)
    assert size_if_there(there) == 10_000 and size_if_there(there + ".no") == size_if_there("/no/such/file") == 0


def test_a_file_object_seeks_as_files_do(bucket: str, small_blocks: None) -> None:
    data = random.Random(1).randbytes(9_000)
    with remote_file(put(bucket, "data.bin", data)) as file:
        assert (file.seek(-10, 2), file.read(20), file.read(1)) == (8_990, data[-10:], b"")
        assert (file.seek(100), file.seek(50, 1), file.tell(), file.read(3)) == (100, 150, 150, data[150:153])
        assert (file.seek(20_000), file.read(5)) == (20_000, b"")
        with pytest.raises(ValueError, match="accepted"):
            file.seek(-1)


def remote_file(address: str, version: str = "") -> RemoteFile:
    opened = open_source(address, version)
    assert isinstance(opened, RemoteFile)
    return opened


# --- few bytes


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 s of noise at 4 Mbit/s with sound, key frames every two seconds, as .mkv and .mp4."""
    folder = tmp_path_factory.mktemp("long")
    for name in ("film.mkv", "film.mp4"):
        _write_noise(folder / name)
    return folder


def _write_noise(path: Path, num_frames: int = 360, width: int = 192, height: int = 144, kbit: int = 4000) -> None:
    noise = np.random.default_rng(0)
    rate = f"vbv-maxrate={kbit}:vbv-bufsize={kbit // 4}:nal-hrd=cbr"
    params = f"keyint=48:min-keyint=48:scenecut=0:bframes=2:threads=1:{rate}"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=24, options={"preset": "ultrafast", "x264-params": params})
        video.width, video.height, video.pix_fmt, video.bit_rate = width, height, "yuv420p", kbit * 1000
        sound = out.add_stream("aac", rate=48000)
        sound.codec_context.layout = "stereo"
        for n in range(num_frames):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (height * 3 // 2, width), np.uint8), format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 24)
            out.mux(video.encode(frame))
            heard = av.AudioFrame.from_ndarray(noise.standard_normal((2, 2000)).astype(np.float32) / 4, "fltp", "stereo")
            heard.sample_rate, heard.pts, heard.time_base = 48000, n * 2000, Fraction(1, 48000)
            out.mux(sound.encode(heard))
        out.mux([*video.encode(None), *sound.encode(None)])


def needed(film: Probe, start: int, stop: int) -> int:
    """Bytes of the packets from the key frame that decoding starts at to the last one of the frames [start, stop)."""
    plan, index = SeekPlan.of(film.index, film.info.codec), film.index
    first = plan.key_ranks[plan.start_key(start)]
    inside = (index.packet >= first) & (index.packet <= index.packet[start:stop].max())
    return int(index.packet_bytes[inside].sum())


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
def test_a_chunk_costs_little_more_than_its_own_bytes(
    bucket: str, server: S3Server, long_film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    address = put(bucket, name, long_film / name)
    size = (long_film / name).stat().st_size
    found: list[Probe] = []
    assert fetched(lambda: found.append(probe(Source(address)))) <= 1.01 * size, "the film is read once"
    assert sum(method == "GET" for method, _ in server.requests) < 10, "in large pieces"
    film = found[0]
    assert 3e6 < size * 8 / 15 < 5e6, "a film of a few Mbit/s"
    for start, stop in ((240, 340), (145, 265)):
        forget_cache(monkeypatch, tmp_path / f"fresh-{start}")
        cost = fetched(lambda start=start, stop=stop: hashes(film, range(start, stop)))
        assert 0.9 * needed(film, start, stop) < cost < 1.3 * needed(film, start, stop)
        assert fetched(lambda start=start, stop=stop: hashes(film, range(start, stop))) == 0, "the node has it now"


def test_processes_of_a_node_share_what_they_fetch(bucket: str, long_film: Path) -> None:
    address = put(bucket, "film.mkv", long_film / "film.mkv")
    film = probe(Source(address))
    code = (
        "import sys; from tasks.remote import *; from tasks.probe import probe; from tasks.messages import Source\n"
        "info = probe(Source(sys.argv[1])).info; print(info.identity, bytes_fetched())"
    )
    told = subprocess.run([sys.executable, "-c", code, address], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.split() == [film.info.identity, "0"]


def test_without_a_cache_films_are_read_all_the_same(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSALIGN_CACHE_GB", "0")
    local = make_film(tmp_path / "film.mkv", Video(options=OPEN_GOP_H264))
    there = probe(Source(put(bucket, "film.mkv", local)))
    assert hashes(there, [30, 7]) == hashes(probe(Source(str(local))), [30, 7])
    assert not list((tmp_path / "node-cache").rglob("0*"))


def test_long_runs_come_in_large_pieces_and_jumps_in_small_ones() -> None:
    class Counted:
        address, version, size = "s3://films/film.mkv", "1", 4000 * remotefile.BLOCK_BYTES

        def __init__(self) -> None:
            self.reads: list[int] = []

        def read(self, start: int, stop: int) -> bytes:
            self.reads.append((stop - start) // remotefile.BLOCK_BYTES)
            return bytes(stop - start)

    def read(file: RemoteFile, first: int, blocks: int) -> None:
        file.seek(first * remotefile.BLOCK_BYTES)
        for _ in range(blocks * 4):
            file.read(remotefile.BLOCK_BYTES // 4)

    in_a_row, jumps, through = Counted(), Counted(), Counted()
    read(RemoteFile(in_a_row, None), 0, 2000)  # type: ignore[arg-type]
    assert max(in_a_row.reads) == 32 and len(in_a_row.reads) < 160
    for length in (10, 50, 200, 1000):
        stopped = Counted()
        read(RemoteFile(stopped, None), 7, length)  # type: ignore[arg-type]
        assert sum(stopped.reads) <= length * 17 / 16 + 1, "read ahead is at most a sixteenth of what was read"
    file = RemoteFile(jumps, None)  # type: ignore[arg-type]
    for first in random.Random(0).sample(range(0, 4000, 20), 50):
        read(file, first, 1)
    assert jumps.reads == [1] * 50
    read(RemoteFile(through, None, through=True), 0, 2000)  # type: ignore[arg-type]
    assert len(through.reads) < 40


READER = """
import random, sys
from tasks import remotefile
from tasks.blockcache import BlockCache
from tasks.objectread import open_object
from pathlib import Path
remotefile.BLOCK_BYTES = 2048
whole, dice = random.Random(5).randbytes(300_000), random.Random(int(sys.argv[3]))
file = remotefile.RemoteFile(open_object(sys.argv[1]), BlockCache(Path(sys.argv[2]), 40_000))
for _ in range(30):
    at, size = dice.randrange(100_000), dice.randrange(8_000)
    file.seek(at)
    assert file.read(size) == whole[at : at + size]
    file.close()  # forgets what it holds itself
"""


def test_processes_that_share_a_small_cache_never_read_a_wrong_byte(bucket: str, tmp_path: Path) -> None:
    address = put(bucket, "data.bin", random.Random(5).randbytes(300_000))
    command = [sys.executable, "-c", READER, address, str(tmp_path / "shared")]
    (tmp_path / "shared").mkdir()
    readers = [subprocess.Popen([*command, str(seed)], cwd=ROOT, stderr=subprocess.PIPE) for seed in range(3)]
    assert [reader.communicate()[1].decode() for reader in readers] == [""] * 3
    assert [reader.returncode for reader in readers] == [0] * 3


def test_threads_may_read_side_by_side(bucket: str, small_blocks: None, tmp_path: Path) -> None:
    local = make_film(tmp_path / "film.mkv", Video(num_frames=80, options=OPEN_GOP_H264))
    film, here = probe(Source(put(bucket, "film.mkv", local))), probe(Source(str(local)))
    found: dict[int, list[str]] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: hashes(film, range(n, n + 30))})) for n in (0, 20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: hashes(here, range(n, n + 30)) for n in (0, 20, 40)}


class Slow:
    """An object that gives way to other threads at every read."""

    address, version, size = "s3://films/data.bin", "1", 100_000
    data = random.Random(4).randbytes(size)

    def read(self, start: int, stop: int) -> bytes:
        time.sleep(0.0005)
        return self.data[start:stop]


def test_threads_that_share_a_file_get_each_byte_once(small_blocks: None) -> None:
    file, pieces = RemoteFile(Slow(), None), []  # type: ignore[arg-type]

    def read() -> None:
        while piece := file.read(1000):
            pieces.append(piece)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pieces) == 100 and set(pieces) == {Slow.data[at : at + 1000] for at in range(0, 100_000, 1000)}


def test_a_read_that_failed_is_told_once(small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg reads on before it hands an error over, and what raises then is printed and lost."""

    def refuse(self: Slow, start: int, stop: int) -> bytes:
        raise StorageError(self.address, "unreachable", "no answer")

    monkeypatch.setattr(Slow, "read", refuse)
    file = RemoteFile(Slow(), None)  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        file.read(10)
    assert file.read(10) == b""


# --- one version


def test_a_film_that_was_written_again_is_not_read_on(bucket: str, small_blocks: None, tmp_path: Path) -> None:
    films = [make_film(tmp_path / f"{n}.mkv", Video(first_frame=n, options={"qp": "0", "preset": "ultrafast"})) for n in (0, 9)]
    address = put(bucket, "film.mkv", films[0])
    film, file = probe(Source(address)), remote_file(address)
    assert file.read(100) == films[0].read_bytes()[:100]
    other = films[1].read_bytes()[: film.info.size_bytes].ljust(film.info.size_bytes, b"\0")
    put(bucket, "film.mkv", other)
    with pytest.raises(SourceChanged) as caught:
        hashes(film, [30])
    assert str(caught.value) == f"{address}: no longer the film that this job began with (it was written again)"
    assert read_range(address, 0) == other, "what the node has of the first is not taken for it"


def test_bytes_of_two_versions_never_mix(bucket: str, small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSALIGN_CACHE_GB", "0")
    old, new = (random.Random(seed).randbytes(50_000) for seed in (1, 2))
    address = put(bucket, "film.mkv", old)
    version, file = source_version(address), remote_file(address)
    assert file.read(5000) == old[:5000]
    put(bucket, "film.mkv", new)
    with pytest.raises(SourceChanged, match="written again"):
        file.read(40_000)
    with pytest.raises(SourceChanged, match="written again"):
        read_range(address, 0, 10, version)
    assert source_version(address) != version and read_range(address, 0, 10) == new[:10]
    drop(address)
    with pytest.raises(SourceChanged, match="it is gone"):
        open_source(address, version)


def test_a_fault_while_ffmpeg_reads_comes_out(bucket: str, small_blocks: None, tmp_path: Path, server: S3Server) -> None:
    local = make_film(tmp_path / "film.mkv", Video(num_frames=200, options={"qp": "0", "preset": "ultrafast"}))
    address = put(bucket, "film.mkv", local)
    film = probe(Source(address))
    with FrameReader(film) as reader:
        (tmp_path / "node-cache").rename(tmp_path / "gone")
        pictures = reader.pictures(range(200))
        next(pictures)
        server.spoil = lambda request: 403 if request["REQUEST_METHOD"] == "GET" else None
        with pytest.raises(StorageError) as caught:
            list(pictures)
    assert caught.value.what == "denied" and caught.value.location == address


def test_a_probe_of_before_there_were_versions_loads(tmp_path: Path) -> None:
    description, arrays = save_probe(probe(Source(str(make_film(tmp_path / "film.mkv", Video(num_frames=5))))))
    assert b'"version": ""' in description
    old = description.replace(b',\n "version": ""', b"")
    assert old != description and load_probe(old, arrays).info.version == ""


# --- clear refusals


def refusal(address: str) -> str:
    with pytest.raises(InputError) as caught:
        probe(Source(address))
    assert "\n" not in str(caught.value) and SECRET not in str(caught.value)
    return str(caught.value)


def test_what_is_not_there_is_named(bucket: str) -> None:
    assert refusal(f"s3://{bucket}/no.mkv") == f"s3://{bucket}/no.mkv: no such file"
    assert refusal("s3://no-such-bucket-at-all/no.mkv").startswith("s3://no-such-bucket-at-all/no.mkv: ")
    put(bucket, "folder/film.mkv", b"x")
    assert "is a folder" in refusal(f"s3://{bucket}/folder")
    assert "not a readable video file" in refusal(f"s3://{bucket}/folder/film.mkv")


def test_a_store_that_refuses_is_told_in_a_line(bucket: str, server: S3Server) -> None:
    address = put(bucket, "film.mkv", b"x")
    server.spoil = lambda request: 403
    assert refusal(address).startswith(f"{address}: access refused (")


def test_a_store_that_is_not_there_is_told_in_a_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert refusal(f"s3://{bucket}/film.mkv").startswith(f"s3://{bucket}/film.mkv: out of reach (")


def test_a_store_that_stumbles_is_asked_again(bucket: str, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(3).randbytes(1000)
    address = put(bucket, "film.mkv", data)
    file, left = remote_file(address), [5]

    def stumble(request: dict[str, object]) -> int | None:
        left[0] -= 1
        return 500 if left[0] >= 0 else None

    server.spoil = stumble
    assert file.read() == data
    left[0] = 3  # the client itself asks twice
    assert remote_file(address, file._source.version).read() == data
    monkeypatch.setattr("tasks.objectread.PAUSES", (0.01,))
    server.spoil = lambda request: 500
    with pytest.raises(StorageError) as caught:
        read_range(address, 0, 10, file._source.version)
    assert caught.value.what == "unreachable"


def test_google_s_store_gives_the_same_film_and_one_version_of_it(
    node_cache_folder: Path, small_blocks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gcsfs")
    monkeypatch.setattr("tasks.objectread.PAUSES", (0.01,))
    local = make_film(tmp_path / "film.mkv", Video(options=OPEN_GOP_H264))
    held = Bucket({"a/film.mkv": Stored(local.read_bytes(), 7, {})})
    with gcs_server(monkeypatch, {"films": held}):
        here, there = probe(Source(str(local))), probe(Source("gs://films/a/film.mkv"))
        assert (there.info.identity, there.info.version) == (here.info.identity, "7")
        assert hashes(there, [30, 7]) == hashes(here, [30, 7])
        file = remote_file("gs://films/a/film.mkv")
        monkeypatch.setattr(file, "_cache", None)
        held.objects["a/film.mkv"] = Stored(bytes(local.stat().st_size), 8, {})
        with pytest.raises(SourceChanged):
            file.read(10)
        with pytest.raises(SourceChanged, match="written again"):
            hashes(there, [30])
        with pytest.raises(InputError, match="no such file"):
            probe(Source("gs://films/no.mkv"))
        with pytest.raises(InputError, match="is a folder"):
            probe(Source("gs://films/a"))


def test_a_store_whose_package_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs.core", None)
    with pytest.raises(InputError, match="needs the package gcsfs"):
        remote.source_version("gs://films/film.mkv")
