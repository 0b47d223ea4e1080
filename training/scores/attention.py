"""The course of attention over a run, for its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from napari_hmkd.training.attention_watch import picture_path, read_agreement
from napari_hmkd.training.scores.pictures import Picture, as_picture, from_png, new_figure


def attention_pictures(run: Path) -> list[Picture]:
    """The agreement over the epochs, then the tiles at the first, middle and last epoch.

    Parameters
    ----------
    run : Path
        A run folder. Pictures that are no longer in it are left out.

    Returns
    -------
    list of Picture
        Empty for a run that watched no attention.

    Raises
    ------
    OutputError
        If a file cannot be read.
    """
    rows = read_agreement(run)
    if not rows:
        return []
    kept = [epoch for epoch in rows if picture_path(run, epoch).is_file()]
    chosen = sorted({kept[0], kept[len(kept) // 2], kept[-1]}) if kept else []
    return [
        _curve(np.array(list(rows)), np.array(list(rows.values()))),
        *(
            from_png(picture_path(run, epoch), f"Some validation tiles after epoch {epoch}.")
            for epoch in chosen
        ),
    ]


def _curve(epochs: np.ndarray, agreement: np.ndarray) -> Picture:
    figure, (ax,) = new_figure(6.4, 3.2)
    for level, (values, dash) in enumerate(zip(agreement.T, ("-", "--", ":"), strict=True)):
        ax.plot(epochs, values, dash, marker="o", markersize=3, label=f"level {level}")
    ax.set(xlabel="epoch", ylabel="agreement", ylim=(0, 1))
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.legend(fontsize=9, frameon=False)
    text = (
        "Agreement of student and teacher, mean of the tiles below: the cosine of their squared "
        "attention matrices at each level. 1 is the same, and the attention loss of a tile is "
        "2 - 2 x agreement."
    )
    return as_picture(figure, text)
