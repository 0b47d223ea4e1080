"""A student as one TorchScript file, which torch runs where this package is not installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import torch
from torch import nn

from napari_hmkd.errors import ModelError
from napari_hmkd.model import ModelCard

_TOLERANCE = 1e-4  # of logits
# Batches: how many tiles, and how bright.
_TRACED = (2, 0.0)
_COMPARED = ((1, -1.0), (3, 1.0))


class _Calibrated(nn.Module):
    """The student's answer, in which softmax finds the probabilities of the model card."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        # Tracing makes a float64 tensor of a plain number, which Apple's MPS does not have.
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """(B, 3, s, s) -> (B, 4); a tile is all NaN where grading would call it failed."""
        logits = self.network(tiles).logits.float()
        failed = ~logits.isfinite().all(dim=1, keepdim=True)
        return logits.masked_fill(failed, torch.nan) / self.temperature


class _OneSize(nn.Module):
    """Refuses tiles of another size than the network's, of which a trace knows nothing."""

    def __init__(self, traced: nn.Module, tile_px: int) -> None:
        super().__init__()
        self.traced = traced
        self.tile_px = tile_px

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """As `_Calibrated`. Compiled, not traced, so only what TorchScript knows may stand here."""
        if list(tiles.shape[1:]) != [3, self.tile_px, self.tile_px]:
            raise ValueError(
                f"tiles must have shape (B, 3, {self.tile_px}, {self.tile_px}), got {tiles.shape}"
            )
        return self.traced(tiles)


def write_torchscript(network: nn.Module, card: ModelCard, path: Path) -> None:
    """Write a student as float32 TorchScript.

    The file's module takes float32 (B, 3, s, s), normalised as the card says, s the card's tile
    size and B any number, and returns float32 (B, 4): logits divided by the card's temperature, so
    that their softmax is the calibrated probability; NaN for a tile whose logits are not finite.
    Another size is refused. It is not frozen: weights that are constants would stay on the CPU
    when `wsinfer` moves the module to a GPU.

    Parameters
    ----------
    network : torch.nn.Module
        Takes such tiles and returns an object with `logits` (B, 4); it is left as it is.
    card : ModelCard
        Its card.
    path : pathlib.Path
        The file to write.

    Raises
    ------
    ModelError
        If it cannot be traced, or its trace answers other tiles otherwise.
    OSError
        If the file cannot be written.
    """
    student = deepcopy(network).to("cpu", torch.float32)
    calibrated = _Calibrated(student, card.temperature).eval().requires_grad_(False)
    with torch.no_grad(), _quiet():
        try:
            example = _tiles(*_TRACED, card.tile_px)
            traced = torch.jit.trace(calibrated, example, check_trace=False)
            script = torch.jit.script(_OneSize(traced, card.tile_px))
            same = all(_same(script, calibrated, _tiles(*b, card.tile_px)) for b in _COMPARED)
        except RuntimeError as error:
            raise _not_traceable(card, str(error).strip().rpartition("\n")[2]) from error
        if not same:
            raise _not_traceable(card, "its trace answers other tiles otherwise")
        _save(script, path)


def _tiles(count: int, brightness: float, side_px: int) -> torch.Tensor:
    """Normalised tiles of noise, the same each time."""
    noise = torch.randn(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(count))
    return noise + brightness


def _same(script: nn.Module, module: nn.Module, tiles: torch.Tensor) -> bool:
    found, expected = script(tiles), module(tiles)
    return torch.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)


def _not_traceable(card: ModelCard, reason: str) -> ModelError:
    return ModelError(
        f"asked for {card.name} as TorchScript, but {card.architecture} computes in a way that "
        f"cannot be recorded ({reason}): export a student of another architecture"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without two kinds of warning.

    TorchScript is deprecated, but the one format that WSInfer reads. The tracer warns of every
    check of a shape; what it cannot record shows when other batches are compared.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        yield


def _save(script: torch.jit.ScriptModule, path: Path) -> None:
    """Save without the records for debuggers, which hold the paths of this machine's Python files."""
    whole = BytesIO()
    torch.jit.save(script, whole)
    with ZipFile(whole) as source, ZipFile(path, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                target.writestr(entry, source.read(entry))
