"""Which slides a command is about."""

from __future__ import annotations

import os
from collections.abc import Sequence

from napari_hmkd.cli.progress import share_progress
from napari_hmkd.sample import sample_slide
from napari_hmkd.slide.finding import find_slides


def slides_meant(named: Sequence[str], sample: bool) -> list[str]:
    """Slides as a worker in another folder finds them, too.

    Parameters
    ----------
    named : sequence of str
        Paths and addresses; a folder stands for the slides in it.
    sample : bool
        The sample slide, too, which is drawn on first use.

    Returns
    -------
    list of str
        Absolute paths, and addresses as they are.

    Raises
    ------
    SlideError
        If a slide is missing.
    """
    paths = [path if "://" in path else os.path.abspath(path) for path in find_slides(named)]
    if sample:
        with share_progress("drawing the sample slide") as report:
            paths.append(os.path.abspath(sample_slide(report).he))
    return paths
