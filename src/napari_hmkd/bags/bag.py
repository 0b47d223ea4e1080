"""A slide's bag in an HDF5 file, as CLAM and TRIDENT write it: `features` and `coords`.

CLAM (Lu et al. 2021, doi 10.1038/s41551-020-00682-w) says of its coordinates `patch_size` px at the pyramid
level `patch_level`, `downsample` times coarser than level 0; TRIDENT (Zhang et al. 2025, arXiv 2502.06750)
says `patch_size_level0`. CLAM's files of features say neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from napari_hmkd.durable import replaced_file
from napari_hmkd.errors import DataError, OutputError

SUFFIXES = (".h5", ".hdf5")
CLAM_FOLDER = "h5_files"
"""In which CLAM keeps the bags of its folder of features."""


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """What a frozen encoder says about the patches of a slide, or of several put together.

    Attributes
    ----------
    name : str
        The slide's; of a file, its stem.
    features : numpy.ndarray
        float32 (n, d), finite, n and d at least 1.
    coords : numpy.ndarray
        Top-left corners (y, x) in level-0 px of the file, with what was not scanned: int64 (n, 2);
        fractions are rounded.
    patch_px : int or None
        Side of a patch in level-0 px; None where the file does not tell.
    attributes : mapping
        What else is said of the patches, as plain values: attributes of the data set `coords`.

    Raises
    ------
    DataError
        If there is no patch, or arrays have other shapes, values that are not finite, or corners that
        int64 does not hold.
    """

    name: str
    features: np.ndarray
    coords: np.ndarray
    patch_px: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring the arrays to their types, and check them."""
        features, coords = np.asarray(self.features), np.asarray(self.coords)
        _check_shapes(self.name, features.shape, coords.shape)
        with np.errstate(over="ignore"):  # what is too large for float32 is found below
            features = features.astype(np.float32, copy=False)
        _check_patches(self.name, np.isfinite(features), "features are not finite")
        places = np.abs(coords.astype(np.float64)) < 2.0**63  # not where they are not a number
        _check_patches(self.name, places, "coords are no numbers of px")
        if coords.dtype.kind == "f":
            coords = np.rint(coords)
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "coords", coords.astype(np.int64, copy=False))


def read_bag(path: Path) -> Bag:
    """Read a bag; features may also be float16, float64 or (1, n, d).

    Raises
    ------
    DataError
        If the file is missing, damaged or no bag, or the bag cannot be used; it names the file.
    """
    with _opened(path) as (features, coords):
        attributes = _attributes(coords)
        return Bag(
            path.stem,
            features[...].reshape(features.shape[-2:]),
            coords[...].reshape(coords.shape[-2:])[:, ::-1],
            _side_at_level0(attributes),
            attributes,
        )


def read_attributes(path: Path) -> dict[str, Any]:
    """What a file says of its patches, as `Bag.attributes` has it, without reading them.

    Raises
    ------
    DataError
        If the file is missing, damaged or no bag.
    """
    with _opened(path) as (_, coords):
        return _attributes(coords)


@dataclass(frozen=True, slots=True)
class BagHeader:
    """What a bag's file holds: patches, features of each, and their type as stored."""

    patches: int
    features: int
    dtype: np.dtype


def read_header(path: Path) -> BagHeader:
    """Shape and type of a bag's features, without reading them.

    Raises
    ------
    DataError
        If the file is missing, damaged or no bag.
    """
    with _opened(path) as (features, _):
        n, d = features.shape[-2:]
        return BagHeader(int(n), int(d), features.dtype)


def read_features(path: Path, out: np.ndarray) -> None:
    """Read a bag's features alone into C-ordered (n, d) memory of the caller's, without a copy in between.

    They are brought to its type, and not checked: they may be not finite.

    Raises
    ------
    DataError
        If the file is missing, damaged or no bag.
    """
    with _opened(path) as (features, _):
        features.read_direct(out.reshape(features.shape))


def read_stored(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features and coordinates (x, y) of a bag as they are stored, not checked.

    Returns
    -------
    (n, d) and (n, 2)
        C-ordered, of the file's types.

    Raises
    ------
    DataError
        If the file is missing, damaged or no bag.
    """
    with _opened(path) as both:
        features, coords = (data[...].reshape(data.shape[-2:]) for data in both)
        return features, coords


def write_bag(path: Path, bag: Bag) -> None:
    """Write a bag that CLAM, TRIDENT and `read_bag` read; an older file is replaced whole or not at all.

    Where the side of patches is known and `bag.attributes` do not say more, they are of level 0.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    said: dict[str, Any] = {"name": bag.name}
    if bag.patch_px is not None:
        sides = dict.fromkeys(("patch_size", "patch_size_level0"), bag.patch_px)
        said |= {"patch_level": 0, "downsample": (1.0, 1.0)} | sides
    try:
        with replaced_file(path) as part, h5py.File(part, "w") as file:
            features = file.create_dataset("features", data=bag.features)
            features.attrs["name"] = bag.name
            coords = file.create_dataset("coords", data=bag.coords[:, ::-1])
            coords.attrs.update(said | dict(bag.attributes))
    # h5py raises RuntimeError where it closes a file on a full disk.
    except (OSError, ValueError, RuntimeError) as error:
        errno = getattr(error, "errno", None)  # HDF5 tells of a disk in several lines
        reason = os.strerror(errno) if errno else error
        raise OutputError(
            f"asked to write the bag {path}, but: {reason}; look at the permissions of the folder and the free "
            "space, or choose another folder"
        ) from error


def find_bags(folder: Path) -> dict[str, Path]:
    """The bags in a folder by their names, in order; of CLAM's folder of features, those in `h5_files`.

    Raises
    ------
    DataError
        If the folder cannot be looked into, holds no bag, or two have one name.
    """
    try:
        inside = _bags_in(folder) or _bags_in(folder / CLAM_FOLDER)
    except OSError as error:
        raise DataError(f"asked for the bags in {folder}, but: {error}") from error
    if not inside:
        raise DataError(
            f"asked for the bags in {folder}, but there is no file {' or '.join(SUFFIXES)} in it; make them with "
            "napari-hmkd-train features, CLAM or TRIDENT"
        )
    found: dict[str, Path] = {}
    for path in inside:
        if found.setdefault(path.stem, path) != path:
            raise DataError(
                f"{folder} has two bags named {path.stem}, {found[path.stem].name} and {path.name}; keep one"
            )
    return found


def _bags_in(folder: Path) -> list[Path]:
    if folder.name == CLAM_FOLDER and not folder.is_dir():
        return []
    # Names that begin with a dot are macOS's, or of a bag that is being written.
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    """The two data sets of a file, whose shapes are those of a bag."""
    try:
        with h5py.File(path, "r") as file:
            found = [file.get(name) for name in ("features", "coords")]
            if not all(isinstance(one, h5py.Dataset) and one.dtype.kind in "fiu" for one in found):
                raise DataError(
                    f"{path} is no bag: it needs the numbers `features` (n, d) and `coords` (n, 2), and has "
                    f"{', '.join(file) or 'nothing'}"
                )
            features, coords = found
            _check_shapes(str(path), _without_batch(features.shape), _without_batch(coords.shape))
            try:
                yield features, coords
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
    # h5py raises RuntimeError and KeyError, too, where a file is damaged inside.
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(
            f"the bag {path} cannot be read: {error}; make it again, or copy it again if it was cut short"
        ) from error


def _without_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without a leading axis of one, which some tools leave."""
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def _check_shapes(name: str, features: tuple[int, ...], coords: tuple[int, ...]) -> None:
    if len(features) != 2 or coords != (features[0], 2):
        raise DataError(
            f"the bag {name} has features {features} and coords {coords} instead of (n, d) and (n, 2)"
        )
    if not min(features):
        raise DataError(
            f"the bag {name} has {features[0]} patches of {features[1]} features; leave it out, or look whether "
            "tissue was found on its slide"
        )


def _check_patches(name: str, right: np.ndarray, what: str) -> None:
    """All values (n, k) of all patches are `right`."""
    wrong = ~right.all(axis=1)
    if wrong.any():
        raise DataError(
            f"the bag {name} has {wrong.sum()} of {len(right)} patches whose {what}, the first is number "
            f"{wrong.argmax()}; make the features again"
        )


def _side_at_level0(said: Mapping[str, Any]) -> int | None:
    """Side of a patch in level-0 px, however it is said."""
    if (side := _number(said, "patch_size_level0")) is not None:
        return round(side)
    side = _number(said, "patch_size")
    if side is None:
        return None
    seen, stored = (_number(said, f"{one}_magnification") for one in ("target", "level0"))
    if seen is not None and stored is not None:
        return round(side * stored / seen)
    downsample = _number(said, "downsample")
    if downsample is None and _number(said, "patch_level") != 0:
        return None
    return round(side * (downsample or 1.0) * (_number(said, "custom_downsample") or 1.0))


def _number(said: Mapping[str, Any], name: str) -> float | None:
    """A positive number, the first where there are two; TRIDENT writes what it does not know as "None"."""
    value = said.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, int | float) and (value > 0 or name == "patch_level"):
        return float(value)
    return None


def _attributes(coords: h5py.Dataset) -> dict[str, Any]:
    return {name: _plain(value) for name, value in coords.attrs.items()}


def _plain(value: Any) -> Any:
    """An attribute as text, number or list."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
