"""A napari window that shows a slide again and again: `python first_pixels.py SLIDE`.

It says "ready" once the empty window is drawn. Each line of standard input is "slide" or "blank", and
is answered by a line of JSON with the seconds until the layer's pixels were drawn, and by another about
the canvas: the share that shows the layer and no background, and the grey values' standard deviation
there. "blank" is a pyramid of the same shapes and chunks
without anything to read: what drawing alone takes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import dask.array as da
import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_hmkd.layers import LayerData, slide_layer
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.loading.cache import TileCache
from napari_hmkd.widgets.viewing import add_layers

PATIENCE_S = 120


class Window:
    """A viewer, and when its canvas was last drawn."""

    def __init__(self) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1400, 900)
        self._drawn = 0
        canvas = self.viewer.window._qt_viewer.canvas
        canvas.events.draw.connect(self._count, position="last")
        self._until(lambda: self._drawn > 0)

    def show(self, layer_data: Callable[[], LayerData]) -> float:
        """Seconds from here to the first drawing of the loaded layer."""
        started = time.perf_counter()
        (layer,) = add_layers(self.viewer, [layer_data()])
        self._until(lambda: layer.loaded)
        before = self._drawn
        self._until(lambda: self._drawn > before)
        return time.perf_counter() - started

    def seen(self) -> dict[str, float]:
        """What of the canvas is lighter than napari's dark ground."""
        shot = self.viewer.screenshot(canvas_only=True, flash=False)[..., :3]
        layer = shot[shot.max(axis=-1) > 100]
        return {"covered": len(layer) / shot[..., 0].size, "spread": float(layer.std())}

    def clear(self) -> None:
        """Remove the layer."""
        self.viewer.layers.clear()
        QApplication.processEvents()

    def _count(self, event: object) -> None:
        self._drawn += 1

    def _until(self, so: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not so():
            if time.monotonic() > end:
                raise TimeoutError(f"nothing was drawn within {PATIENCE_S} s")
            QApplication.processEvents()


def slide(path: str) -> LayerData:
    """The slide, opened, with an empty cache."""
    return slide_layer(open_slide(path, cache=TileCache()))


def blank(path: str) -> LayerData:
    """The same in one colour."""
    with open_slide(path) as opened:
        levels, kwargs, kind = slide_layer(opened)
    plain = [da.full(one.shape, 200, dtype=np.uint8, chunks=one.chunks) for one in levels]
    return plain, {**kwargs, "metadata": {}}, kind


def main(path: str) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints goes elsewhere
    window, plain = Window(), blank(path)
    kinds = {"slide": lambda: slide(path), "blank": lambda: plain}
    print("ready", file=answers)
    for line in sys.stdin:
        seconds = window.show(kinds[line.strip()])
        print(json.dumps({"seconds": seconds}), file=answers)
        print(json.dumps(window.seen()), file=answers)
        window.clear()
    window.viewer.close()


if __name__ == "__main__":
    main(sys.argv[1])
