"""What a data set holds, and everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import (
    WITHOUT_GRADES,
    CohortSettings,
    DataSettings,
    SplitSettings,
)
from napari_hmkd.training.console import say, tracked
from napari_hmkd.training.leaks import shared_patients, shared_pictures
from napari_hmkd.training.parallel import in_threads
from napari_hmkd.training.sources.images import decode, pixel_digest
from napari_hmkd.training.sources.opening import PROCEDURAL, open_source, pixel_size, scan_data
from napari_hmkd.training.sources.pairs import Scan, size_problem
from napari_hmkd.training.splits import HELD_OUT, split_tiles
from napari_hmkd.training.tiles import PARTS, Tile
from napari_hmkd.wording import GRADE_NAMES, counted

OPEN = "not given"
USABLE, LEAKING, UNUSABLE = range(3)
TRAINABLE = "the data can be trained on"
VERDICTS = {
    LEAKING: "leaks, which training refuses without --accept-leaks",
    UNUSABLE: "problems, which keep training from starting",
}


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found; `str` of it is the whole report.

    `sizes` counts pictures by (height, width) in px. `problems` keep training from starting,
    `leaks` make its scores untrue, `notes` are to be known. `use` says what data in order is enough
    for with the default split: all training, none as a mere test set, or some where grades are missing.
    """

    title: str
    mpp: float | None
    tiles: Sequence[Tile]
    sizes: Mapping[tuple[int, int], int]
    problems: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    use: str = TRAINABLE

    @property
    def exit_code(self) -> int:
        """0: its files are in order, 1: it has leaks, 2: it has problems and no leak."""
        if self.leaks:
            return LEAKING
        return UNUSABLE if self.problems else USABLE

    def __str__(self) -> str:
        """Counts, sizes, notes, problems, leaks, verdict; names are never cut."""
        mpp = f"{self.mpp:g} um/px" if self.mpp else "not told by the data: training needs --mpp"
        sizes = ", ".join(
            f"{count} of {height} x {width} px" for (height, width), count in self.sizes.items()
        )
        lines = [
            self.title,
            f"pixel size: {mpp}",
            f"pictures (height x width): {sizes or 'none that can be read'}",
            "",
            *self._table(),
        ]
        for name in ("notes", "problems", "leaks"):
            found = getattr(self, name)
            lines += ["", f"{name}: {len(found) or 'none'}", *(f"  - {text}" for text in found)]
        verdict = VERDICTS.get(self.exit_code, self.use)
        if self.leaks and self.problems:
            verdict += f"; and {VERDICTS[UNUSABLE]}"
        return "\n".join([*lines, "", f"exit code {self.exit_code}: {verdict}"])

    def _table(self) -> Iterator[str]:
        """Tiles of each grade, and patients, in each part."""
        yield "split        " + "".join(
            f"{name:>10}" for name in (*GRADE_NAMES, "no grade", "tiles", "patients")
        )
        for part in (*PARTS, OPEN, "all"):
            tiles = [tile for tile in self.tiles if part in (tile.part or OPEN, "all")]
            if tiles or part == "all":
                grades = Counter(tile.grade for tile in tiles)
                patients = {tile.patient for tile in tiles} - {None}
                counts = [grades[grade] for grade in (*range(len(GRADE_NAMES)), None)]
                cells = (*counts, len(tiles), len(patients) or "unknown")
                yield f"{part:<13}" + "".join(f"{cell:>10}" for cell in cells)


@dataclass(frozen=True, slots=True)
class _Picture:
    size: tuple[int, int] | None = None
    digest: bytes | None = None
    problem: str | None = None


def check_data(data: str, cohort: CohortSettings, pixels: DataSettings) -> DataReport:
    """Look at every file of DATA and list all that is wrong, where training stops at the first.

    Every picture is decoded once, in threads. Of the procedural cohort, which has no files, tiles
    are counted. Copies that only some split of the data would put on both sides are a leak here:
    without one, training refuses no seed, shares or folds for it.

    Raises
    ------
    DataError
        If DATA cannot be understood at all.
    """
    if data == PROCEDURAL:
        source = open_source(data, cohort, pixels)
        sizes = {(source.tile_px, source.tile_px): 2 * len(source.tiles)}
        use = _use(source.tiles)
        return DataReport(source.training_data, source.mpp, source.tiles, sizes, use=use)
    scan = scan_data(data)
    tiles = [pair.tile for pair in scan.pairs]
    files = [path for pair in scan.pairs for path in pair.files()]
    looks = list(tracked(in_threads(_look, files), "Decoding pictures", len(files)))
    pictures = list(zip(looks[::2], looks[1::2], strict=True))
    # What the data leaves open is trained on, or divided together with the training part.
    sides = [tile.part or "train" for tile in tiles]
    divided = () if set(HELD_OUT) <= set(sides) else ("train",)
    names = [pair.names() for pair in scan.pairs]
    patients = [tile.patient for tile in tiles]
    digests = [(he.digest, ihc.digest) for he, ihc in pictures]
    leaks, repeats = shared_pictures(digests, names, patients, sides, divided)
    return DataReport(
        title=f"{scan.origin}: {scan.kind}, {counted(len(tiles), 'pair')}",
        mpp=pixel_size(scan, pixels.mpp),
        tiles=tiles,
        sizes=Counter(look.size for look in looks if look.size),
        problems=[*scan.problems, *_picture_problems(scan, pictures)],
        leaks=[*shared_patients(patients, sides, [he for he, _ in names]), *leaks],
        notes=[*scan.notes, *repeats, *_same_stains(names, digests)],
        use=_use(tiles),
    )


def run_check(data: str, cohort: CohortSettings, pixels: DataSettings) -> int:
    """Print the report; 0: usable, 1: leaks, 2: problems alone, or DATA cannot be understood."""
    try:
        report = check_data(data, cohort, pixels)
    except DataError as error:
        say(f"napari-hmkd-train: {error}")
        return UNUSABLE
    print(report)
    return report.exit_code


def _look(path: Path) -> _Picture:
    try:
        pixels = decode(path)
    except DataError as error:
        return _Picture(problem=str(error))
    return _Picture((pixels.shape[0], pixels.shape[1]), pixel_digest(pixels))


def _picture_problems(scan: Scan, pictures: Sequence[tuple[_Picture, _Picture]]) -> Iterator[str]:
    """Unreadable pictures, and those of another size than most."""
    sizes = Counter(look.size for pair in pictures for look in pair if look.size)
    common = sizes.most_common(1)[0][0] if sizes else (0, 0)
    if sizes and (wrong := size_problem(common, common)):
        yield f"each of {sizes[common]} pictures {wrong}"
    for pair, looks in zip(scan.pairs, pictures, strict=True):
        for path, look in zip(pair.files(), looks, strict=True):
            if look.problem:
                yield pair.said(look.problem)
            elif look.size and look.size != common:
                yield pair.said(f"{path} {size_problem(look.size, common)}")


def _use(tiles: Sequence[Tile]) -> str:
    """Which training the tiles are enough for with the default split; see `GradingTask.require_labels`."""
    try:
        split = split_tiles(tiles, SplitSettings())
    except DataError as error:
        return f"nothing is wrong with it, but it is not enough to train on: {error}"
    for part, possible in (
        ("train", f"only a student can be trained on it, from a teacher alone: {WITHOUT_GRADES}"),
        ("validation", "only a student can be trained on it, from a teacher"),
    ):
        names = [tiles[i].name for i in split.parts()[part] if tiles[i].grade is None]
        if names:
            without = f"{len(names)} of {counted(len(split.parts()[part]), f'{part} tile')}"
            return f"{possible}; {without} with the default split have no grade, e.g. {names[0]}"
    return TRAINABLE


def _same_stains(
    names: Sequence[tuple[str, str]], digests: Sequence[tuple[bytes | None, bytes | None]]
) -> Iterator[str]:
    for (he_name, ihc_name), (he, ihc) in zip(names, digests, strict=True):
        if he is not None and he == ihc:
            yield f"H&E and IHC are the same picture: {he_name}, {ihc_name}"
