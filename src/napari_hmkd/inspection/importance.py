"""What a student's answer to a tile hangs on. Received attention is not that: it says where it looks.

The answer is the log-odds ln(p / (1 - p)) of the grade that is most probable in the untouched tile,
after the card's temperature (weight of evidence; Robnik-Sikonja & Kononenko 2008, IEEE TKDE 20:589-600).
Unlike p it does not saturate, and unlike a logit it is the same where a number is added to all four.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import block_reduce

from napari_hmkd.device import device_errors, device_of, done_on
from napari_hmkd.errors import HmkdError, ModelError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inspection.tile import token_side_px
from napari_hmkd.model.sharing import answer_in_parts
from napari_hmkd.model.stages import GRADES

_AT_ONCE = 8  # tokens hidden per step, each in a tile of its own
_AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])[..., None]


class Method(StrEnum):
    """How importance is measured.

    OCCLUSION hides one token at a time (Zeiler & Fergus 2014, ECCV) and takes by how much the answer
    moves, up or down. What two tokens say alike can be spared in either, and counts in neither.

    GRADIENT takes the answer's slope by each value of the normalised tile and adds up the magnitudes in
    each token's square (saliency; Simonyan et al. 2014, arXiv 1312.6034). It needs captum and one run,
    and knows of small changes only. It is preferred to integrated gradients, whose path leads through
    tiles that no scanner gives: on the demo's student those agree less with occlusion, at 32 times the
    cost; and to input times gradient, which rates a token by how far it is from ImageNet's mean colour.
    """

    GRADIENT = "gradient"
    OCCLUSION = "occlusion"


@dataclass(frozen=True, slots=True, eq=False)
class PartialImportance:
    """What is known of a tile's importance after a step.

    Attributes
    ----------
    method : Method
    tokens : numpy.ndarray
        float32 (g, g), not negative; NaN where not known yet. By occlusion in log-odds: the change that
        hiding a token makes; by gradient the change per unit of the normalised tile, added up.
    """

    method: Method
    tokens: np.ndarray

    @property
    def share(self) -> float:
        """How much of the work is done, up to 1."""
        return float(np.isfinite(self.tokens).mean())


def measure_importance(
    student: OpenModel, he: np.ndarray, method: Method, level: int
) -> Generator[PartialImportance, None, None]:
    """Measure a tile's importance token by token; close the iterator to stop.

    Parameters
    ----------
    student : OpenModel
    he : numpy.ndarray
        uint8 (tile_px, tile_px, 3), as `read_tile` gives it.
    method : Method
        Occlusion takes g^2 runs of the network, 64 at level 2 of a tile of 1024 px and 1024 at level
        0; the gradient one, forward and backward.
    level : int
        Whose tokens: 0, 1 or 2, g = tile_px / 32, / 64 or / 128 along the tile.

    Yields
    ------
    PartialImportance
        The last one is whole.

    Raises
    ------
    ModelError
        If the answer or its gradient is not finite.
    DeviceError
        If torch fails, for want of memory or otherwise.
    HmkdError
        If captum is asked for and not installed.
    """
    measure = _occlusion if method is Method.OCCLUSION else _gradient
    yield from measure(student, he, token_side_px(level))


def surroundings(he: np.ndarray, token_px: int) -> np.ndarray:
    """Mean colour of the tokens around each, up to eight: uint8 (g, g, 3).

    It stands for a hidden token. Tissue is replaced by the tissue beside it and glass by glass, so that
    the network is shown no colour that the place could not have: black or grey would be an object of
    their own, the tile's mean would put tissue on glass, and a blur would leave part of the token.
    """
    means = block_reduce(he, (token_px, token_px, 1), np.mean)
    total, count = (
        ndimage.convolve(one, _AROUND, mode="constant") for one in (means, np.ones_like(means))
    )
    return (total / count).round().astype(np.uint8)


def _occlusion(
    student: OpenModel, he: np.ndarray, token_px: int
) -> Generator[PartialImportance, None, None]:
    device, colours = device_of(student.network), surroundings(he, token_px)
    tokens = np.full(colours.shape[:2], np.nan, np.float32)
    untouched = done_on(device, _answers, student, [he])
    grade = int(untouched.argmax())
    answer = _log_odds(untouched, grade)
    waiting = np.ndindex(tokens.shape)
    while some := list(islice(waiting, _AT_ONCE)):
        hidden = [_without(he, token, colours[token], token_px) for token in some]
        moved = _log_odds(done_on(device, _answers, student, hidden), grade) - answer
        tokens[tuple(zip(*some, strict=True))] = moved.abs().numpy()
        yield PartialImportance(Method.OCCLUSION, tokens.copy())


def _gradient(
    student: OpenModel, he: np.ndarray, token_px: int
) -> Generator[PartialImportance, None, None]:
    attribution = saliency()
    slopes = done_on(device_of(student.network), _slopes, attribution, student, he)
    if not np.isfinite(slopes).all():
        raise _not_finite(student, "gradient")
    yield PartialImportance(Method.GRADIENT, block_reduce(slopes, token_px, np.sum))


def _slopes(attribution: type, student: OpenModel, he: np.ndarray) -> np.ndarray:
    """Magnitude of the answer's slope by each pixel: float32 (tile_px, tile_px)."""

    def answer(tile: torch.Tensor) -> torch.Tensor:
        logits = _logits(student, tile)
        # A network that does not look at the tile has a gradient too: of nothing.
        return _log_odds(logits, int(logits.argmax())) + 0 * tile[:, 0, 0, 0]

    # No gradient passes tensors that a caller's inference mode has made.
    with device_errors(device_of(student.network)), torch.inference_mode(False):
        tile = _as_input(student, [he]).requires_grad_()
        slopes: np.ndarray = attribution(answer).attribute(tile)[0].sum(dim=0).cpu().numpy()
    return slopes


def _without(
    he: np.ndarray, token: tuple[int, ...], colour: np.ndarray, token_px: int
) -> np.ndarray:
    """The tile with a token's square in one colour."""
    top, left = (token_px * place for place in token)
    hidden = he.copy()
    hidden[top : top + token_px, left : left + token_px] = colour
    return hidden


def _as_input(student: OpenModel, tiles: list[np.ndarray]) -> torch.Tensor:
    """Tiles, normalised, where the network is: float32 (n, 3, tile_px, tile_px)."""
    pixels = torch.from_numpy(np.stack(tiles)).to(device_of(student.network))
    return student.card.normalise(pixels)


def _answers(student: OpenModel, tiles: list[np.ndarray]) -> torch.Tensor:
    """`_logits` of tiles, on the CPU."""
    with device_errors(device_of(student.network)), torch.inference_mode():
        parts = answer_in_parts(partial(_logits, student), _as_input(student, tiles))
        return torch.cat(parts).cpu()


def _logits(student: OpenModel, tiles: torch.Tensor) -> torch.Tensor:
    """Logits over the temperature: float32 (n, 4). Probabilities would round off what is all but sure."""
    logits = student.network(tiles).logits.float() / student.card.temperature
    if not logits.isfinite().all():
        raise _not_finite(student, "answer")
    return logits


def _log_odds(logits: torch.Tensor, grade: int) -> torch.Tensor:
    """ln(p / (1 - p)) of a grade: (B, 4) -> (B,)."""
    others = [other for other in range(GRADES) if other != grade]
    return logits[:, grade] - logits[:, others].logsumexp(dim=1)


def saliency() -> type:
    """captum's class of this name.

    Raises
    ------
    HmkdError
        If captum is not installed.
    """
    try:
        from captum.attr import Saliency
    except ImportError as error:
        raise HmkdError(
            "asked for the gradient of a tile, but captum is not installed: "
            'pip install "napari-hmkd[inspect]"; occlusion needs none'
        ) from error
    return Saliency


def _not_finite(student: OpenModel, what: str) -> ModelError:
    return ModelError(
        f"asked what the answer of {student.card.name} hangs on, but its {what} is not finite "
        "here: the tissue is unlike what it was trained on; choose another tile or model"
    )
