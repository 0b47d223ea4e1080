"""A distillation shows after each epoch where teacher and student look on a few validation tiles."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd import leftovers
from napari_hmkd.errors import OutputError
from napari_hmkd.model import agreement, build_student, load
from napari_hmkd.training.attention_picture import WatchedTile, draw_tiles
from napari_hmkd.training.attention_watch import choose_tiles, read_agreement
from napari_hmkd.training.config import (
    CohortSettings,
    DistillationSettings,
    EngineSettings,
    ExportSettings,
    Method,
    ParallelComputeSettings,
    SplitSettings,
    StoredDataSettings,
    StudentSettings,
    TrainSettings,
)
from napari_hmkd.training.sources.opening import open_source
from napari_hmkd.training.workflow import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn_scores")]
EPOCHS = 3
SETTINGS = TrainSettings(
    split=SplitSettings(validation_share=0.2, calibration_share=0.2, test_share=0),
    engine=EngineSettings(epochs=EPOCHS),
    compute=ParallelComputeSettings(batch_size=4, device="cpu"),
    export=ExportSettings(width=0.25, name="watched"),
)
ONE_EPOCH = replace(SETTINGS, engine=EngineSettings(epochs=1))
PICTURES = [f"epoch_{epoch:03d}.png" for epoch in range(1, EPOCHS + 1)]
TABLE = "attention.csv"


@pytest.fixture(scope="module")
def watched(data: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished HM-KD run."""
    out = tmp_path_factory.mktemp("Läufe") / "ganz"
    train(str(data), out, SETTINGS, role="student", teacher=teacher)
    return out


def test_each_epoch_has_its_picture_and_its_row(watched: Path) -> None:
    assert sorted(path.name for path in (watched / "attention").iterdir()) == PICTURES
    with (watched / TABLE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "agreement_0", "agreement_1", "agreement_2"]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    with Image.open(watched / "attention" / PICTURES[-1]) as image:
        assert min(image.size) > 500


def test_the_table_holds_the_mean_agreement_of_the_validation_tiles(
    watched: Path, data: Path, teacher: Path
) -> None:
    kept = torch.load(watched / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    own = {name: kept[name] for name in kept if name.startswith("network.")}
    student = build_student(width=0.25).eval()
    student.load_state_dict({name.removeprefix("network."): own[name] for name in own})
    guide, card = load(teacher)
    guide.eval()
    with (watched / "split.csv").open(newline="", encoding="utf-8") as file:
        held = {row["tile"] for row in csv.DictReader(file) if row["split"] == "validation"}
    source = open_source(str(data), CohortSettings(), StoredDataSettings())
    found = []
    for index, tile in enumerate(source.tiles):
        if tile.name not in held:
            continue
        he, ihc = (card.normalise(torch.from_numpy(one[None])) for one in source.read(index))
        with torch.no_grad():
            taught = guide(he, ihc, attention=True).attention.he
            learned = student(he, attention=True).attention
        found.append([agreement(*pair).item() for pair in zip(learned, taught, strict=True)])
    assert len(found) == 4  # of each grade one: the watched ones
    assert read_agreement(watched)[EPOCHS] == pytest.approx(np.mean(found, axis=0), abs=1e-5)


def test_a_resumed_run_has_each_epoch_once(
    watched: Path, data: Path, teacher: Path, tmp_path: Path
) -> None:
    def go_on(deadline: float | None = None) -> None:
        train(
            str(data), out, SETTINGS, role="student", teacher=teacher, resume=True, deadline=deadline
        )  # fmt: skip

    out = tmp_path / "in Stücken"
    go_on(deadline=time.monotonic())
    assert list(read_agreement(out)) == [1]
    # As if killed after the second epoch was looked at, and before it was kept.
    table = out / TABLE
    table.write_text(table.read_text(encoding="utf-8") + "2,0.9,0.9,0.9\n", encoding="utf-8")
    (out / "attention" / PICTURES[1]).write_bytes(b"of an epoch that was cut short")
    go_on()
    assert table.read_bytes() == (watched / TABLE).read_bytes()
    for name in PICTURES:
        path = Path("attention") / name
        assert (out / path).read_bytes() == (watched / path).read_bytes(), name


def test_a_table_that_another_program_has_open_ends_no_run(
    watched: Path, data: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows replaces no open file: the rows come with the epoch after it is closed."""
    out, replace_file, refused = tmp_path / "in Excel", os.replace, []

    def refuse(source: Path, target: Path) -> None:
        if target.name == TABLE and len(refused) < EPOCHS - 1:
            refused.append(target)
            raise PermissionError(errno.EACCES, "Access is denied", str(target))
        replace_file(source, target)

    monkeypatch.setattr(leftovers, "_PAUSES_S", ())
    monkeypatch.setattr(os, "replace", refuse)
    train(str(data), out, SETTINGS, role="student", teacher=teacher)
    assert len(refused) == EPOCHS - 1
    assert (out / TABLE).read_bytes() == (watched / TABLE).read_bytes()


@pytest.mark.parametrize(
    "settings",
    [
        replace(ONE_EPOCH, distillation=DistillationSettings(method=Method.NONE)),
        replace(ONE_EPOCH, distillation=DistillationSettings(attention=0)),
        replace(
            ONE_EPOCH,
            distillation=DistillationSettings(method=Method.HINTON),
            student=StudentSettings(student="timm:test_resnet"),
            export=ExportSettings(),
        ),
    ],
    ids=["none", "without its attention term", "timm student"],
)
def test_a_run_that_learns_no_attention_shows_none(
    data: Path, teacher: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    alone = settings.distillation.method is Method.NONE
    out = tmp_path / "ohne"
    train(str(data), out, settings, role="student", teacher=None if alone else teacher)
    assert (out / "metrics.csv").is_file()
    assert not (out / TABLE).exists()
    assert not (out / "attention").exists()
    page = (out / "evaluation.html").read_text(encoding="utf-8")
    assert "Where teacher and student looked" not in page


def test_the_page_shows_the_curve_and_the_first_middle_and_last_epoch(watched: Path) -> None:
    page = (watched / "evaluation.html").read_text(encoding="utf-8")
    (section,) = re.findall("Where teacher and student looked.*?<h2>", page, re.DOTALL)
    assert section.count("<img") == 4
    assert re.findall(r'alt="([^"]*)"', section)[1:] == [
        f"Some validation tiles after epoch {epoch}." for epoch in (1, 2, 3)
    ]


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert read_agreement(tmp_path) == {}
    (tmp_path / TABLE).write_text("epoch,agreement_0\none,0.5\n", encoding="utf-8")
    with pytest.raises(OutputError, match=TABLE):
        read_agreement(tmp_path)


@pytest.mark.parametrize(
    ("grades", "chosen"),
    [
        ([0, 0, 0, 1, 3, 2, 2], [0, 3, 5, 4]),
        ([2, 2, 2, 0, 2, 0], [3, 0, 5, 1]),
        ([-1, -1, -1, -1, -1], [0, 1, 2, 3]),
        ([3, 1], [1, 0]),
    ],
    ids=["one of each grade", "two grades", "without grades", "fewer tiles"],
)
def test_watched_are_the_first_tiles_of_all_grades(
    grades: Sequence[int], chosen: Sequence[int]
) -> None:
    assert choose_tiles(np.array(grades)).tolist() == chosen


SIDES = (8, 4, 2)


def drawn(teacher: Sequence[float], student: Sequence[float]) -> np.ndarray:
    """The pixels of a picture of one tile whose maps have one value each at each level."""
    maps = (
        tuple(
            np.full((side,) * 2, value, np.float32)
            for side, value in zip(SIDES, values, strict=True)
        )
        for values in (teacher, student)
    )
    tile = WatchedTile("Kachel", 2, np.zeros((64, 64, 3), np.uint8), *maps, np.full(3, 0.5))
    with Image.open(io.BytesIO(draw_tiles([tile], "epoch 1", ""))) as image:
        return np.asarray(image.convert("RGB"))


def count_coloured(pixels: np.ndarray, received: float) -> int:
    """How many pixels have the colour that the stated limits give a value."""
    colour = colormaps["inferno"](received / 2.0, bytes=True)[:3]
    return int((np.abs(pixels - np.array(colour, int)) <= 1).all(axis=-1).sum())


@pytest.mark.parametrize("teacher", [(0.1, 0.5, 1.9), (0.7, 0.9, 1.1)])
def test_a_colour_means_the_same_at_every_level_whatever_else_is_in_the_picture(
    teacher: Sequence[float],
) -> None:
    pixels = drawn(teacher, student=(1.2,) * 3).astype(int)
    one = count_coloured(pixels, teacher[0])
    assert one > 5_000
    for level in teacher[1:]:
        assert count_coloured(pixels, level) == pytest.approx(one, rel=0.1)
    assert count_coloured(pixels, 1.2) == pytest.approx(3 * one, rel=0.1)


def test_a_tile_and_a_model_may_be_called_anything() -> None:
    tile = WatchedTile(
        "$a_$ 日本",
        2,
        np.zeros((64, 64, 3), np.uint8),
        *[(np.ones((2, 2), np.float32),)] * 2,
        np.ones(1),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw_tiles([tile], "epoch 1", "$ 日 _$").startswith(b"\x89PNG")


def test_a_map_that_is_not_finite_is_not_painted() -> None:
    maps = (1.2,) * 3, (1.2, np.nan, 1.2)
    painted, left = (drawn((0.4,) * 3, student).astype(int) for student in maps)
    white = [(pixels == 255).all(axis=-1).sum() for pixels in (painted, left)]
    assert white[1] - white[0] > 5_000
