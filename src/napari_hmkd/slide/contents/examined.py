"""What a slide is found to be, looked for once for as long as it is open."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock
from weakref import WeakKeyDictionary

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide.contents.stain import StainCheck, examine
from napari_hmkd.slide.contents.tissue import TissueMask, find_tissue
from napari_hmkd.slide.slide import Slide

Examined = tuple[StainCheck, TissueMask | None]

# With another pixel size it is another `Slide`.
_kept: WeakKeyDictionary[Slide, Future[Examined]] = WeakKeyDictionary()
_lock = Lock()


def examined(slide: Slide) -> Examined:
    """As `examine`; who asks while another thread looks waits for that, and what was found is kept.

    A failure is not: it is raised to all who waited, and the next who asks has the slide looked at anew.
    """
    with _lock:
        found = _kept.get(slide)
        first = found is None
        if found is None:
            found = _kept[slide] = Future()
    try:
        if first:
            _look(slide, found)
        return found.result()
    finally:
        del found  # an error that it holds would hold it, and the slide, by this frame


def tissue_found(slide: Slide) -> TissueMask:
    """As `find_tissue`; of a slide that `examined` has looked at, or is looking at, what that finds."""
    with _lock:
        looked = slide in _kept
    try:
        tissue = examined(slide)[1] if looked else None
    except SlideReadError:  # of a field, perhaps, that its stain would have been judged by
        tissue = None
    return find_tissue(slide) if tissue is None else tissue


def _look(slide: Slide, found: Future[Examined]) -> None:
    try:
        found.set_result(examine(slide))
    except BaseException as error:
        with _lock:
            del _kept[slide]
        found.set_exception(error)
    finally:
        del found
