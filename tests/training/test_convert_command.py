"""`napari-hmkd-train convert`: a published checkpoint becomes weights with a card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from napari_hmkd.model import load
from napari_hmkd.training.cli import main


@pytest.fixture(scope="module")
def checkpoint(parity: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A torch file with the names and shapes of the published student."""
    shapes = json.loads((parity / "state_dict_keys.json").read_text(encoding="utf-8"))["student"]
    torch.manual_seed(0)
    state = {
        name: torch.rand(shape) if shape else torch.tensor(0) for name, shape in shapes.items()
    }
    path = tmp_path_factory.mktemp("veröffentlicht") / "best model.pth"
    torch.save({"epoch": 1, "state_dict": state}, path)
    return path


def convert(checkpoint: Path, role: str, out: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(checkpoint), "--role", role, "--out", str(out)])
    return int(ended.value.code or 0)


def test_the_card_says_what_the_published_tiles_were(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "student.safetensors"
    assert convert(checkpoint, "student", out) == 0
    network, card = load(out)
    assert (card.role, card.width, card.mpp, card.tile_px) == ("student", 1.0, 0.46, 1024)
    assert card.mean == (0.485, 0.456, 0.406)
    assert card.std == (0.229, 0.224, 0.225)
    assert card.notice == "research use only"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(network.head.classify.weight, state["fc_new2.weight"])


def test_the_other_role_is_refused_and_nothing_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(checkpoint, "teacher", tmp_path / "x.safetensors") == 2
    assert "read as the published teacher" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "student.safetensors"
    out.write_bytes(b"mine")
    assert convert(checkpoint, "student", out) == 2
    assert out.read_bytes() == b"mine"
