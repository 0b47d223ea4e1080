"""The export for WSInfer: what its schema asks for, what must be said, and nothing of a user's lost."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from napari_hmkd.errors import ModelError, OutputError
from napari_hmkd.export.wsinfer import export_wsinfer
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.model import build_teacher
from napari_hmkd.tile_grader import TileGrader

FILES = ["README.md", "config.json", "torchscript_model.pt"]


class MeanColour(nn.Module):
    """A student that is written quickly."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Linear(3, 4)

    def forward(self, he: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.classify(he.mean(dim=(2, 3))))


@pytest.fixture
def model(student_file: Path) -> OpenModel:
    torch.manual_seed(0)
    return replace(open_model(student_file), network=MeanColour())


@pytest.fixture
def folder(tmp_path: Path, model: OpenModel) -> Path:
    folder = tmp_path / "Modelle ß" / "her2 student"
    export_wsinfer(model, folder)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_a_folder_is_made_with_its_parents(folder: Path) -> None:
    assert names(folder) == FILES
    assert names(folder.parent) == [folder.name]


@pytest.mark.parametrize("architecture", ["hmkd", "timm:resnet18"])
def test_the_configuration_is_valid(tmp_path: Path, model: OpenModel, architecture: str) -> None:
    package = importlib.util.find_spec("wsinfer_zoo")  # importing it makes a folder in the home
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs the schema in the package wsinfer-zoo")
    jsonschema = pytest.importorskip("jsonschema")
    schemas = Path(package.submodule_search_locations[0], "schemas")
    schema = json.loads((schemas / "model-config.schema.json").read_text(encoding="utf-8"))
    card = replace(model.card, architecture=architecture, mean=(0, 0, 0), mpp=1)
    export_wsinfer(replace(model, card=card), tmp_path / "model")
    jsonschema.validate(config(tmp_path / "model"), schema)
    assert config(tmp_path / "model")["architecture"] == architecture.removeprefix("timm:")


def test_the_configuration_says_what_the_card_says(folder: Path, model: OpenModel) -> None:
    found, card = config(folder), model.card
    assert found["num_classes"] == 4
    assert found["patch_size_pixels"] == card.tile_px
    assert found["spacing_um_px"] == card.mpp
    assert [step["name"] for step in found["transform"]] == ["Resize", "ToTensor", "Normalize"]


def test_no_class_is_one_of_qupath_s_intensities_of_cells(folder: Path) -> None:
    assert config(folder)["class_names"] == ["HER2 0", "HER2 1+", "HER2 2+", "HER2 3+"]


def test_the_steps_of_wsinfer_lead_to_the_probabilities_of_grading(
    folder: Path, model: OpenModel
) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    steps = transforms.Compose(
        getattr(transforms, step["name"])(**step.get("arguments", {}))
        for step in config(folder)["transform"]
    )
    side = model.card.tile_px
    tile = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)
        with (folder / "torchscript_model.pt").open("rb") as file:
            module = torch.jit.load(file)
        found = module(steps(Image.fromarray(tile))[None]).softmax(1)
    grader = TileGrader(model.network, model.card, torch.device("cpu"), "float32")
    graded = grader.grade([tile])
    np.testing.assert_allclose(found, graded.probabilities, rtol=0, atol=1e-4)


def test_people_are_told_what_it_is_not(folder: Path, model: OpenModel) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for words in (
        model.card.notice,
        "Research use only",
        "by area of tiles, not by cells: not an ASCO/CAP score",
        "HER2 2+ is equivocal",
        model.sha256(),
        "NaN",
    ):
        assert words in readme
    assert config(folder)["notice"] == model.card.notice


def test_an_earlier_export_is_replaced_and_a_user_s_own_files_are_kept(
    folder: Path, model: OpenModel
) -> None:
    (folder / "notes of mine.txt").write_text("dear diary", encoding="utf-8")
    export_wsinfer(replace(model, card=replace(model.card, notice="another one")), folder)
    assert names(folder) == sorted([*FILES, "notes of mine.txt"])
    assert config(folder)["notice"] == "another one"
    assert names(folder.parent) == [folder.name]


def test_an_empty_folder_is_filled(tmp_path: Path, model: OpenModel) -> None:
    (tmp_path / "model").mkdir()
    export_wsinfer(model, tmp_path / "model")
    assert names(tmp_path / "model") == FILES


def occupied(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def taken_by_a_file(path: Path) -> Path:
    path.write_text("precious", encoding="utf-8")
    return path


@pytest.mark.parametrize("make", [occupied, taken_by_a_file])
def test_what_is_no_earlier_export_is_left_alone(
    tmp_path: Path, model: OpenModel, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(OutputError, match="left alone"):
        export_wsinfer(model, make(tmp_path / "there"))
    assert names(tmp_path) == ["there"]


def test_a_failure_leaves_what_was_there(folder: Path, model: OpenModel) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    class Untraceable(MeanColour):
        def forward(self, he: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=len(he) * super().forward(he).logits)

    with pytest.raises(ModelError):
        export_wsinfer(replace(model, network=Untraceable()), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(folder.parent) == [folder.name]


def test_a_teacher_is_refused(tmp_path: Path, model: OpenModel) -> None:
    teacher = OpenModel(
        build_teacher(width=0.5), replace(model.card, name="tall", role="teacher"), model.path
    )
    with pytest.raises(ModelError, match="needs IHC"):
        export_wsinfer(teacher, tmp_path / "model")
    assert names(tmp_path) == []
