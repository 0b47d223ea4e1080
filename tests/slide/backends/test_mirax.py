"""MRXS: a file with a picture, and all pixels in the folder of its name, in photos that overlap."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tests.vendor_slides.mirax import PACKED_POSITIONS, POSITIONS, Mirax, write_mirax

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.reader import get_reader
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.description import describe
from napari_hmkd.slide.finding import find_slides
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.slide.pyramid import pyramid

HEIGHT, WIDTH = 441, 673  # photos that overlap, and levels, end elsewhere
CORNER = [(0, column) for column in range(6)] + [(row, 0) for row in range(1, 4)]
STORED_LEVELS = 3


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Soft spots, which JPEG and halving leave as they are."""
    noise = np.random.default_rng(0).normal(0, 1, (HEIGHT, WIDTH, 3))
    return np.clip(gaussian_filter(noise, (6, 6, 0)) * 1100 + 150, 0, 250).astype(np.uint8)


@pytest.fixture
def path(tmp_path: Path, pixels: np.ndarray) -> Path:
    write_mirax(tmp_path / "case 1.mrxs", pixels, Mirax(levels=STORED_LEVELS))
    return tmp_path / "case 1.mrxs"


def of(path: Path) -> str:
    with open_slide(path) as slide:
        return fingerprint(slide)


@pytest.mark.parametrize("positions", [POSITIONS, PACKED_POSITIONS, None])
def test_the_scanned_part_is_shown_as_it_was_painted(tmp_path: Path, pixels, positions):
    unscanned = [*CORNER, (2, 3)]
    how = Mirax(positions=positions, unscanned=unscanned, levels=STORED_LEVELS, mpp=0.25)
    write_mirax(tmp_path / "a.mrxs", pixels, how)
    with open_slide(tmp_path / "a.mrxs") as slide:
        assert slide.mpp == (0.25, 0.25)
        assert (slide.mpp_source, slide.warnings) == ("openslide.mpp-x", ())
        y, x = slide.origin_px
        assert all(abs(side - (how.photo_px - how.overlap)) <= how.jitter for side in (y, x))
        shown = slide.read_level(0, Region(0, 0, HEIGHT - y, WIDTH - x)).astype(int)
    white = (shown == 255).all(axis=-1)
    assert white[135:225, 250:340].all()  # photo (2, 3), less what its neighbours show of it
    assert white.sum() < 13_000
    assert np.abs(shown - pixels[y:, x:])[~white].mean() < 2
    assert np.abs(shown - pixels[y:, x:])[~white].max() < 30


def test_levels_are_halves_though_their_sides_are_cut(tmp_path: Path, pixels):
    how = Mirax(levels=STORED_LEVELS, overlap=11, jitter=0)
    write_mirax(tmp_path / "a.mrxs", pixels, how)
    height, width = HEIGHT // 4, WIDTH // 4
    means = pixels[: 4 * height, : 4 * width].reshape(height, 4, width, 4, 3).mean(axis=(1, 3))
    with open_slide(tmp_path / "a.mrxs") as slide:
        assert slide.size == Size(479, 713)
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        shown = slide.read_level(2, Region(0, 0, height, width))
        assert np.abs(shown - means).mean() < 3
        sizes = [(level.size.height, level.size.width) for level in slide.levels]
        assert sizes == [(479, 713), (239, 356), (119, 178)]
        drawn = [array.shape[:2] for array in pyramid(slide)]
        assert np.abs(np.subtract(drawn, sizes)).max() <= 1  # napari's factors are the shapes'


def test_a_damaged_image_leaves_the_others_sound(tmp_path: Path, pixels):
    how = Mirax(levels=STORED_LEVELS)
    images = write_mirax(tmp_path / "a.mrxs", pixels, how)
    offset, _, number = images[0][0]
    with (tmp_path / "a" / f"Data{number:04}.dat").open("r+b") as file:
        file.seek(offset)
        file.write(b"damaged!")
    with open_slide(tmp_path / "a.mrxs") as slide:
        with pytest.raises(SlideReadError, match="damaged") as caught:
            slide.read_level(0, Region(0, 0, 32, 32))
        assert str(tmp_path) not in str(caught.value)
        sound = slide.read_level(0, Region(200, 200, 100, 100)).astype(int)
        assert np.abs(sound - pixels[200:300, 200:300]).mean() < 2


@pytest.mark.parametrize("part", [".", "Data0001.dat"])
def test_a_folder_that_goes_is_a_disk_s_failure_and_no_damage(path: Path, part: str):
    place = Region(0, 0, 32, 32)
    with open_slide(path) as slide:
        gone = (path.with_suffix("") / part).rename(path.with_name("gone"))
        with pytest.raises(
            SlideStalledError, match=r"'case 1\.mrxs' cannot be read any more"
        ) as caught:
            slide.read_level(0, place)
        assert str(path.parent) not in str(caught.value)
        gone.rename(path.with_suffix("") / part)
        assert slide.read_level(0, place).any()


def test_the_folder_s_content_is_what_a_slide_is_known_by(tmp_path: Path, path: Path, pixels):
    known = of(path)
    write_mirax(tmp_path / "b.mrxs", pixels[::-1], Mirax(levels=STORED_LEVELS))
    assert (tmp_path / "b.mrxs").read_bytes() == path.read_bytes()
    assert of(tmp_path / "b.mrxs") != known
    shutil.copytree(path.with_suffix(""), tmp_path / "copy/renamed")
    shutil.copy(path, tmp_path / "copy/renamed.mrxs")
    assert of(tmp_path / "copy/renamed.mrxs") == known


@pytest.mark.parametrize("level", range(STORED_LEVELS))
def test_a_change_in_any_level_makes_another_slide(tmp_path: Path, path: Path, pixels, level: int):
    known = of(path)
    images = write_mirax(path, pixels, Mirax(levels=STORED_LEVELS))
    offset, length, number = images[level][0]
    with (path.with_suffix("") / f"Data{number:04}.dat").open("r+b") as file:
        file.seek(offset + length - 20)
        file.write(b"\x11\x22\x33")
    assert of(path) != known


@pytest.mark.parametrize(
    ("name", "left", "message"),
    [
        ("Slidedat.ini", None, "no Slidedat.ini; it was not copied whole"),
        ("Slidedat.ini", 0.6, "cannot be opened.*copy"),
        ("Index.dat", None, "open .*Index.dat"),
        ("Index.dat", 0.6, "cannot be opened.*copy"),
        ("Data0001.dat", None, "'Data0001.dat' is missing in the folder 'case 1'"),
        ("Data0001.dat", 0.6, "Data0001.dat' is truncated"),
        ("Data0002.dat", 0.999, "Data0002.dat' is truncated"),
    ],
)
def test_a_copy_that_is_not_whole_is_no_slide(path: Path, name: str, left: float | None, message):
    file = path.with_suffix("") / name
    content = file.read_bytes()
    file.unlink()
    if left is not None:
        file.write_bytes(content[: int(left * len(content))])
    with pytest.raises(SlideError, match=message):
        open_slide(path)


def test_another_case_of_the_suffix_is_told(path: Path):
    with pytest.raises(SlideError, match=r"OpenSlide as 'case 1\.mrxs' alone"):
        open_slide(path.rename(path.with_suffix(".MRXS")))


def test_a_folder_of_slides_has_no_folder_of_pixels(tmp_path: Path, path: Path, caplog):
    assert find_slides([str(tmp_path)]) == [str(path)]
    assert not caplog.messages


@pytest.mark.parametrize("whole", [True, False])
def test_who_gives_the_folder_of_pixels_is_told_of_the_file(
    path: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
):
    message = r"pixels of the slide 'case 1\.mrxs' beside it" if whole else "is missing. Copy both"
    if not whole:
        path.unlink()
    folder = str(path.with_suffix(""))
    for use in (open_slide, get_reader(folder), lambda given: find_slides([given])):
        with pytest.raises(SlideError, match=message):
            use(folder)
    monkeypatch.chdir(folder)
    with pytest.raises(SlideError, match=message):
        find_slides(["."])


def test_what_is_told_of_a_slide_has_its_date_and_whole_size_and_no_name(tmp_path: Path, pixels):
    said = {"SLIDE_NAME": "Erika Mustermann", "SLIDE_CREATIONDATETIME": "24/12/2025 11:22:33"}
    how = Mirax(levels=STORED_LEVELS, general=said)
    write_mirax(tmp_path / "a.mrxs", pixels, how)
    with open_slide(tmp_path / "a.mrxs") as slide:
        assert "Erika Mustermann" in slide.properties.values()
        facts = describe(slide)
        assert "Erika" not in " ".join(facts.values())
        assert facts["scan date"] == "24/12/2025 11:22:33"
        assert facts["file size"].endswith("kB in 4 files with pixels")
