"""What `make demo` runs: the sample slide, graded in a napari window.

With a folder it grades, writes screenshot and results there and ends; without, the window stays.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import napari
from qtpy.QtCore import QTimer

from napari_hmkd.errors import HmkdError
from napari_hmkd.export import write_results
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.sample_data import sample_layers
from napari_hmkd.widgets.viewing import add_layers

_SETTLE_MS = 1000


def open_demo() -> tuple[napari.Viewer, GradeWidget]:
    """A window with the sample slide and the grade widget."""
    viewer = napari.Viewer(title="napari-hmkd demo", show=True)
    viewer.window.resize(1400, 900)
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Grade HER2", area="right")
    widget.load_async.clicked.emit(True)
    *_, he = add_layers(viewer, sample_layers())
    widget.slide.value = he
    return viewer, widget


def main() -> None:
    """Open the demo and press the button."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write screenshot and results there, then end")
    out = parser.parse_args().out
    viewer, widget = open_demo()
    failures: list[str] = []

    def finish(complete: bool) -> None:
        if out is None:
            return
        try:
            if complete and widget.run.grading is not None:
                write_results(widget.run.grading, out)
                viewer.screenshot(str(out / "screenshot.png"), canvas_only=False)
                print(f"wrote screenshot.png and the results to {out}")
            elif not failures:
                failures.append(widget.status.value)
        except (HmkdError, OSError) as error:
            failures.append(str(error))
        finally:
            viewer.close()

    def press() -> None:
        viewer.reset_view()
        widget.grade()
        if not widget.run.running:
            failures.append(widget.status.value)
            finish(False)

    widget.run.failed.connect(failures.append)
    # Layers are drawn in the background: the last tiles are on screen a moment later.
    widget.run.ended.connect(lambda done: QTimer.singleShot(_SETTLE_MS, lambda: finish(done)))
    # Once the window has its size: the view decides what is graded first.
    QTimer.singleShot(_SETTLE_MS, press)
    napari.run()
    if failures:
        raise SystemExit(f"error: {failures[0]}")


if __name__ == "__main__":
    main()
