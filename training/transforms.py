"""Random changes of a registered pair: geometry once for both stains, colour per stain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.training.config import AugmentSettings


class PairTransform:
    """Flips and quarter turns of both stains together, and stain jitter of each."""

    def __init__(self, settings: AugmentSettings) -> None:
        self.settings = settings

    def __call__(self, pair: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """A changed pair, (2, side, side, 3) uint8, from draws of `rng`.

        The number of draws does not depend on what was drawn, so a seed always means one change.
        """
        flip_y, flip_x = rng.random(2) < 0.5
        turns = int(rng.integers(4))
        factors = 1 + self.settings.stain_jitter * rng.standard_normal((2, 3))
        if self.settings.flips:
            pair = pair[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
        if self.settings.turns:
            pair = np.rot90(pair, turns, axes=(1, 2))
        if self.settings.stain_jitter:
            pair = np.stack([scale_density(s, f) for s, f in zip(pair, factors, strict=True)])
        return np.ascontiguousarray(pair)


def scale_density(tile: NDArray[np.uint8], factors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Multiply each channel's optical density, -log(I / 255), by a factor; white stays white.

    Parameters
    ----------
    tile : (side, side, 3) uint8
    factors : (3,)
        One per channel; negative ones count as 0.
    """
    levels = np.arange(256) / 255
    table = np.rint(255 * levels[:, None] ** np.maximum(factors, 0)).astype(np.uint8)
    scaled = np.empty(tile.shape, np.uint8)
    for channel in range(3):
        scaled[..., channel] = table[:, channel][tile[..., channel]]
    return scaled
