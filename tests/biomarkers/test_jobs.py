"""Slides turned into bags, one job each."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_hmkd.biomarkers import jobs
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.biomarkers.jobs import BagJob, BagStatus, bag_files, bag_to_file
from napari_hmkd.errors import OutputError
from napari_hmkd.planning import GradeSettings


def refuse(**_: object) -> None:
    raise PermissionError("Read-only file system")


def test_where_nothing_can_be_written_whole_bags_are_skipped_and_others_are_told_at_once(
    slide_file: Path, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, settings = str(slide_file), GradeSettings(device="cpu")
    job = BagJob(slide, bag_files([slide], tmp_path)[slide], encoder, settings)
    assert bag_to_file(job).status is BagStatus.WRITTEN
    monkeypatch.setattr(jobs, "TemporaryFile", refuse)
    assert bag_files([slide], tmp_path) == {slide: job.path}
    assert bag_to_file(job).status is BagStatus.SKIPPED
    job.path.write_bytes(b"cut")
    outcome = bag_to_file(job)
    assert outcome.status is BagStatus.FAILED
    assert f"asked to write bags to {tmp_path}, but: Read-only" in outcome.message
    job.path.unlink()
    with pytest.raises(OutputError, match="Read-only file system; choose another folder"):
        bag_files([slide], tmp_path)
