"""The report's numbers, from maps whose answer is known."""

from dataclasses import asdict, replace

import numpy as np

from orchestrator.alignment import Alignment, align_line, summarise_alignment
from orchestrator.ledger import RunFacts
from orchestrator.report import Report, StageReport, format_report, least_certain, summarise_matches, timecode
from tasks.work import Record
from tests.factories import config_of, frame_index, record
from vsalign.edits import find_edits
from vsalign.framemap import FrameMap


def test_matches_are_counted_by_confidence_and_offset():
    frame_map = FrameMap.of_clip_frames(np.arange(100) - 2, 100)
    frame_map = replace(frame_map, confidence=np.where(frame_map.matched, np.linspace(0, 1, 100, dtype=np.float32), 0))
    matches = summarise_matches(frame_map, frame_index(100))
    assert (matches.frames, matches.matched, matches.unmatched, matches.common_offset_frames) == (100, 98, 2, -2)
    assert sum(matches.by_confidence) == 98 and matches.by_confidence[3] == 25


def test_the_least_certain_stretches_come_worst_first_with_their_times_from_the_first_frame():
    index = frame_index(2400, first_pts=900000)
    confidence = np.ones(2400, np.float32)
    confidence[240:264], confidence[1200:1210] = 0.4, 0.1
    worst, other = least_certain(confidence, index.pts, index.time_base)
    assert (worst.start_frame, worst.stop_frame, worst.start_seconds) == (1200, 1210, 50.0)
    assert (other.start_frame, other.stop_frame, other.start_seconds) == (240, 264, 10.0)


def test_uncertain_frames_close_together_are_one_stretch_and_ten_are_listed():
    index = frame_index(3000)
    confidence = np.ones(3000, np.float32)
    confidence[100:120:4] = 0.0
    assert len(least_certain(confidence, index.pts, index.time_base)) == 1
    confidence[::100] = 0.0
    assert len(least_certain(confidence, index.pts, index.time_base)) == 10


def test_a_report_reads_as_text():
    matches = summarise_matches(FrameMap.identity(100, 90), frame_index(100))
    sync = {"score": 0.91, "needed_score": 0.2, "offset_seconds": -0.083, "rate_ratio": 1.0}
    report = Report("out.mkv", "clip.mkv", "ref.mkv", True, 3, 100, (StageReport("render", 100, 5.0, 3, 1, 2),), matches, sync)
    text = format_report(report.to_json())
    unmatched = "10 without counterpart (0 at the start, 10 at the end)"
    for part in ("100 frames in 3 chunks", "20.0 frames/s; 2 units done, 1 reused, 2 retries", unmatched, "- 0.083 s"):
        assert part in text


def test_a_report_of_failed_chunks_names_them():
    matches = summarise_matches(FrameMap.identity(10, 10), frame_index(10))
    report = Report("o.mkv", "c", "r", False, 3, 10, (), matches, parked={"render-00001 (ref frames [3, 6))": "ValueError: x"})
    assert "render-00001 (ref frames [3, 6)): ValueError: x" in format_report(report.to_json())


def test_the_edits_are_listed_up_to_a_dozen_and_all_of_them_kept():
    clip_frame = np.concatenate([np.arange(50) + 50 * k if k % 2 else np.full(50, -1) for k in range(41)])
    frame_map = FrameMap.of_clip_frames(clip_frame, 2050)
    edits = find_edits(frame_map, np.arange(2050) / 24, np.arange(2050) / 24)
    matches = summarise_matches(frame_map, frame_index(2050))
    report = Report("o.mkv", "c", "r", True, 1, 2050, (), matches, edits=edits)
    told = report.to_json()
    lines = [line for line in format_report(told).splitlines() if "replaced" in line or "more" in line]
    assert len(told["edits"]) == 21 and len(lines) == 13 and lines[-1].strip() == "and 9 more, in report.json"
    none = format_report(Report("o.mkv", "c", "r", True, 1, 2050, (), matches).to_json())
    assert "edits     none: both films show the same frames in the same order" in none
    before = {key: value for key, value in told.items() if key != "edits"}
    assert "edits" not in format_report(before)


def test_a_run_over_several_machines_with_faults_tells_of_them():
    matches = summarise_matches(FrameMap.identity(10, 10), frame_index(10))
    hosts = {f"host{n}": 40 - n for n in range(10)}
    run = RunFacts(hosts, {"preempted": 3, "code": 1}, 84.4, {"1": 3, "2": 1})
    told = Report("o.mkv", "c", "r", True, 3, 10, (), matches, run=run).to_json()
    text = format_report(told)
    assert told["run"]["hosts"] == hosts
    assert "nodes     10, units done by each: host0 40, host1 39" in text and "host7 33, 2 more" in text
    assert "failures  3 preempted, 1 code; 84 s of work lost" in text and "memory    short: 3 at level 1, 1 at level 2" in text


def test_a_calm_run_on_one_machine_tells_nothing_of_it():
    matches = summarise_matches(FrameMap.identity(10, 10), frame_index(10))
    told = Report("o.mkv", "c", "r", True, 3, 10, (), matches, run=RunFacts({"host": 3})).to_json()
    before = {key: value for key, value in told.items() if key != "run"}
    assert format_report(told) == format_report(before)
    assert not {"nodes", "failures", "memory"} & {line.split(" ")[0] for line in format_report(told).splitlines()}


def test_timecodes():
    assert timecode(3661.0405) == "01:01:01.040" and timecode(59.9999) == "00:01:00.000"


def chunk(frames: int, confidence: float, mismatched: float = 0.0, wide_found: int = 0) -> Record:
    facts = {"aligned_frames": frames, "confidence": confidence, "mismatched": mismatched, "wide_found": wide_found}
    return record(facts=facts)


def test_alignment_is_summed_over_chunks_by_their_frames():
    settings = config_of(align={"mismatch": "ref", "wide_search": True, "smooth_time": 3}).align
    found = summarise_alignment([chunk(10, 0.9, 0.1, 4), chunk(30, 0.5, 0.0, 30), chunk(0, 0.0)], settings)
    assert found == Alignment(40, 0.6, 3, "ref", 0.025, 34)
    line = align_line(asdict(found))
    assert line == (
        "mean confidence 0.60, warps steadied over 3 frames on each side, wide search found a homography in 34 of 40 frames, "
        "2.50% of pixels mismatched, shown as: ref"
    )


def test_what_was_not_asked_is_not_told():
    found = summarise_alignment([chunk(10, 0.9)], config_of(align={"smooth_time": 0}).align)
    assert found is not None and found.mismatched_share is None and found.wide_search_found is None
    assert align_line(asdict(found)) == "mean confidence 0.90, every warp on its own"
    assert summarise_alignment([chunk(10, 0.9)], config_of(align={"warp": False}).align) is None
    assert summarise_alignment([], config_of().align) is None
