"""Bags in HDF5: those of CLAM and TRIDENT are read, ours are read by both, and damage is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from napari_hmkd.bags.bag import Bag, find_bags, read_bag, read_header, write_bag
from napari_hmkd.errors import DataError, OutputError

FEATURES = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
COORDS_XY = np.array([[0, 0], [512, 0], [1024, 0], [0, 512], [512, 512]])
CLAM = {
    "patch_size": 256,
    "patch_level": 1,
    "downsample": (4.00015, 4.0),
    "downsampled_level_dim": (2000, 1000),
    "level_dim": (2000, 1000),
    "name": "slide",
    "save_path": "patches",
}
TRIDENT = {
    "patch_size": 256,
    "patch_size_level0": 512,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
    "name": "slide",
    "savetodir": "out",
}
WriteHdf5 = Callable[..., Path]


@pytest.fixture
def write_hdf5(tmp_path: Path) -> WriteHdf5:
    """Writes a file as TRIDENT does: resizable, one patch a chunk."""

    def write(attributes: dict[str, Any] | None = None, **arrays: np.ndarray) -> Path:
        path = tmp_path / "TCGA ä-01.h5"
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                options = (
                    {}
                    if values.ndim == 0 or not values.size
                    else {"chunks": (1, *values.shape[1:])}
                )
                file.create_dataset(name, data=values, **options)
            if "coords" in file:
                file["coords"].attrs.update(attributes or {})
        return path

    return write


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("batch_axis", [False, True])
def test_features_of_any_float_are_read_with_corners_as_rows_and_columns(
    write_hdf5: WriteHdf5, dtype: type, batch_axis: bool
) -> None:
    features = FEATURES.astype(dtype)
    path = write_hdf5(features=features[None] if batch_axis else features, coords=COORDS_XY)
    bag = read_bag(path)
    header = read_header(path)
    assert (bag.name, header.patches, header.features) == ("TCGA ä-01", 5, 7)
    assert (bag.features.dtype, bag.coords.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(bag.features, features.astype(np.float32))
    assert bag.coords[1].tolist() == [0, 512]  # the second patch lies to the right of the first


def test_corners_between_pixels_are_rounded(write_hdf5: WriteHdf5) -> None:
    bag = read_bag(write_hdf5(features=FEATURES[:2], coords=np.array([[511.9999, -0.6], [2, 3]])))
    assert bag.coords.tolist() == [[-1, 512], [3, 2]]


@pytest.mark.parametrize(
    ("attributes", "side"),
    [
        (CLAM, 1024),
        (CLAM | {"downsample": 2.0, "custom_downsample": 2}, 1024),
        ({"patch_size": 256, "patch_level": 0}, 256),
        (TRIDENT, 512),
        ({name: TRIDENT[name] for name in TRIDENT if name != "patch_size_level0"}, 512),
        (TRIDENT | {"patch_size_level0": "None"}, 512),
        ({"patch_size": 256, "patch_level": 2}, None),
        ({}, None),
    ],
)
def test_the_side_of_a_patch_is_known_however_it_is_said(
    write_hdf5: WriteHdf5, attributes: dict[str, Any], side: int | None
) -> None:
    bag = read_bag(write_hdf5(attributes, features=FEATURES, coords=COORDS_XY))
    assert bag.patch_px == side
    assert bag.attributes.get("patch_size") == attributes.get("patch_size")


def test_a_bag_is_read_back_and_by_clam_and_trident(tmp_path: Path) -> None:
    bag = Bag("a", FEATURES, COORDS_XY[:, ::-1], 512, {"encoder": "ä", "mpp": 0.5})
    path = tmp_path / "new" / "a.h5"
    write_bag(path, bag)
    again = read_bag(path)
    np.testing.assert_array_equal(again.features, FEATURES)
    np.testing.assert_array_equal(again.coords, bag.coords)
    assert (again.patch_px, again.attributes["encoder"], again.attributes["mpp"]) == (512, "ä", 0.5)
    with h5py.File(
        path
    ) as file:  # the reading of TRIDENT's read_coords, and of CLAM's StitchCoords
        said, coords = dict(file["coords"].attrs), file["coords"][:]
        assert (coords == COORDS_XY).all()
        assert said["patch_size_level0"] == 512
        assert said["patch_size"] * said["downsample"][said["patch_level"]] == 512
        assert file["features"].attrs["name"] == said["name"] == "a"


def test_the_same_bag_is_the_same_bytes(tmp_path: Path) -> None:
    for name in "xy":
        write_bag(tmp_path / name / "a.h5", Bag("a", FEATURES, COORDS_XY[:, ::-1], 512))
    assert (tmp_path / "x" / "a.h5").read_bytes() == (tmp_path / "y" / "a.h5").read_bytes()


NAN = FEATURES.copy()
NAN[3, 1] = np.nan
NOWHERE, FAR = COORDS_XY.astype(float), COORDS_XY.astype(np.uint64)
NOWHERE[1, 0], FAR[2, 1] = np.nan, 2**63


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"features": FEATURES[:0], "coords": COORDS_XY[:0]}, "0 patches"),
        ({"features": FEATURES[:, :0], "coords": COORDS_XY}, "of 0 features"),
        ({"features": NAN, "coords": COORDS_XY}, "1 of 5 patches.*number 3"),
        ({"features": FEATURES.astype(float) * 1e300, "coords": COORDS_XY}, "not finite"),
        ({"features": FEATURES, "coords": NOWHERE}, "1 of 5 patches whose coords.*number 1"),
        ({"features": FEATURES, "coords": NOWHERE + np.inf}, "5 of 5 patches whose coords"),
        ({"features": FEATURES, "coords": FAR}, "1 of 5 patches whose coords.*number 2"),
        ({"features": FEATURES[0], "coords": COORDS_XY}, r"features \(7,\)"),
        ({"features": FEATURES[None].repeat(2, axis=0), "coords": COORDS_XY}, r"\(2, 5, 7\)"),
        ({"features": FEATURES, "coords": COORDS_XY[:4]}, r"coords \(4, 2\)"),
        ({"features": FEATURES}, "it needs the numbers"),
        ({"features": FEATURES.astype("S8"), "coords": COORDS_XY}, "it needs the numbers"),
        ({"imgs": FEATURES, "coords": COORDS_XY}, "has coords, imgs"),
    ],
)
def test_a_bag_that_cannot_be_used_is_named(
    write_hdf5: WriteHdf5, arrays: dict[str, np.ndarray], reason: str
) -> None:
    path = write_hdf5(**arrays)
    with pytest.raises(DataError, match=reason) as raised:
        read_bag(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("damage", ["missing", "cut", "cut within", "a picture", "a folder"])
def test_a_damaged_file_is_named(write_hdf5: WriteHdf5, damage: str) -> None:
    path = write_hdf5(features=FEATURES, coords=COORDS_XY)
    whole = path.read_bytes()
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "cut within":
            path.write_bytes(whole[:100] + bytes(len(whole) - 100))
        case "a picture":
            path.write_bytes(b"\x89PNG\r\n\x1a\n")
        case "a folder":
            path.mkdir()
    for read in (read_bag, read_header):
        with pytest.raises(DataError, match="TCGA ä-01"):
            read(path)


def test_the_bags_of_a_folder_are_found(tmp_path: Path) -> None:
    bag = Bag("a", FEATURES, COORDS_XY)
    for name in ("b.h5", "a.1.hdf5", ".hidden.h5"):
        write_bag(tmp_path / "mine" / name, bag)
    write_bag(tmp_path / "clam" / "h5_files" / "c.h5", bag)
    assert list(find_bags(tmp_path / "mine")) == ["a.1", "b"]
    assert find_bags(tmp_path / "clam") == {"c": tmp_path / "clam" / "h5_files" / "c.h5"}
    write_bag(tmp_path / "mine" / "b.hdf5", bag)
    for folder, reason in (
        ("mine", "two bags named b"),
        ("none", "none"),
        ("clam/h5_files/c.h5", "c.h5"),
    ):
        with pytest.raises(DataError, match=reason):
            find_bags(tmp_path / folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no file"):
        find_bags(tmp_path / "empty")


def test_where_nothing_can_be_written_nothing_is_left(impossible_folder: Path) -> None:
    with pytest.raises(OutputError, match="asked to write the bag"):
        write_bag(impossible_folder / "a.h5", Bag("a", FEATURES, COORDS_XY))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
@pytest.mark.parametrize("limit_bytes", [1_000, 3_000, 90_000])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, limit_bytes: int) -> None:
    """In a process of its own: HDF5 keeps a file open that it could not close."""
    program = f"""
import resource
from pathlib import Path
import numpy as np
from napari_hmkd.bags.bag import Bag, write_bag
from napari_hmkd.errors import OutputError
bag = Bag("a", np.ones((99, 224), np.float32), np.zeros((99, 2), np.int64))
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, resource.RLIM_INFINITY))
try:
    write_bag(Path("a.h5"), bag)
except OutputError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "asked to write the bag a.h5, but" in ran.stdout
    assert "File too large" in ran.stdout
    assert ran.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_failing_disk_keeps_the_older_bag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    write_bag(path, Bag("a", FEATURES, COORDS_XY))
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_bag(path, Bag("a", FEATURES[:2], COORDS_XY[:2]))
    assert [one.name for one in tmp_path.iterdir()] == ["a.h5"]
    assert path.read_bytes() == before
