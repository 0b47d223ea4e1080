"""The published networks with the weights and inputs that parity/README.md describes."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd.model import ModelCard, import_published, score_rows
from napari_hmkd.model.planes import MAPS

Shapes = dict[str, list[int]]


def random_state(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))


def published_weight(key: str, shape: list[int]) -> torch.Tensor:
    noise = np.asarray(random_state(key).standard_normal(shape))
    match key.rsplit(".", 1)[1]:
        case "num_batches_tracked":
            return torch.tensor(0)
        case "running_mean" | "bias":
            values = 0.1 * noise
        case "running_var":
            values = 1 + 0.1 * np.abs(noise)
        case _ if len(shape) == 1:
            values = 1 + 0.1 * noise
        case _:
            values = 0.6 * noise / math.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture(scope="session")
def published_shapes(parity: Path) -> dict[str, Shapes]:
    """Names and shapes of the published checkpoints' tensors, by role."""
    return json.loads((parity / "state_dict_keys.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def published_checkpoint(
    published_shapes: dict[str, Shapes], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A torch file of a role, as the published program writes it."""
    folder = tmp_path_factory.mktemp("published")

    def write(role: str) -> Path:
        path = folder / f"{role}.pth"
        if not path.exists():
            state = {key: published_weight(key, s) for key, s in published_shapes[role].items()}
            torch.save({"epoch": 3, "state_dict": state, "best_acc": np.float64(0.9)}, path)
        return path

    return write


@pytest.fixture(scope="session")
def published_network(
    published_checkpoint: Callable[[str], Path],
) -> Callable[[str], torch.nn.Module]:
    """The imported network of a role."""
    return lambda role: import_published(published_checkpoint(role), role)


@pytest.fixture(scope="session")
def published_tensor() -> Callable[[str, list[int]], torch.Tensor]:
    """The weights of a tensor by its published name and shape."""
    return published_weight


@pytest.fixture(scope="session")
def parity_input() -> Callable[[str, tuple[int, ...]], torch.Tensor]:
    """Inputs by name and shape."""

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(random_state(name).standard_normal(shape).astype(np.float32))

    return draw


@pytest.fixture(scope="session")
def parity_tiles(parity_input: Callable) -> Callable[[str, int, int], torch.Tensor]:
    """Inputs by stain, batch and side in px."""
    return lambda stain, batch, side_px: parity_input(stain, (batch, 3, side_px, side_px))


@pytest.fixture
def card() -> ModelCard:
    """A card of a narrow student."""
    return ModelCard(name="tiny", role="student", width=0.5, mpp=0.92, tile_px=512)


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> int:
    """How many torch may use."""
    torch.set_num_threads(request.param)
    return request.param


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training's blocks have three rows of 20 tokens, more of fewer and less of more tokens."""
    monkeypatch.setattr(score_rows, "BLOCK_ELEMENTS", 3 * MAPS * 20)
    monkeypatch.setattr(score_rows, "LEAST_ROWS", 1)
