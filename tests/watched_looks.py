"""A look at a slide that tests watch, hold up and let fail."""

from __future__ import annotations

import threading

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.slide.contents.stain import StainCheck, examine

WAIT_S = 30


class WatchedLook:
    """`examine`; `seen` are the slides' names, `in_window` whether the main thread looked."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.in_window: list[bool] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.failure = ""

    def __call__(self, slide: Slide) -> tuple[StainCheck, TissueMask | None]:
        self.seen.append(slide.name)
        self.in_window.append(threading.current_thread() is threading.main_thread())
        self.begun.set()
        assert self.go_on.wait(WAIT_S)
        if self.failure:
            raise SlideReadError(self.failure)
        return examine(slide)
