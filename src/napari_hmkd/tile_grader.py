"""A student's answer to tiles; how a GPU is made ready, and what is done where memory runs out."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from napari_hmkd.device import (
    begin_on,
    choose_precision,
    device_errors,
    done_on,
    is_out_of_memory,
    mixed_precision,
    to_device,
)
from napari_hmkd.errors import DeviceError, ModelError
from napari_hmkd.model import ModelCard
from napari_hmkd.model.replay import Replay
from napari_hmkd.model.sharing import answer_in_parts
from napari_hmkd.model.stages import GRADES
from napari_hmkd.model.student import Student

Part = TypeVar("Part")

Look = tuple[torch.Tensor, torch.Tensor | None]
"""Logits (n, 4), and those of cells over the temperature (n, k, k, 4) or None: float32."""

_CPU = torch.device("cpu")
_GLASS = 220
"""Grey value of tiles without tissue; not 0, of which recordings are made."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a student says about tiles.

    Attributes
    ----------
    probabilities : numpy.ndarray
        Of grades 0, 1+, 2+, 3+, after the card's temperature: float32 (n, 4). Rows sum to one; one of
        NaN is a tile that the network answered with NaN or infinity, as its unbounded attention can on
        tissue unlike its training's.
    evidence : numpy.ndarray or None
        What each of a tile's k x k cells says about each grade, in logits over the temperature:
        float32 (n, k, k, 4); its mean over the cells is the tile's logits (`Head.evidence`). None
        from a network of timm, which has no such cells.
    """

    probabilities: np.ndarray
    evidence: np.ndarray | None = None


def look(student: nn.Module, card: ModelCard, precision: str, pixels: torch.Tensor) -> Look:
    """What a student says about tiles, uint8 (n, s, s, 3), on their device."""
    with mixed_precision(pixels.device, precision):
        output = student(card.normalise(pixels))
        if not isinstance(student, Student):
            return output.logits.float(), None
        cells = student.head.evidence(output.maps[-1]).permute(0, 2, 3, 1)  # (n, k, k, 4)
        return output.logits.float(), cells.float() / card.temperature


class SparingNetwork(ABC, Generic[Part]):
    """A network on a device, whose work a GPU replays, and which goes on with less where memory runs out.

    What is recorded is given up first. A batch that is too large is cut in half, for good; where one tile
    is too large, the CPU takes over.

    Parameters
    ----------
    network : torch.nn.Module
        It is moved to the device and to eval mode.
    ask : callable
        Asks the network about pixels, on their device in `precision`; see `Replay`. It must not know this
        object: what is recorded holds memory of the GPU, and goes with it at once.
    device : torch.device
        Where to run it.
    precision : str
        As `choose_precision` takes it.

    Attributes
    ----------
    network : torch.nn.Module
        As it is now.
    device : torch.device
        Where it runs now.
    precision : str
        In which arithmetic: "float32" or "bfloat16".
    notes : list of str
        What had to be changed, for people.

    Raises
    ------
    DeviceError
        If torch fails.
    """

    def __init__(
        self,
        network: nn.Module,
        ask: Callable[[torch.Tensor], Any],
        device: torch.device,
        precision: str,
    ) -> None:
        self.notes: list[str] = []
        self.network, self._asked = network, precision
        self._ask: Replay[Any] = Replay(ask)
        self._most: int | None = None
        self._preparing: Future[None] | None = None
        self._move_to(device)

    @abstractmethod
    def answer_part(self, tiles: Sequence[np.ndarray]) -> Part:
        """The network's answer to some tiles or none, on `device` in `precision` as these are now.

        Raises
        ------
        DeviceError
            If torch fails, for want of memory or otherwise.
        """

    def in_parts(self, tiles: Sequence[np.ndarray]) -> list[Part]:
        """Answers to tiles, uint8 (s, s, 3), in their order, in as many parts as memory asks for.

        Raises
        ------
        DeviceError
            If torch fails, or the CPU has no memory for a single tile.
        """
        self._be_ready()
        answers: list[Part] = []
        done = 0
        while done < len(tiles) or not answers:
            part = tiles[done : done + (self._most or len(tiles))]
            try:
                answers.append(done_on(self.device, self.answer_part, part))
            except DeviceError as error:
                if not (is_out_of_memory(error.__cause__) and self._spare(self._ask.filled(part))):
                    raise
            else:
                done += len(part)
        return answers

    @contextmanager
    def prepared(self, count: int, tile_px: int) -> Iterator[None]:
        """Begin to make a GPU ready for batches of so many tiles; those that come wait until it is.

        Its thread loads libraries, compiles kernels, and has the work recorded, for all of which the first
        two batches would have to wait; smaller ones are filled up from then on. Meanwhile a slide can be
        looked at within this; if that fails, none of it stays, as it would go on beside the next slide's,
        with the same network.
        """
        if self.device.type == "cuda":
            self._preparing = begin_on(self.device, self._rehearse, count, tile_px)
        try:
            yield
        except BaseException:
            self.rest()
            raise

    def rest(self) -> None:
        """Give back what memory of a GPU only speed takes; the work may go on."""
        if self._preparing is not None and self._preparing.cancel():
            self._preparing = None  # the GPU had not come to it, and there is nothing to give back
            return
        self._be_ready()
        done_on(self.device, self._ask.forget)

    def _be_ready(self) -> None:
        if self._preparing is not None:
            self._preparing.result()
            self._preparing = None

    def _rehearse(self, count: int, tile_px: int) -> None:
        tiles = [np.full((tile_px, tile_px, 3), _GLASS, np.uint8)] * count
        try:
            for _ in range(2):
                self.answer_part(tiles)
        except Exception as error:  # the first batch will meet it, too
            logging.getLogger(__name__).info("%s was not made ready: %s", self.device, error)
        else:
            self._ask.full = count

    def _spare(self, count: int) -> bool:
        """Ask for less than so many tiles at once did; whether there is less to ask for.

        A GPU's thread gives memory back: in others torch fails while that one records work. To itself
        torch gives it back where it wants more.
        """
        full = self.device
        if done_on(full, self._ask.forget):
            return True  # without that memory it may be enough
        if count > 1:
            self._most = count // 2
            self._ask.full = min(self._ask.full, self._most)
            self.notes.append(
                f"{self.device} ran out of memory with {count} tiles at once: it went on with "
                f"{self._most}"
            )
        elif self.device != _CPU:
            self.notes.append(f"{self.device} has no memory for one tile: the CPU went on")
            self._most = None
            self._move_to(_CPU)
            if full.type == "cuda":
                with device_errors(full):
                    done_on(full, torch.cuda.empty_cache)
        else:
            return False
        return True

    def _move_to(self, device: torch.device) -> None:
        self.device, self.precision = device, choose_precision(device, self._asked)
        with device_errors(device):
            self.network = self.network.to(device).eval()
            if device == _CPU:  # as tiles come: a tile of 256 px takes 10 % less time
                for module in self.network.modules():
                    if isinstance(module, nn.Conv2d):
                        module.to(memory_format=torch.channels_last)


class TileGrader(SparingNetwork[Answer]):
    """A student at work, sparing memory as `SparingNetwork` does.

    Parameters
    ----------
    student : torch.nn.Module
        Takes normalised tiles (B, 3, s, s) and returns an object with `logits` (B, 4).
    card : ModelCard
        Its card.
    device, precision
        As `SparingNetwork` takes them.
    """

    def __init__(
        self, student: nn.Module, card: ModelCard, device: torch.device, precision: str = "auto"
    ) -> None:
        super().__init__(student, partial(look, student, card, precision), device, precision)
        self._card = card

    def grade(self, tiles: list[np.ndarray]) -> Answer:
        """Grade tiles, each uint8 (s, s, 3), in as many runs as memory asks for.

        Raises
        ------
        DeviceError
            If torch fails, or the CPU has no memory for a single tile.
        ModelError
            If the network's answer is not four numbers a tile.
        """
        return _joined(self.in_parts(tiles))

    def answer_part(self, tiles: Sequence[np.ndarray]) -> Answer:
        """Grades of some tiles, in one run of the network, or one in each thread of a CPU.

        Raises
        ------
        DeviceError
            If torch fails, for want of memory or otherwise.
        ModelError
            If the network's answer is not four numbers a tile.
        """
        if not tiles:
            return Answer(np.empty((0, GRADES), dtype=np.float32))
        with device_errors(self.device), torch.inference_mode():
            looks = answer_in_parts(self._ask, to_device(tiles, self.device))
            logits = torch.cat([one for one, _ in looks]).cpu()
            cells = [of_cells for _, of_cells in looks if of_cells is not None]
            evidence = torch.cat(cells).cpu().numpy() if cells else None
        if logits.shape != (len(tiles), GRADES):
            raise ModelError(
                f"asked {self._card.name} to grade {len(tiles)} tiles; its answer has shape "
                f"{tuple(logits.shape)} instead of ({len(tiles)}, {GRADES}); the weights belong to another "
                "network"
            )
        answered = logits.isfinite().all(dim=1, keepdim=True)
        probabilities = torch.softmax(logits.where(answered, torch.nan) / self._card.temperature, 1)
        return Answer(probabilities.numpy(), evidence)


def _joined(answers: list[Answer]) -> Answer:
    evidence = [one.evidence for one in answers if one.evidence is not None]
    return Answer(
        np.concatenate([one.probabilities for one in answers]),
        np.concatenate(evidence) if evidence else None,
    )
