"""Layouts of two folders that pair by file name without suffix: H&E in one, IHC in the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from napari_hmkd.errors import DataError
from napari_hmkd.training.sources.pairs import Pair, Scan
from napari_hmkd.training.tiles import Tile

PART_FOLDERS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
# What file managers leave in folders of pictures.
NO_TILES = {"thumbs.db", "desktop.ini"}
# Of files where no tiles are looked for: these look like tiles that were put into a wrong place.
PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jp2"}


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its pairs, and what its file names tell.

    `he` and `ihc` are folders, with {} for a key of `PART_FOLDERS`; `grade` reads a grade from a
    file name; `mpp` in um/px and `notes` are as in `Scan`.
    """

    kind: str
    he: str
    ihc: str
    grade: Callable[[str], int | None]
    notes: tuple[str, ...]
    mpp: float | None = None

    def fits(self, folder: Path) -> bool:
        """Whether the folder holds the layout's two stains, in any part."""
        return any(
            all((folder / PurePosixPath(stain).parts[0]).is_dir() for stain in stains)
            for stains in self._stains()
        )

    def scan(self, folder: Path) -> Scan:
        """The pairs, sorted by name within each part, and what should be in one and is not.

        Parameters
        ----------
        folder : Path
            The folder that holds the stains' folders.

        Raises
        ------
        DataError
            If there is no file at all.
        """
        pairs: list[Pair] = []
        problems: list[str] = []
        for part in PART_FOLDERS:
            found, wrong = self._scan_part(folder, part)
            pairs += found
            problems += wrong
        problems += self._misplaced(folder)
        if not pairs and not problems:
            raise DataError(
                f"no tiles in {folder}: expected the folders {self._expected()} "
                "with the same file names in both stains"
            )
        return Scan(self.kind, folder, tuple(pairs), tuple(problems), self.notes, self.mpp)

    def _stains(self) -> Iterator[tuple[str, str]]:
        for part in PART_FOLDERS:
            yield self.he.format(part), self.ihc.format(part)

    def _expected(self) -> str:
        return " or ".join(f"{he} and {ihc}" for he, ihc in self._stains())

    def _misplaced(self, folder: Path) -> Iterator[str]:
        """Pictures, and folders with pictures, beside or below the folders that are read."""
        parts = [folder / stain for stains in self._stains() for stain in stains]
        read = [part for part in parts if part.is_dir()]
        beside = [path for above in {part.parent for part in parts} for path in above.iterdir()]
        below = [path for part in read for path in part.glob("*/")]
        for path in sorted([*beside, *below]):
            # Not by name, which may be written otherwise where capitals are not told apart.
            if path.is_dir() and any(path.samefile(part) for part in read):
                continue
            if _holds_pictures(path):
                yield (
                    f"{path} is, or holds, a picture that is not read: tiles must lie directly in "
                    f"{self._expected()}. Rename it, or move it"
                )

    def _scan_part(self, folder: Path, part: str) -> tuple[list[Pair], list[str]]:
        he_folder, ihc_folder = folder / self.he.format(part), folder / self.ihc.format(part)
        he, ihc = _files(he_folder), _files(ihc_folder)
        pairs: list[Pair] = []
        problems: list[str] = []
        # In the order of the whole names, on which the split depends.
        for stem in sorted(he | ihc, key=lambda stem: (he.get(stem) or ihc[stem])[0].name):
            found = he.get(stem, []), ihc.get(stem, [])
            if copies := [files for files in found if len(files) > 1]:
                problems += map(copied, copies)
            elif not all(found):
                (here,) = found[0] or found[1]
                there = (ihc_folder if found[0] else he_folder) / here.name
                problems.append(f"{here} has no partner {there}: add it, or remove the file")
            else:
                (he_file,), (ihc_file,) = found
                try:
                    grade = self.grade(he_file.name)
                except DataError as error:
                    problems.append(f"{he_file}: {error}")
                    continue
                tile = Tile(f"{part}/{he_file.name}", grade, part=PART_FOLDERS[part])
                pairs.append(Pair(tile, he_file, ihc_file))
        return pairs, problems


def _files(folder: Path) -> dict[str, list[Path]]:
    """The files of tiles by their names without a picture's suffix, which one stain may write otherwise."""
    files: dict[str, list[Path]] = defaultdict(list)
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            hidden = path.name.startswith(".") or path.name.lower() in NO_TILES
            if path.is_file() and not hidden:
                files[bare_name(path)].append(path)
    return dict(files)


def bare_name(path: Path) -> str:
    """A file's name without a picture's suffix."""
    return path.stem if path.suffix.lower() in PICTURES else path.name


def copied(files: Sequence[Path]) -> str:
    """Of a JPEG beside its PNG the pixels differ, so that comparing pictures would find no copy."""
    names = " and ".join(map(str, files))
    return f"{names} have one name, as copies have: keep one of them"


def _holds_pictures(path: Path) -> bool:
    """Whether a file is a picture, or a folder has one at any depth; hidden ones do not count."""
    return any(
        found.suffix.lower() in PICTURES
        and not any(name.startswith(".") for name in found.relative_to(path.parent).parts)
        for found in chain([path], path.rglob("*"))
    )
