"""Random changes of a registered pair: geometry once for both stains, colour for each.

Geometry is cheap and done while loading; colour is arithmetic on each pixel and done on the
device. Both come from one set of draws, `Change`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import hed_from_rgb, rgb_from_hed

from napari_hmkd.training.config import AugmentSettings

# Macenko et al. (2009), ISBI: pixels with -log10(I / 255) < 0.15 are background.
TISSUE_DENSITY = 0.15 * np.log(10)
# (3, 3, 3): from RGB densities to those of one stain alone, one matrix per stain.
CONTRIBUTIONS = np.einsum("is,so->sio", hed_from_rgb, rgb_from_hed)


@dataclass(frozen=True)
class Change:
    """One change of a pair: moved first, then flipped, then turned.

    Attributes
    ----------
    shift : (int, int)
        The pixel (y, x) of the pair that comes to the upper left corner; what is beyond the edge
        is mirrored.
    flip_y, flip_x : bool
    turns : int
        Quarter turns counter-clockwise, 0 to 3.
    stains : (2, 3, 2) float32
        For H&E and IHC, for haematoxylin, eosin and DAB: factor and offset of the density.
    """

    shift: tuple[int, int]
    flip_y: bool
    flip_x: bool
    turns: int
    stains: NDArray[np.float32]

    def move(self, pair: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Write the pair, (2, side, side, 3), with its geometry changed, to one like it."""
        side, (shift_y, shift_x) = pair.shape[1], self.shift
        beyond = [(max(-shift, 0), max(shift, 0)) for shift in self.shift]
        wide = np.pad(pair, ((0, 0), *beyond, (0, 0)), "symmetric")
        moved = wide[:, max(shift_y, 0) :, max(shift_x, 0) :][:, :side, :side]
        flipped = moved[:, :: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        turned = np.rot90(flipped, self.turns, axes=(1, 2))
        for colour in range(3):  # by threes numpy takes twice as long
            out[..., colour] = turned[..., colour]


def draw_change(settings: AugmentSettings, rng: np.random.Generator) -> Change:
    """A change within the settings.

    As many numbers are drawn whatever the settings, so that a seed always means one change. Factor
    and offset of each stain are those of Tellez et al. (2018), IEEE TMI 37:2126; 0.05 is their
    "HED-light", as the standard deviation of a normal instead of the reach of a uniform
    distribution.
    """
    flip_y, flip_x, turn, *corner = rng.random(5)
    normal = settings.stain_jitter * rng.standard_normal((2, 3, 2), np.float32)
    reach = settings.shift_px
    shift_y, shift_x = (int((2 * reach + 1) * place) - reach for place in corner)
    return Change(
        shift=(shift_y, shift_x),
        flip_y=bool(settings.flips and flip_y < 0.5),
        flip_x=bool(settings.flips and flip_x < 0.5),
        turns=int(4 * turn) if settings.turns else 0,
        stains=np.stack([np.maximum(1 + normal[..., 0], 0), normal[..., 1]], axis=-1),
    )


@cache
def _stain_matrices(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """`CONTRIBUTIONS` and the stains' colours there: to copy them waits for all that a GPU does."""
    contributions, colours = (
        torch.tensor(one, dtype=torch.float32, device=device)
        for one in (CONTRIBUTIONS, rgb_from_hed)
    )
    return contributions, colours


def jitter_stains(tiles: torch.Tensor, stains: torch.Tensor) -> torch.Tensor:
    """Change haematoxylin, eosin and DAB of each tile on its own (Ruifrok and Johnston 2001).

    The optical density -ln(I / 255) is divided into the three stains with scikit-image's
    matrix, each stain's amount is multiplied and shifted, and the whole goes back. White has no
    density and stays white: the offset grows from 0 with a pixel's mean density, and counts fully
    from `TISSUE_DENSITY` on. Amounts below 0 are kept, so that no change changes nothing.

    Parameters
    ----------
    tiles : (B, side, side, 3) uint8
        RGB.
    stains : (B, 3, 2) float32
        Factor and offset (in optical density) of haematoxylin, eosin and DAB.

    Returns
    -------
    torch.Tensor
        (B, side, side, 3) uint8, on the device of the tiles; in memory colour by colour.
    """
    contributions, colours = _stain_matrices(tiles.device)
    # Sums, no matrix products: autocast and TF32 would round those by a few grey levels.
    mix = (stains[..., 0, None, None] * contributions).sum(1)  # (B, 3, 3), from colour to colour
    shift = (stains[..., 1, None] * colours).sum(1)  # (B, 3)

    # One plane per colour: with three values side by side a CPU's vectors stay nearly empty.
    planes = tiles.permute(0, 3, 1, 2).contiguous().float()  # (B, 3, side, side)
    density = planes.clamp_(min=0.25).div_(255).log_().neg_()
    tissue = density.mean(1, keepdim=True).div_(TISSUE_DENSITY).clamp_(max=1)
    changed = tissue * shift[:, :, None, None]
    for channel in range(3):
        changed.addcmul_(density[:, channel, None], mix[:, channel, :, None, None])
    levels = changed.neg_().exp_().mul_(255)
    return levels.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
