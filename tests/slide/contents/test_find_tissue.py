"""Tissue: measured on real sections, and on marks, glass and haze."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.spatial import cKDTree

from napari_hmkd.errors import PixelSizeError, SlideReadError
from napari_hmkd.slide import TissueMask, find_tissue, open_slide
from napari_hmkd.slide.contents.tissue import tissue_in

TILE_UM = 512 * 0.92
MIN_FRACTION = 0.1


@pytest.mark.parametrize(
    ("section", "name"), [("C2", "her2st_C2.ome.tif"), ("C3", "her2st_C3_generic.tif")]
)
def test_tiles_of_a_real_section_follow_its_tissue(shared_data: Path, section: str, name: str):
    with (shared_data / "her2st/spots.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["section"] == section]
    spots_um = np.array([(float(row["pixel_y"]), float(row["pixel_x"])) for row in rows]) * 0.69
    with open_slide(shared_data / "slides" / name) as slide:
        tissue = find_tissue(slide)
        rows_columns = np.ceil(np.array([slide.size.height, slide.size.width]) * 0.69 / TILE_UM)
    tiles = np.stack(np.meshgrid(*map(np.arange, rows_columns), indexing="ij"), -1).reshape(-1, 2)
    step_px = TILE_UM / 0.69
    chosen = tiles[tissue.fraction(tiles * step_px, (step_px, step_px)) >= MIN_FRACTION]

    covered = np.isin(spots_um // TILE_UM @ [1000, 1], chosen @ [1000, 1])
    away, _ = cKDTree(spots_um).query((chosen + 0.5) * TILE_UM)
    assert covered.mean() >= 0.95
    assert (away > 400).mean() <= 0.10


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("almost-white-1", 0, 0),
        ("no-tissue", 0, 0),
        ("no-tissue-green-pen", 0, 0),
        ("no-tissue-red-pen", 0, 0.1),
        ("medium-nuclei-score-green-pen-level1", 0.2, 0.5),  # half of it is under the pen
        ("high-nuclei-score-red-pen-level1", 0.8, 1),
        ("tissue-level0-4302-10273-4814-10785", 0.9, 1),
    ],
)
@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0, 2.0])
def test_pen_and_glass_are_no_tissue(shared_data: Path, name, low, high, mpp: float):
    with Image.open(shared_data / "tiles" / f"{name}.png") as image:
        pixels = np.asarray(image.convert("RGB").reduce(round(8 / mpp)))
    assert low <= tissue_in(pixels, 8.0).mean() <= high


@pytest.mark.parametrize(("mpp", "shape"), [(4.0, (60, 80)), (8.0, (120, 160)), (20.0, (120, 160))])
def test_a_coarse_slide_is_not_enlarged_for_its_mask(tmp_path: Path, mpp: float, shape):
    tifffile.imwrite(tmp_path / "a.tif", section(), photometric="rgb", tile=(64, 64))
    with open_slide(tmp_path / "a.tif", mpp=mpp) as slide:
        tissue = find_tissue(slide)
    assert tissue.mask.shape == shape
    assert tissue.mpp == pytest.approx((max(mpp, 8.0),) * 2)


@pytest.mark.parametrize("slow", [True, False])
def test_a_wait_of_minutes_for_the_tissue_is_said_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, slow: bool
) -> None:
    monkeypatch.setattr("napari_hmkd.slide.contents.tissue.lacks_small_levels", lambda _: slow)
    tifffile.imwrite(tmp_path / "a.tif", section(), photometric="rgb", tile=(64, 64))
    with open_slide(tmp_path / "a.tif", mpp=8) as slide:
        find_tissue(slide)
    said = (
        "'a.tif' has no small levels: its tissue is sought in all of its 120 x 160 px, which takes"
    )
    assert (said in caplog.text) == slow


@pytest.mark.parametrize(("most_px", "shape"), [(2**22, (120, 160)), (4800, (60, 80))])
def test_the_mask_of_a_large_slide_is_coarser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_px: int, shape
):
    monkeypatch.setattr("napari_hmkd.slide.contents.tissue.MOST_MASK_PX", most_px)
    tifffile.imwrite(tmp_path / "a.tif", section(), photometric="rgb", tile=(64, 64))
    with open_slide(tmp_path / "a.tif", mpp=8.0) as slide:
        tissue = find_tissue(slide)
    assert tissue.mask.shape == shape
    assert tissue.mpp == pytest.approx((8.0 * 120 / shape[0],) * 2)


def section(shape: tuple[int, int] = (120, 160), glass=(240, 238, 241)) -> np.ndarray:
    """Glass with an uneven pink square of 40 px (320 um) in rows and columns 40 to 80."""
    rng = np.random.default_rng(0)
    pixels = np.empty((*shape, 3), np.uint8)
    pixels[:] = glass
    cells = rng.integers(-25, 25, (40, 40, 1)) + np.array([200, 140, 190])
    pixels[40:80, 40:80] = cells
    return pixels


def test_a_square_of_tissue_is_found_where_it_is():
    mask = tissue_in(section(), 8.0)
    assert mask[42:78, 42:78].all()
    grown = np.zeros_like(mask)
    grown[35:85, 35:85] = True
    assert not mask[~grown].any()


@pytest.mark.parametrize(
    "ink", [(40, 60, 190), (60, 190, 160), (0, 120, 60), (225, 30, 60), (35, 35, 38), (220, 40, 45)]
)
def test_pen_beside_tissue_is_left_out_and_the_tissue_kept(ink: tuple[int, int, int]):
    pixels = section()
    pixels[20:100, 110:140] = ink
    mask = tissue_in(pixels, 8.0)
    assert not mask[:, 100:].any()
    assert mask[42:78, 42:78].all()


def test_smooth_haze_of_spilled_stain_is_no_tissue():
    pixels = section()
    y, x = np.indices(pixels.shape[:2])
    haze = np.exp(-((y - 60) ** 2 + (x - 130) ** 2) / 800)[..., None]
    hazy = np.where(x[..., None] > 90, pixels - haze * np.array([0, 35, 15]), pixels)
    assert not tissue_in(hazy.round().astype(np.uint8), 8.0)[:, 95:].any()


def test_the_border_of_the_scanned_field_is_no_tissue():
    pixels = section(glass=(232, 228, 233))
    pixels[:30] = pixels[:, 120:] = 255
    mask = tissue_in(pixels, 8.0)
    assert mask[42:78, 42:78].all()
    assert not mask[:, 100:].any()


def test_specks_are_dropped_and_vacuoles_filled():
    pixels = section()
    pixels[100:104, 100:104] = (120, 60, 120)  # 32 um of dust
    pixels[55:65, 55:65] = (240, 238, 241)  # an 80 um vacuole
    mask = tissue_in(pixels, 8.0)
    assert not mask[95:110, 95:110].any()
    assert mask[42:78, 42:78].all()


def draw_line(pixels: np.ndarray, slope: float, start: float, colour, width: float, down=False):
    """A line of `width` px over a whole picture, along its rows, or down its columns."""
    y, x = np.indices(pixels.shape[:2])
    off = np.abs(x - start + slope * y) if down else np.abs(y - start - slope * x)
    cover = np.clip(width / 2 + 0.5 - off, 0, 1)[..., None]
    return (pixels * (1 - cover) + cover * np.array(colour)).astype(np.uint8)


@pytest.mark.parametrize("slope", [0.0, 0.03, 0.1])
@pytest.mark.parametrize(
    ("colour", "width"),
    [((60, 60, 62), 3), ((150, 150, 153), 2), ((215, 213, 216), 2), ((255, 255, 255), 2)],
    ids=["black", "dark", "faint", "bright"],
)
def test_the_edges_of_a_coverslip_are_no_tissue(slope: float, colour, width: float):
    pixels = section((240, 320))
    for start in (8.0, 190.0):
        pixels = draw_line(pixels, slope, start, colour, width)
    pixels = draw_line(pixels, slope, 200.0, colour, width, down=True)
    mask = tissue_in(pixels, 8.0)
    assert mask[42:78, 42:78].all()
    mask[35:85, 35:85] = False
    assert not mask.any()


def test_the_shade_of_a_coverslip_is_no_tissue():
    pixels = section()
    pixels[:, 100:] = pixels[:, 100:] * 0.95
    assert not tissue_in(pixels, 8.0)[:, 90:].any()


def test_a_coverslip_s_edge_across_tissue_takes_nothing_from_it():
    pixels = draw_line(section((240, 320)), 0.0, 60.0, (150, 150, 153), 2, down=True)
    mask = tissue_in(pixels, 8.0)
    assert mask[42:78, 42:78].all()
    assert not mask[100:].any()


def test_a_straight_strand_of_stained_tissue_is_kept():
    pixels = section((240, 320))
    pixels[150:156, 20:300] = (205, 130, 185)
    assert tissue_in(pixels, 8.0)[151:155, 25:295].all()


def fat(amount: float, seed: int = 0) -> np.ndarray:
    """Optical density (100, 100) at 8 um/px of fat: cells of 80 um, membranes of 4 um."""
    rng = np.random.default_rng(seed)
    centres = np.stack(np.meshgrid(*2 * [np.arange(-5, 106, 10.0)]), -1).reshape(-1, 2)
    centres += rng.uniform(-3, 3, centres.shape)
    fine = np.stack(np.meshgrid(*2 * [(np.arange(400) + 0.5) / 4], indexing="ij"), -1)
    nearest, second = np.moveaxis(cKDTree(centres).query(fine, k=2)[0], -1, 0)
    membrane = np.exp(-((8 * (second - nearest) / 4) ** 2))
    return amount * membrane.reshape(100, 4, 100, 4).mean(axis=(1, 3))


@pytest.mark.parametrize("amount", [0.05, 0.1, 0.3, 0.8])
def test_fat_beside_tissue_belongs_to_it(amount: float):
    pixels = section((160, 240))
    light = 10 ** -(fat(amount)[..., None] * (0.2, 1.0, 0.5))
    pixels[30:130, 80:180] = pixels[30:130, 80:180] * light + 0.5
    mask = tissue_in(pixels, 8.0)
    assert mask[42:78, 42:78].all()
    assert mask[34:126, 84:176].mean() > 0.95
    mask[25:135, 35:185] = False
    assert not mask.any()


def test_fat_of_real_sections_is_tissue(shared_data: Path):
    path = shared_data / "bci_pairs/HE/test/00011_test_3+.png"  # more than half of it is fat
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").reduce(17))
    assert tissue_in(pixels, 17 * 0.46).mean() > 0.95


def test_a_rim_of_glass_is_no_fat():
    """Noise, dust and a printed grid on the glass do not make tissue grow over it."""
    rng = np.random.default_rng(0)
    pixels = section((240, 320)).astype(float)
    glass = np.ones((240, 320), bool)
    glass[40:80, 40:80] = False
    pixels[glass] += rng.normal(0, 0.7, (np.count_nonzero(glass), 1))
    grid = np.zeros((240, 320), bool)
    grid[::12, ::12] = True
    pixels[grid & glass] -= 4
    for y, x in rng.integers(0, 230, (30, 2)):
        pixels[y : y + 2, x : x + 2][glass[y : y + 2, x : x + 2]] = 130
    mask = tissue_in(pixels.clip(0, 255).astype(np.uint8), 8.0)
    assert mask[42:78, 42:78].all()
    assert mask.sum() < 60 * 60


@pytest.mark.parametrize("value", [0, 128, 243, 255])
def test_flat_images_do_not_break_it(value: int):
    mask = tissue_in(np.full((30, 40, 3), value, np.uint8), 8.0)
    assert mask.shape == (30, 40)
    assert mask.any() == (value == 128)


def test_fractions_are_exact_to_parts_of_a_pixel():
    mask = np.zeros((10, 10), bool)
    mask[2:4, 3:5] = True
    tissue = TissueMask(mask, (8.0, 8.0), (16.0, 16.0))
    origins = np.array([[32, 48], [40, 56], [0, 0], [-16, -16], [1000, 1000]])

    fractions = tissue.fraction(origins, (32.0, 32.0))

    assert fractions == pytest.approx([1, 1.5 * 1.5 / 4, 0, 0, 0])
    assert tissue.fraction(np.zeros((0, 2)), (32.0, 32.0)).shape == (0,)
    assert tissue.fraction([[-160, -160]], (320.0, 320.0)) == pytest.approx([4 / 400])
    assert tissue.fraction([[-160, -160]], (640.0, 640.0)) == pytest.approx([4 / 1600])


def test_where_there_is_none_the_fraction_is_0_and_not_almost():
    mask = np.random.default_rng(0).random((900, 900)) < 0.5
    mask[300:600, 300:600] = False
    tissue = TissueMask(mask, (8.0, 8.0), (31.7, 31.7))
    origins = 31.7 * (310 + 9.3 * np.indices((30, 30)).reshape(2, -1).T)

    assert (tissue.fraction(origins, (9.3 * 31.7,) * 2) == 0).all()


def test_where_the_slide_is_damaged_tiles_are_still_tried(tmp_path, write_pyramid, damage):
    pixels = np.full((1024, 1024, 3), 243, np.uint8)
    write_pyramid(tmp_path / "a.tif", pixels, mpp=1.0, tile=(256, 256))
    damage(tmp_path / "a.tif", 6)
    with open_slide(tmp_path / "a.tif") as slide:
        tissue = find_tissue(slide)
        origins = np.indices((4, 4)).reshape(2, -1).T * 256.0
        fractions = tissue.fraction(origins, (256.0, 256.0))
    assert fractions.argmax() == 6
    assert fractions[6] == pytest.approx(1)
    assert np.delete(fractions, 6).max() == 0


def test_no_pixel_size_and_no_readable_tile_are_errors(shared_data: Path):
    with open_slide(shared_data / "slides/tcga-cr-7395-01a-01-ts1.svs") as slide:
        with pytest.raises(PixelSizeError, match="--mpp"):
            find_tissue(slide)
        assert 0.6 < find_tissue(slide.with_mpp(0.5)).mask.mean() < 0.75
    with open_slide(shared_data / "slides/unreadable.svs") as slide:
        with pytest.raises(SlideReadError):
            find_tissue(slide)
