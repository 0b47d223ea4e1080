"""Pixels of a back end's levels in sRGB, block by block through the shared cache."""

from __future__ import annotations

import functools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from dask.system import CPU_COUNT
from upath import UPath

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.backends.protocol import Backend
from napari_hmkd.slide.loading.blocks import grid_of
from napari_hmkd.slide.loading.cache import CacheSection, TileCache
from napari_hmkd.slide.loading.colour import colour_path
from napari_hmkd.slide.loading.file_stamps import FileStamps
from napari_hmkd.slide.loading.read_ahead import ReadAhead
from napari_hmkd.slide.reader_threads import ReaderThreads

_LOG = logging.getLogger(__name__)
_WORTH_HELP = 4  # blocks: of fewer, another thread would hardly have begun before they are read
_READS_LOOKED_AT = 4  # by one thread all of them: it reads alone


class LevelReader:
    """Everything about an open file that is shared by the `Slide`s that show it.

    Attributes
    ----------
    backend : Backend
        Reads the file.
    backend_reason : str
        Why it was chosen.
    cache : TileCache
        Where decoded blocks are kept.
    stamps : mapping of Path to tuple of int
        Of the files, when they were opened (`stamps_of`).
    colour : ColourPath
        From the file's colours to sRGB.
    threads : ReaderThreads
        Read what must not hang its caller.
    ahead : ReadAhead
        Fills the cache around what is drawn.
    unreadable : tuple of str
        What was said of each part that was drawn as unreadable, the latest last.
    on_damage : callable
        Told the first of these messages, in the thread that met it.
    """

    def __init__(
        self,
        path: Path | UPath,
        backend: Backend,
        reason: str,
        cache: TileCache,
        stamps: FileStamps,
    ) -> None:
        self.backend, self.backend_reason, self.cache = backend, reason, cache
        self.stamps = stamps
        self.colour = colour_path(backend.icc_profile)
        self._grids = [grid_of(level) for level in backend.levels]
        self.threads = ReaderThreads(f"'{path}'")
        # What threads and the cache hold must not keep the file open.
        self.ahead = ReadAhead(self._grids, weakref.WeakMethod(self.load_block))
        self._name = path.name
        self._section = cache.section()
        self._remote = is_remote(path)
        self._turns = threading.Semaphore(CPU_COUNT + 1)
        self._readers: deque[int] = deque(maxlen=_READS_LOOKED_AT)  # threads, of the latest reads
        self._unreadable: dict[str, None] = {}  # in order, and each once
        self.on_damage: Callable[[str], None] = _LOG.info
        self._release = weakref.finalize(self, _release, self.ahead, self.threads, self._section)

    def read(self, level: int, region: Region, keep: bool = False) -> np.ndarray:
        """Pixels of a region: uint8 (height, width, 3), white outside, perhaps read-only.

        Parameters
        ----------
        level : int
        region : Region
        keep : bool
            Keep all blocks under the region, as what is on screen is soon drawn again. Otherwise those
            are kept that its border cuts, as the regions beside it need them, too: what is read once
            drives nothing out of the cache. They are kept from the second region on that needs one of
            them; those of a server from the first.

        Raises
        ------
        SlideReadError
            Part of the region is damaged, or the slide is closed.
        """
        if not self._release.alive:
            raise SlideReadError(f"'{self._name}' was closed; open it again to read it.")
        inside = region.clip(self.backend.levels[level].size)
        with self._turn(level):
            if inside == region:
                return self._read_inside(level, region, keep)
            result = np.full((region.height, region.width, 3), 255, np.uint8)
            result[region.slices(inside)] = self._read_inside(level, inside, keep)
        return result

    def _turn(self, level: int) -> AbstractContextManager[object]:
        """What tiles are read within: a thread for each core, and one that waits for the disk.

        More of them would hand Python's lock to each other all the time. A library with threads of its own
        does better with all that there is to read.
        """
        stored = self.backend.levels[level]
        takes_turns = stored.whole_tiles and not (stored.own_threads or self._remote)
        return self._turns if takes_turns else nullcontext()

    def _read_inside(self, level: int, region: Region, keep: bool) -> np.ndarray:
        """Pixels of a region inside the level.

        Where a read costs whole tiles, each block is read by itself, and `once` are those that are not to
        be kept: they lie inside the region, or nothing else needs any of its blocks. If none is held, and
        no other thread had better help, these are read in one piece.
        """
        grid = self._grids[level]
        blocks = list(grid.under(region))
        if keep and len(blocks) == 1 and grid.place(*blocks[0]) == region:
            return self.load_block(level, *blocks[0])
        held = self._held(level, blocks)
        stored = self.backend.levels[level]
        all_held = len(held) == len(blocks)
        if not (stored.whole_tiles or all_held):
            return self._load(level, region)
        inner = Region(0, 0, 0, 0) if keep else grid.within(region)
        once = set(grid.under(inner)) - held
        cut = [block for block in blocks if block not in once]
        if not (keep or held or self._others_need(level, cut)):
            inner, once = region, set(blocks)
        help_wanted = not (all_held or stored.own_threads) and (
            stored.slow_tiles or self._one_reads(len(blocks))
        )
        in_one_piece = bool(once) and not (held or help_wanted)
        if in_one_piece and inner == region:
            return self._load(level, region)
        result = np.empty((region.height, region.width, 3), np.uint8)
        if in_one_piece:
            result[region.slices(inner)] = self._load(level, inner)
            blocks = cut
        fill = functools.partial(self._fill, level, region, once, result)
        if help_wanted:
            self.threads.share_out(fill, blocks)
        else:
            for block in blocks:
                fill(block)
        return result

    def _others_need(self, level: int, cut: list[tuple[int, int]]) -> bool:
        """Whether other regions need the blocks that a border cuts, as far as is known; notes that this one does."""
        return self._section.meet((level, *block) for block in cut) or self._remote

    def _one_reads(self, blocks: int) -> bool:
        """Whether a single thread reads, one region after the other, so that others can help it."""
        me = threading.get_ident()
        self._readers.append(me)
        return blocks >= _WORTH_HELP and set(self._readers) == {me}

    def _fill(
        self,
        level: int,
        region: Region,
        once: set[tuple[int, int]],
        result: np.ndarray,
        block: tuple[int, int],
    ) -> None:
        """Write a block's part of a region into the result."""
        place = self._grids[level].place(*block)
        part = place.overlap(region)
        if block in once:
            pixels = self._load(level, part)
        else:
            pixels = self._read_part(level, block, place, part)
        result[region.slices(part)] = pixels

    def _held(self, level: int, blocks: list[tuple[int, int]]) -> set[tuple[int, int]]:
        found = self._section.held((level, *block) for block in blocks)
        return {block for block in blocks if (level, *block) in found}

    def _read_part(
        self, level: int, block: tuple[int, int], place: Region, part: Region
    ) -> np.ndarray:
        try:
            return self._load_block(level, block, place)[place.slices(part)]
        except SlideStalledError:
            raise
        except SlideReadError:
            if part == place:
                raise
            return self._load(level, part)  # the damage can lie beside it

    def load_block(self, level: int, row: int, column: int) -> np.ndarray:
        """A whole block of the level's grid, from the cache or into it; read-only."""
        return self._load_block(level, (row, column), self._grids[level].place(row, column))

    def _load_block(self, level: int, block: tuple[int, int], place: Region) -> np.ndarray:
        """As `load_block`, where the block's place is known: to make it anew takes a tenth of a read."""
        return self._section.get((level, *block), functools.partial(self._load, level, place))

    @property
    def unreadable(self) -> tuple[str, ...]:
        """See the class."""
        return tuple(self._unreadable)

    def note_unreadable(self, message: str) -> None:
        """Keep what was said of a part, for whoever asks about the slide."""
        first = not self._unreadable
        self._unreadable.pop(message, None)
        self._unreadable[message] = None
        if first:
            self.on_damage(message)

    def computed_block(self, key: Hashable, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """A block of a level that the file does not have, kept as the others are."""
        return self._section.get(key, compute)

    def _load(self, level: int, region: Region) -> np.ndarray:
        return self.colour.apply(self.backend.read(level, region))

    def close(self) -> None:
        """Release the file and its blocks; closing twice is no fault."""
        self._release()
        self.backend.close()


def _release(ahead: ReadAhead, threads: ReaderThreads, section: CacheSection) -> None:
    ahead.close()
    threads.close()
    section.release()
