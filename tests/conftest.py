"""Fixtures shared by all tests."""

from __future__ import annotations

import errno
import gc
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from tests import slide_files
from tests.web_server import Server, serving

if TYPE_CHECKING:
    from tests.watched_looks import WatchedLook

    from napari_hmkd.grading import OpenModel

SHARED = Path(__file__).parents[2] / "shared"

# How long an example takes depends on what else the machine does.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def is_timed(config: pytest.Config) -> bool:
    """Whether benchmarks are run, for which Python looks for garbage as users have it."""
    return any("benchmarks" in argument for argument in config.args)


def pytest_configure(config: pytest.Config) -> None:
    """Look for garbage less often: imports and tests make objects in millions, and most of them stay."""
    if not is_timed(config):
        gc.set_threshold(20_000, 20, 20)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As what a shell runs in the background does, and all that such a suite starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Do not look through what was imported and collected again and again."""
    if not is_timed(session.config):
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, Any, Any]:
    """Give torch its threads back: in other numbers of them sums differ in their last bits."""
    import torch

    before = torch.get_num_threads()
    result = yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)
    return result


def _hide_gpus(patch: pytest.MonkeyPatch) -> None:
    import torch

    patch.setenv("CUDA_VISIBLE_DEVICES", "")  # from processes that tests start
    patch.setattr(torch.cuda, "is_available", lambda: False)
    patch.setattr(torch.cuda, "device_count", lambda: 0)
    # torch._dynamo unwraps this one when it is loaded
    patch.setattr(torch.backends.mps, "is_available", cache(lambda: False))


@pytest.fixture(scope="session", autouse=True)
def hidden_gpus() -> Iterator[pytest.MonkeyPatch]:
    """A test computes on the CPU, whose numbers it knows, whatever else the machine has."""
    with pytest.MonkeyPatch.context() as patch:
        _hide_gpus(patch)
        yield patch


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> WatchedLook:
    """What looks at slides whose findings are kept."""
    from tests.watched_looks import WatchedLook

    from napari_hmkd.slide.contents import examined

    watched = WatchedLook()
    monkeypatch.setattr(examined, "examine", watched)
    return watched


@pytest.fixture
def all_devices(hidden_gpus: pytest.MonkeyPatch) -> Iterator[None]:
    """But for a test that asks for this."""
    hidden_gpus.undo()
    yield
    _hide_gpus(hidden_gpus)


@pytest.fixture
def gpus(all_devices: None) -> int:
    """How many CUDA devices there are; skips without any."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device that torch finds")
    return torch.cuda.device_count()


@pytest.fixture
def one_thread() -> None:
    """On a CPU each thread runs the network on a part of the batch: with this, there is one."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides beside the checkout; it is never part of the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real slides in ../shared/data, which are not part of the repository")
    return SHARED / "data"


@pytest.fixture(autouse=True)
def _no_results_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles and preferences are kept where no other test and no user keeps any, in subprocesses too."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user config"))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(tmp_path / "user data"))


@pytest.fixture
def closed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may be neither entered nor listed; its permissions would not keep root out."""
    folder = tmp_path / "closed"
    folder.mkdir()

    def refusing(call: Callable[..., Any], within: bool) -> Callable[..., Any]:
        def refuse(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            where = None if isinstance(path, int) else Path(os.fsdecode(path))
            if where is not None and (folder in where.parents or (where == folder and not within)):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return call(path, *arguments, **options)

        return refuse

    for name, within in (("stat", True), ("listdir", False), ("scandir", False), ("mkdir", True)):
        monkeypatch.setattr(os, name, refusing(getattr(os, name), within))
    return folder


@pytest.fixture(params=["in a closed folder", "below a file", "too long", "no name", "a circle"])
def impossible_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that cannot be made, nor be looked for in most cases."""
    match request.param:
        case "in a closed folder":
            return Path(request.getfixturevalue("closed_folder")) / "out"
        case "below a file":
            (tmp_path / "file").touch()
            return tmp_path / "file" / "out"
        case "too long":
            return tmp_path / "not there yet" / ("x" * 300)
        case "no name":
            return tmp_path / "a\0b"
    request.getfixturevalue("link")(tmp_path / "circle", tmp_path / "circle")
    return tmp_path / "circle" / "out"


@pytest.fixture
def link() -> Callable[[Path, Path], None]:
    """Make a path a link to another one; skips where the system lets users make none, as Windows does."""

    def make(path: Path, target: Path) -> None:
        with suppress(OSError):
            path.symlink_to(target, target.is_dir())
        if not path.is_symlink():
            pytest.skip("needs the right to make links")

    return make


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of reference numbers beside the checkout."""
    if not (SHARED / "parity").is_dir():
        pytest.skip("needs the reference numbers in ../shared/parity")
    return SHARED / "parity"


@pytest.fixture(scope="session")
def student_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small student with random weights for 256-px tiles at 4 um/px, saved with its card."""
    return _random_model(tmp_path_factory, "student", seed=0)


@pytest.fixture(scope="session")
def other_student_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with other weights."""
    return _random_model(tmp_path_factory, "student", seed=1)


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small teacher with random weights for the student's tiles."""
    return _random_model(tmp_path_factory, "teacher", seed=2)


def _random_model(tmp_path_factory: pytest.TempPathFactory, role: str, seed: int) -> Path:
    import torch

    from napari_hmkd.model import ModelCard, build_student, build_teacher, save

    torch.manual_seed(seed)
    card = ModelCard(
        name=f"random {role}",
        role=role,
        width=0.5,
        mpp=4.0,
        tile_px=256,
        temperature=1.5,
        notice="random weights, research use only",
    )
    path = tmp_path_factory.mktemp("modèle aléatoire") / f"{role}.safetensors"
    build = build_student if role == "student" else build_teacher
    save(path, build(width=card.width).eval(), card)
    return path


@pytest.fixture
def undrawn_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a test that asks for the other files of a slide what takes longest: its figure or gallery."""
    from PIL import Image

    def write(*given: object) -> None:
        (path,) = (one for one in given if isinstance(one, Path))
        Image.new("L", (1, 1)).save(path)

    monkeypatch.setattr("napari_hmkd.export.attention.write_figure", write)
    monkeypatch.setattr("napari_hmkd.export.biomarkers.write_gallery", write)


@pytest.fixture(scope="session")
def biomarkers_file(student_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A biomarker model with random weights for bags of the small student: HER2 and a grade of three."""
    import torch

    from napari_hmkd.biomarkers.encoders import find_encoder
    from napari_hmkd.model.mkd.card import BiomarkerCard, Target
    from napari_hmkd.model.mkd.files import save_biomarkers
    from napari_hmkd.model.mkd.pathology import build_pathology_network

    encoder = find_encoder(str(student_file))
    targets = (
        Target(
            name="HER2",
            classes=("negative", "positive"),
            ordinal=False,
            temperature=2.0,
            definition="positive is 3+, or 2+ with positive ISH; not the HER2 grade",
        ),
        Target(
            name="growth",
            classes=("slow", "medium", "fast"),
            ordinal=True,
            definition="growth in three steps",
        ),
    )
    card = BiomarkerCard(
        name="random biomarkers",
        encoder=encoder.name,
        encoder_sha256=encoder.sha256,
        feature_dim=encoder.feature_dim,
        patch_px=encoder.patch_px,
        mpp=encoder.mpp,
        targets=targets,
        notice="random biomarkers, research use only",
    )
    torch.manual_seed(3)
    networks = {
        target.name: build_pathology_network(
            feature_dim=encoder.feature_dim, classes=len(target.classes)
        )
        for target in targets
    }
    path = tmp_path_factory.mktemp("biomarkers") / "model.safetensors"
    save_biomarkers(networks, card, path)
    return path


@pytest.fixture(scope="session")
def multimodal_file(biomarkers_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with M beside P, which sees the genes of `gene_file` but one, in tokens of two."""
    import torch

    from napari_hmkd.genes.selection import GeneSelection
    from napari_hmkd.model.mkd.files import MultimodalModel, load_biomarkers, save_biomarkers
    from napari_hmkd.model.mkd.multimodal import build_multimodal_network

    networks, card = load_biomarkers(biomarkers_file)
    targets = tuple(replace(one, temperature_with_genes=0.5) for one in card.targets)
    torch.manual_seed(4)
    multimodal = {
        target.name: MultimodalModel(
            build_multimodal_network(
                feature_dim=card.feature_dim, token_genes=2, classes=len(target.classes)
            ),
            GeneSelection(
                ("GRB7", "ERBB2", "ESR1"), np.array([1.0, 2, 0]), np.array([1, 0.5, 2]), 2
            ),
        )
        for target in targets
    }
    path = tmp_path_factory.mktemp("multimodal") / "with genes.safetensors"
    save_biomarkers(networks, replace(card, targets=targets), path, multimodal)
    return path


@pytest.fixture(scope="session")
def gene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Genes of the cases P1 and P2, and of two samples of a TCGA patient."""
    path = tmp_path_factory.mktemp("genes") / "genes.csv"
    path.write_text(
        "case,ERBB2,TP53,ESR1,GRB7\nP1,9,1,4,5\nP2,1,2,3,4\n"
        "TCGA-A1-A0SB-01A,1,1,1,1\nTCGA-A1-A0SB-06A,2,2,2,2\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="session")
def paint_slide() -> Callable[..., Path]:
    """Write a slide of painted squares, see `slide_files.paint_slide`."""
    return slide_files.paint_slide


@pytest.fixture
def state_bounds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let OpenSlide state of a plain TIFF which part of it was scanned, as it does of an SCN.

    It takes y, x, height and width, level-0 px.
    """
    import openslide

    def state(**bounds: int) -> None:
        real = openslide.OpenSlide.properties.fget
        stated = {f"openslide.bounds-{side}": str(value) for side, value in bounds.items()}
        both = property(lambda slide: {**real(slide), **stated})
        monkeypatch.setattr(openslide.OpenSlide, "properties", both)

    return state


@pytest.fixture
def colour_model(student_file: Path) -> OpenModel:
    """Tells the grades of `paint_slide` by colour, all but certainly, before the temperature 2."""
    import torch
    from torch import nn

    from napari_hmkd.grading import OpenModel
    from napari_hmkd.model import ModelCard

    card = ModelCard(
        name="colours",
        role="student",
        width=1.0,
        mpp=4.0,
        tile_px=256,
        temperature=2.0,
        notice="painted squares, research use only",
    )

    class ColourStudent(nn.Module):
        def forward(self, he: torch.Tensor) -> SimpleNamespace:
            green = 255 * (he[:, 1].mean(dim=(1, 2)) * card.std[1] + card.mean[1])
            painted = torch.tensor([colour[1] for colour in slide_files.TISSUE])
            return SimpleNamespace(logits=-(((green[:, None] - painted) / 4) ** 2))

    return OpenModel(ColourStudent(), card, student_file)


@pytest.fixture(scope="session")
def write_zarr() -> Callable[..., None]:
    """Write an OME-Zarr store, see `slide_files.write_zarr`."""
    return slide_files.write_zarr


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], AbstractContextManager[Server]]:
    """Serve a folder at 127.0.0.1 within a `with` block."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return serving
