"""What grading a slide will mean, decided before a tile is read: scale, tissue, tiles, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from napari_hmkd.errors import SlideError, UnsuitableSlideError
from napari_hmkd.geometry import Size
from napari_hmkd.model import ModelCard
from napari_hmkd.overlap import mean_of_squares
from napari_hmkd.regions import MarkedRegion, quoted
from napari_hmkd.slide import Slide, StainCheck, StainKind, TissueMask, open_slide
from napari_hmkd.slide.contents.examined import examined
from napari_hmkd.slide.contents.stain import examine
from napari_hmkd.tiling import TileGrid

ENLARGEMENT_WARNING = 1.2
STRIDES = (1.0, 0.5, 0.25)


@dataclass(frozen=True, slots=True)
class GradeSettings:
    """What a user may choose about grading.

    Attributes
    ----------
    batch_size : int
        Tiles per run of the network, and per step of the iterator.
    device : str
        "auto", "cuda", "cuda:1", "mps" or "cpu".
    precision : str
        "auto" (bfloat16 on the GPUs that have it), "float32" or "bfloat16".
    min_tissue_fraction : float
        Tiles with less tissue than this share of their area are left out.
    stride : float
        From one tile to the next, as a share of its side: 1, 0.5 or 0.25. Where tiles overlap, their
        answers are averaged.
    only_regions : bool
        Leave the tiles that lie outside all marked regions.
    force : bool
        Grade a slide that does not look like sharp H&E. Where no tissue can be found on it, every tile
        is graded.
    """

    batch_size: int = 8
    device: str = "auto"
    precision: str = "auto"
    min_tissue_fraction: float = 0.1
    stride: float = 1.0
    only_regions: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.batch_size < 1:
            raise ValueError(f"the batch size must be at least 1, got {self.batch_size}")
        if not 0 < self.min_tissue_fraction <= 1:
            raise ValueError(
                f"the tissue fraction must be in (0, 1], got {self.min_tissue_fraction}"
            )
        if self.stride not in STRIDES:
            raise ValueError(
                f"the stride must be one of {', '.join(f'{one:g}' for one in STRIDES)}, got {self.stride:g}"
            )

    @property
    def overlap(self) -> int:
        """How many tiles lie over a point, along each axis."""
        return round(1 / self.stride)


@dataclass(frozen=True, slots=True, eq=False)
class PlannedRegion:
    """A marked region, and what of each square is tissue inside it: float32 (rows, columns)."""

    region: MarkedRegion
    tissue_fraction: np.ndarray


@dataclass(frozen=True, eq=False)
class GradePlan:
    """A slide, ready to be graded by a model.

    Attributes
    ----------
    slide : Slide
        Must stay open while it is graded.
    card : ModelCard
        Says at which pixel size and tile size the slide is read.
    settings : GradeSettings
        As asked for.
    grid : TileGrid
        All tiles of the slide, and the squares between their corners.
    stain : StainCheck
        What the slide looks like.
    tissue : TissueMask or None
        Where there is tissue; None where none could be found and grading was insisted on.
    tissue_fraction : numpy.ndarray
        float32 (rows, columns), the share of each square's area that is tissue; what lies beyond the
        slide's edge is none. Without a tissue mask all of the slide is taken for tissue.
    enlargement : float
        1.0, or how many times the slide's own pixels are enlarged to the model's.
    warnings : tuple of str
        What a reader of the results has to know.
    regions : tuple of PlannedRegion
        Parts that are summed up by themselves.
    """

    slide: Slide
    card: ModelCard
    settings: GradeSettings
    grid: TileGrid
    stain: StainCheck
    tissue: TissueMask | None
    tissue_fraction: np.ndarray
    enlargement: float
    warnings: tuple[str, ...]
    regions: tuple[PlannedRegion, ...] = ()

    @property
    def marked(self) -> tuple[MarkedRegion, ...]:
        """The regions themselves."""
        return tuple(one.region for one in self.regions)

    @cached_property  # asked for with every batch; of overlapping tiles it takes up to 50 ms
    def tiles(self) -> np.ndarray:
        """The tiles to grade, row by row: int64 (n, 2); without a tissue mask every one may be."""
        tissue = self.of_tiles(self.tissue_fraction)
        wanted = (tissue >= self.settings.min_tissue_fraction) | (self.tissue is None)
        if self.settings.only_regions:
            marked = [self.of_tiles(one.tissue_fraction) > 0 for one in self.regions]
            wanted &= np.any(marked, axis=0)
        return np.argwhere(wanted)

    def of_tiles(self, fraction: np.ndarray) -> np.ndarray:
        """Shares of squares as shares of the tiles that begin there: both (rows, columns)."""
        return mean_of_squares(fraction, self.settings.overlap)


def tile_grid(slide: Slide, card: ModelCard, overlap: int = 1) -> TileGrid:
    """The tiles of a model over a slide.

    Raises
    ------
    PixelSizeError
        If the slide's pixel size is unknown.
    """
    return TileGrid(slide.size, slide.require_mpp(), card.tile_px, card.mpp, overlap)


def read_tile(slide: Slide, grid: TileGrid, tile: tuple[int, int]) -> np.ndarray:
    """Pixels of one tile (row, column) at the model's pixel size: uint8 (tile_px, tile_px, 3).

    Raises
    ------
    SlideReadError
        If the file is damaged there.
    """
    y, x = grid.origins(np.array(tile))[0]
    return slide.read((y, x), Size(grid.tile_px, grid.tile_px), grid.model_mpp)


@contextmanager
def opened_as_stated(
    path: str, backend: str | None, mpp: float | None
) -> Iterator[tuple[Slide, list[str]]]:
    """A slide of the pixel size that the user states, and a note where the file says another.

    Parameters
    ----------
    path, backend
        As `open_slide` takes them.
    mpp : float or None
        um/px; None where the file is believed.
    """
    with open_slide(path, backend=backend) as slide:
        if mpp is None:
            yield slide, []
            return
        notes = []
        if slide.mpp is not None and not np.allclose(slide.mpp, mpp, rtol=0.01):
            notes.append(
                f"{mpp:g} um/px was stated and used, though the file says {slide.mpp[0]:.4g} um/px "
                f"({slide.mpp_source})"
            )
        yield slide.with_mpp(mpp), notes


def plan_grading(
    slide: Slide,
    card: ModelCard,
    settings: GradeSettings | None = None,
    tissue: TissueMask | None = None,
    regions: Sequence[MarkedRegion] = (),
) -> GradePlan:
    """Check that a slide can be graded, and find the tiles that hold tissue.

    Parameters
    ----------
    slide : Slide
        An open slide.
    card : ModelCard
        The model's card.
    settings : GradeSettings, optional
        The defaults, if left out.
    tissue : TissueMask, optional
        Where the slide's tissue was found or painted already: it is obeyed.
    regions : sequence of MarkedRegion
        Parts to sum up by themselves.

    Raises
    ------
    PixelSizeError
        If the pixel size is unknown, or more than twice the model's.
    UnsuitableSlideError
        If the slide looks like fluorescence, IHC, blank glass or out of focus, unless
        `settings.force`; see `check_stain`.
    SlideError
        If `tissue` is empty, or no tile holds enough tissue.
    """
    settings = settings or GradeSettings()
    if settings.only_regions and not regions:
        raise SlideError(
            f"asked to analyse {slide.name} inside marked regions alone, but none is marked; draw one, or "
            "take the whole slide"
        )
    if tissue is not None and not tissue.mask.any():  # no force would find a tile on it
        raise SlideError(
            f"asked to analyse {slide.name}, but no tissue is painted: the tissue layer given for it is empty; "
            "paint some in it or press Find tissue, or, if that finds none, remove the layer"
        )
    grid = tile_grid(slide, card, settings.overlap)
    enlargement = slide.enlargement(card.mpp)
    stain, tissue = examined(slide) if tissue is None else examine(slide, tissue)
    if not (stain.gradable or settings.force):
        raise UnsuitableSlideError(
            f"asked to analyse {slide.name}, which looks like {stain.reason}; to go on all the same, press the "
            "button for it in napari, or use --force or GradeSettings(force=True)"
        )
    plan = GradePlan(
        slide=slide,
        card=card,
        settings=settings,
        grid=grid,
        stain=stain,
        tissue=tissue,
        tissue_fraction=tissue_fraction(grid, tissue),
        enlargement=enlargement,
        warnings=_warnings(slide, card, enlargement, stain, tissue),
    )
    plan = with_regions(plan, regions)
    if not len(plan.tiles):
        raise SlideError(f"asked to analyse {slide.name}, but {_why_no_tile(plan)}")
    return plan


def with_regions(plan: GradePlan, regions: Sequence[MarkedRegion]) -> GradePlan:
    """A plan with these regions in place of those that it has, and with what is to be said of them."""
    size, only = plan.slide.size, plan.settings.only_regions
    former = _region_warnings(size, plan.marked, only)
    return replace(
        plan,
        warnings=(
            *(warning for warning in plan.warnings if warning not in former),
            *_region_warnings(size, regions, only),
        ),
        regions=tuple(
            PlannedRegion(one, one.tissue_fraction(plan.grid, plan.tissue)) for one in regions
        ),
    )


def _why_no_tile(plan: GradePlan) -> str:
    grid, least = plan.grid, plan.settings.min_tissue_fraction
    on_slide = float(plan.of_tiles(grid.on_slide()).max())
    if plan.tissue is not None and on_slide < least:
        height_um, width_um = np.multiply(
            grid.slide_mpp, (grid.slide_size.height, grid.slide_size.width)
        )
        return (
            f"its {height_um:.0f} x {width_um:.0f} um fill {on_slide:.1%} of a tile, whose side has "
            f"{grid.tile_um:.0f} um, and a tile must be at least {least:.0%} tissue; make sure of the slide's "
            "pixel size, and take a larger scan or a model of smaller tiles"
        )
    count = plan.tissue_fraction.size
    none = "its only tile is not" if count == 1 else f"none of its {count} tiles is"
    inside = " and in a marked region" if plan.settings.only_regions else ""
    if len(replace(plan, settings=replace(plan.settings, only_regions=False)).tiles):
        advice = "move the region onto tissue, or enlarge it"
    else:
        advice = "look whether the slide is very faint, or paint its tissue in the viewer"
    off = _off_the_slide(grid.slide_size, (one.region for one in plan.regions))
    return (
        f"{none} at least {least:.0%} tissue{inside}; {advice}{''.join(f'; {one}' for one in off)}"
    )


def tissue_fraction(grid: TileGrid, tissue: TissueMask | None) -> np.ndarray:
    """`GradePlan.tissue_fraction` of a grid and a mask."""
    if tissue is None:
        return grid.on_slide().astype(np.float32)
    fraction = tissue.fraction(grid.origins(grid.tiles()), grid.step_px)
    return fraction.astype(np.float32).reshape(grid.rows, grid.columns)


def _warnings(
    slide: Slide,
    card: ModelCard,
    enlargement: float,
    stain: StainCheck,
    tissue: TissueMask | None,
) -> tuple[str, ...]:
    found = []
    if enlargement > ENLARGEMENT_WARNING:
        found.append(
            f"the slide's pixels ({max(slide.require_mpp()):.3f} um) are coarser than the model's "
            f"({card.mpp:.3f} um): it was enlarged {enlargement:.2f} times, and the answers may suffer"
        )
    if not stain.gradable:
        every = "" if tissue else ", every tile of it: tissue could not be told from background"
        found.append(f"the slide looks like {stain.reason}; it was analysed by force{every}")
    elif stain.kind is StainKind.UNKNOWN:
        found.append(f"the slide has {stain.reason}: make sure that it is H&E")
    return (*slide.warnings, *found, *stain.warnings)


def _region_warnings(
    size: Size, regions: Sequence[MarkedRegion], only_regions: bool
) -> tuple[str, ...]:
    partly = (
        f"only tiles that reach into a marked region ({quoted(regions)}) were analysed: no number is the whole "
        "slide's",
    )
    return (*_off_the_slide(size, regions), *(partly if only_regions else ()))


def _off_the_slide(size: Size, regions: Iterable[MarkedRegion]) -> tuple[str, ...]:
    return tuple(
        f"the region '{one.name}' lies wholly outside the slide, which has {size.height} x {size.width} px "
        "(height x width): regions count in level-0 px from the corner of what was scanned"
        for one in regions
        if not one.on_slide(size).area
    )
