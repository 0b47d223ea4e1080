"""Slides turned into bags, one job each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
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


@pytest.mark.parametrize(
    "other",
    ["B/schnitt \u00e4.svs", "B/Schnitt a\u0308.ndpi", "https://host/B/Schnitt \u00e4.ome.zarr/"],
)
def test_slides_whose_bags_a_file_system_holds_for_one_are_refused(
    other: str, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="would both be"):
        bag_files(["A/Schnitt \u00e4.tif", other], tmp_path)


@pytest.mark.parametrize("theirs", ["uni", None])
def test_bags_of_another_encoder_are_replaced_only_if_that_is_asked_for(
    slide_file: Path, encoder: Encoder, tmp_path: Path, theirs: str | None
) -> None:
    settings = GradeSettings(device="cpu")
    job = BagJob(str(slide_file), tmp_path / "slide.h5", encoder, settings)
    assert bag_to_file(job).status is BagStatus.WRITTEN
    with h5py.File(job.path, "r+") as file:
        attributes = file["coords"].attrs
        del attributes["encoder_sha256"], attributes["encoder"]
        if theirs is not None:
            attributes["encoder"], attributes["encoder_sha256"] = theirs, "1" * 64
    before = job.path.read_bytes()
    outcome = bag_to_file(job)
    assert outcome.status is BagStatus.FAILED
    named = "an encoder without a name" if theirs is None else f"{theirs} (sha256 11111111)"
    assert f"where those of {named} are" in outcome.message
    assert "choose another folder, or --fresh" in outcome.message
    assert job.path.read_bytes() == before
    assert bag_to_file(replace(job, fresh=True)).status is BagStatus.WRITTEN


@pytest.mark.parametrize("origin", [(40, 100), None], ids=["elsewhere", "does not say"])
def test_a_bag_that_counts_from_elsewhere_or_does_not_say_is_made_anew(
    slide_file: Path, encoder: Encoder, tmp_path: Path, origin: tuple[int, int] | None
) -> None:
    job = BagJob(str(slide_file), tmp_path / "slide.h5", encoder, GradeSettings(device="cpu"))
    assert bag_to_file(job).status is BagStatus.WRITTEN
    with h5py.File(job.path, "r+") as file:
        attributes = file["coords"].attrs
        if origin is None:
            del attributes["origin_in_file_px"]
        else:
            attributes["origin_in_file_px"] = origin
    assert bag_to_file(job).status is BagStatus.WRITTEN
    assert bag_to_file(job).status is BagStatus.SKIPPED
