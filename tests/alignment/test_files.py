"""Alignments written and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.alignment.sections import MPP, drawn

from napari_hmkd.alignment import (
    Alignment,
    Method,
    align_by_landmarks,
    align_by_matrix,
    load_alignment,
    save_alignment,
)
from napari_hmkd.errors import AlignmentError, OutputError
from napari_hmkd.slide import Slide


@pytest.fixture
def alignment(he_slide: Slide, ihc_slide: Slide) -> Alignment:
    he = np.array([(0.0, 0.0), (1000.0, 100.0), (1 / 3, 900.0), (500.0, 500.0)])
    return align_by_landmarks(he_slide, ihc_slide, he, he * 1.1 + (3, 5) + np.sin(he))


def test_what_is_read_is_what_was_written(
    tmp_path: Path, alignment: Alignment, he_slide: Slide, ihc_slide: Slide
) -> None:
    path = tmp_path / "Ergebnisse ä" / "alignment.json"
    save_alignment(path, alignment)
    read = load_alignment(path, he_slide, ihc_slide)
    assert np.array_equal(read.affine, alignment.affine)
    assert read.method is Method.LANDMARKS
    assert (read.residual_um, read.score) == (alignment.residual_um, None)
    assert read.he_fingerprint == alignment.he_fingerprint
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_of_other_slides_is_refused(
    tmp_path: Path,
    write_slide: Callable[..., Slide],
    alignment: Alignment,
    he_slide: Slide,
    ihc_slide: Slide,
) -> None:
    save_alignment(tmp_path / "a.json", alignment)
    other = write_slide("other.tif", drawn(1).he[::-1], MPP)
    with pytest.raises(AlignmentError, match=r"aligns another H&E than 'other\.tif'"):
        load_alignment(tmp_path / "a.json", other, ihc_slide)
    with pytest.raises(AlignmentError, match=r"aligns another IHC than 'other\.tif'"):
        load_alignment(tmp_path / "a.json", he_slide, other)


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}), encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "something else"}, "format: Input should be 'napari-hmkd alignment'"),
        ({"version": 2}, "version: Input should be 1; choose a file that this version of"),
        ({"affine": [[1, 0, 0]]}, "affine"),
        ({"affine": [[1, 0, None], [0, 1, 0]]}, "affine.0.2"),
        ({"method": "guessed"}, "method"),
        ({"residual_um": -1.0}, "residual_um"),
        ({"he_fingerprint": None}, "he_fingerprint"),
    ],
)
def test_a_file_that_is_no_alignment_is_refused_with_what_is_wrong(
    tmp_path: Path,
    alignment: Alignment,
    he_slide: Slide,
    ihc_slide: Slide,
    values: dict[str, Any],
    message: str,
) -> None:
    save_alignment(tmp_path / "a.json", alignment)
    changed(tmp_path / "a.json", **values)
    with pytest.raises(OutputError, match=f"read an alignment from .*{message}"):
        load_alignment(tmp_path / "a.json", he_slide, ihc_slide)


@pytest.mark.parametrize("key", ["format", "version", "maps", "score", "he_mpp"])
def test_a_key_that_a_file_lacks_is_named_with_what_helps(
    tmp_path: Path, alignment: Alignment, he_slide: Slide, ihc_slide: Slide, key: str
) -> None:
    save_alignment(tmp_path / "a.json", alignment)
    content = json.loads((tmp_path / "a.json").read_text())
    del content[key]
    (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(OutputError, match=f"but: {key}: Field required; .*or align the slides"):
        load_alignment(tmp_path / "a.json", he_slide, ihc_slide)


def test_a_matrix_edited_into_a_mirror_is_refused(
    tmp_path: Path, alignment: Alignment, he_slide: Slide, ihc_slide: Slide
) -> None:
    save_alignment(tmp_path / "a.json", alignment)
    changed(tmp_path / "a.json", affine=[[1, 0, 0], [0, -1, 0]])
    with pytest.raises(AlignmentError, match="mirrors"):
        load_alignment(tmp_path / "a.json", he_slide, ihc_slide)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[]"])
def test_a_missing_or_damaged_file_is_refused(
    tmp_path: Path, he_slide: Slide, ihc_slide: Slide, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"a\.json, but: .*choose a file that this version"):
        load_alignment(tmp_path / "a.json", he_slide, ihc_slide)


def test_a_file_that_cannot_be_written_is_an_error_that_leaves_nothing(
    impossible_folder: Path, he_slide: Slide, ihc_slide: Slide
) -> None:
    with pytest.raises(OutputError, match="asked to write the alignment to"):
        save_alignment(
            impossible_folder / "a.json", align_by_matrix(he_slide, ihc_slide, np.eye(3))
        )


def test_a_failed_write_keeps_the_earlier_file(
    tmp_path: Path, alignment: Alignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "a.json"
    save_alignment(path, alignment)
    before = path.read_bytes()

    def full(self: Path, text: str, encoding: str) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        save_alignment(path, alignment)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
