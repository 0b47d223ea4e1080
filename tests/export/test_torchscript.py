"""The TorchScript of a student: the same answers, in any program that has torch."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import nn

from napari_hmkd.errors import ModelError
from napari_hmkd.export.torchscript import write_torchscript
from napari_hmkd.grading import open_model
from napari_hmkd.model import ModelCard, build_student, build_timm_student
from napari_hmkd.tile_grader import TileGrader

SIDE = 256
BATCHES = (1, 3)
CARD = ModelCard(name="small", role="student", width=1, mpp=0.5, tile_px=SIDE, temperature=1.7)
Student = tuple[nn.Module, ModelCard]

# Answers all batches twice: torch optimises a module from its second run on.
ELSEWHERE = """
import sys
from pathlib import Path
sys.modules["napari_hmkd"] = sys.modules["timm"] = None
import torch
for script in Path(sys.argv[1]).glob("*.script"):
    module = torch.jit.load(script)
    batches = torch.load(script.with_suffix(".batches"))
    with torch.no_grad():
        torch.save([module(tiles) for tiles in 2 * batches], script.with_suffix(".answers"))
"""


def demo() -> Student:
    model = open_model("demo")
    return model.network, model.card


def wide() -> Student:
    torch.manual_seed(0)
    student = build_student().eval()
    nn.init.normal_(student.head.classify.weight)  # fresh ones give all tiles the same grade
    return student, CARD


def timm_student() -> Student:
    torch.manual_seed(0)
    student = build_timm_student("test_vit", tile_px=SIDE).eval()
    nn.init.normal_(student.backbone.get_classifier().weight)
    return student, CARD


STUDENTS = {"demo": demo, "wide": wide, "timm": timm_student}
of_each_student = pytest.mark.parametrize("name", STUDENTS)


@pytest.fixture(scope="module")
def students() -> dict[str, Student]:
    return {name: make() for name, make in STUDENTS.items()}


@pytest.fixture(scope="module")
def folder(students: dict[str, Student], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the script of each student."""
    folder = tmp_path_factory.mktemp("Skripte ß")
    for name, student in students.items():
        write_torchscript(*student, folder / f"{name}.script")
    return folder


def load(path: Path) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with path.open("rb") as file:  # given a name, torch finds no ü on Windows
            return torch.jit.load(file)


@pytest.mark.slow
def test_it_answers_alike_where_this_package_is_missing(
    folder: Path, students: dict[str, Student]
) -> None:
    expected = {}
    for name, (network, card) in students.items():
        batches = [torch.randn(count, 3, card.tile_px, card.tile_px) for count in BATCHES]
        torch.save(batches, folder / f"{name}.batches")
        with torch.no_grad():
            expected[name] = [network(tiles).logits / card.temperature for tiles in batches]
    program = [sys.executable, "-c", ELSEWHERE, folder]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for name, answers in expected.items():
        found = torch.load(folder / f"{name}.answers")
        for ours, theirs in zip(2 * answers, found, strict=True):
            assert theirs.dtype == torch.float32
            torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)
            torch.testing.assert_close(theirs.softmax(1), ours.softmax(1), rtol=0, atol=1e-4)


@pytest.mark.slow
@of_each_student
def test_softmax_of_it_is_the_probability_of_grading(
    folder: Path, students: dict[str, Student], name: str
) -> None:
    network, card = students[name]
    tiles = np.random.default_rng(0).integers(0, 256, (2, card.tile_px, card.tile_px, 3), np.uint8)
    graded = TileGrader(network, card, torch.device("cpu"), "float32").grade(list(tiles))
    with torch.no_grad():
        found = load(folder / f"{name}.script")(card.normalise(tiles)).softmax(1)
    np.testing.assert_allclose(found, graded.probabilities, rtol=0, atol=1e-4)


@of_each_student
def test_all_weights_are_float32_and_move_with_it(
    folder: Path, students: dict[str, Student], name: str
) -> None:
    def sizes(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    script = load(folder / f"{name}.script")
    # None has become a constant, which would stay on the CPU.
    assert sizes(script) == sizes(students[name][0])
    assert {parameter.dtype for parameter in script.parameters()} == {torch.float32}


@of_each_student
def test_tiles_of_another_size_are_refused(
    folder: Path, students: dict[str, Student], name: str
) -> None:
    side, script = students[name][1].tile_px, load(folder / f"{name}.script")
    for shape in ((1, 3, 2 * side, 2 * side), (1, 1, side, side), (3, side, side)):
        with pytest.raises(torch.jit.Error, match="tiles must have shape"):
            script(torch.zeros(shape))


@of_each_student
def test_it_tells_nothing_about_this_machine(folder: Path, name: str) -> None:
    places = [str(Path(__file__).parents[2]).encode(), sys.prefix.encode()]
    with ZipFile(folder / f"{name}.script") as archive:
        for record in archive.namelist():
            content = archive.read(record)
            assert not any(place in content for place in places), record


class Answers(nn.Module):
    """Makes logits (B, 4) of tiles by a function."""

    def __init__(self, answer: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, he: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.answer(he))


def test_a_tile_without_an_answer_is_all_nan(tmp_path: Path) -> None:
    def overflow_where_bright(he: torch.Tensor) -> torch.Tensor:
        red, green, blue = he.mean(dim=(2, 3)).unbind(1)
        return torch.stack([red, green, blue, (1000 * red).exp()], dim=1)

    path = tmp_path / "model.pt"
    write_torchscript(Answers(overflow_where_bright), CARD, path)
    dark, bright = load(path)(
        torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, SIDE, SIDE)
    )
    assert bright.isnan().all()
    torch.testing.assert_close(dark, torch.tensor([-1.0, -1.0, -1.0, 0.0]) / CARD.temperature)


@pytest.mark.parametrize(
    "answer",
    [
        lambda he: len(he) * he.mean(dim=3)[:, 0, :4],
        lambda he: he.mean(dim=3)[:, 0, :4].reshape(len(he), 4),
        lambda he: he.mean(dim=3)[:, 0, :4] * (1 if he.mean() > 0.5 else 2),
    ],
    ids=["number of tiles", "shape for one number of tiles", "what is on the tiles"],
)
def test_what_a_trace_cannot_record_is_refused(
    tmp_path: Path, answer: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    with pytest.raises(ModelError, match="small as TorchScript"):
        write_torchscript(Answers(answer), CARD, tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def test_the_student_stays_as_it_was(tmp_path: Path) -> None:
    student = build_timm_student("test_resnet", tile_px=SIDE).train()
    write_torchscript(student, CARD, tmp_path / "model.pt")
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
