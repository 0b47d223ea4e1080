"""A student's answers, and how it goes on where memory runs out."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from threading import Event, get_ident
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from napari_hmkd import tile_grader
from napari_hmkd.device import begin_on, to_device
from napari_hmkd.errors import DeviceError
from napari_hmkd.grading import open_model
from napari_hmkd.model import ModelCard, build_student, replay
from napari_hmkd.tile_grader import Look, TileGrader

pytestmark = pytest.mark.usefixtures("one_thread")
CPU, GPU = torch.device("cpu"), torch.device("meta")  # "meta" stands for a device that is no CPU
CARD = ModelCard(name="small", role="student", width=0.25, mpp=0.5, tile_px=256, temperature=2.0)
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class Hungry(nn.Module):
    """Answers with four of a tile's pixels, for at most `most` tiles at once."""

    def __init__(self, most: int, failure: Exception = OUT_OF_MEMORY) -> None:
        super().__init__()
        self.most, self.failure = most, failure
        self.asked: list[int] = []

    def forward(self, he: torch.Tensor) -> SimpleNamespace:
        self.asked.append(len(he))
        if len(he) > self.most:
            raise self.failure
        return SimpleNamespace(logits=he[:, 0, 0, :4])


@pytest.fixture
def tiles() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (7, 256, 256, 3), np.uint8))


def test_a_batch_too_large_is_halved_for_good(tiles: list[np.ndarray]) -> None:
    network = Hungry(2)
    grader = TileGrader(network, CARD, CPU)
    answer = grader.grade(tiles)
    assert network.asked == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    alone = TileGrader(Hungry(9), CARD, CPU).grade(tiles)
    np.testing.assert_allclose(answer.probabilities, alone.probabilities, rtol=1e-6)
    assert [note.split(":")[0] for note in grader.notes] == [
        "cpu ran out of memory with 7 tiles at once",
        "cpu ran out of memory with 3 tiles at once",
    ]
    grader.grade(tiles[:2])
    assert network.asked[-2:] == [1, 1]


def test_recordings_are_given_up_before_batches_are_halved(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Hungry(11)

    class Recording:
        def __init__(self, function: Callable[..., Look], held: torch.Tensor) -> None:
            self.function, self.tiles = function, len(held)
            network.most -= self.tiles

        def __call__(self, pixels: torch.Tensor) -> Look:
            return self.function(pixels)

        def __del__(self) -> None:
            network.most += self.tiles

    monkeypatch.setattr(replay, "_record", Recording)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    grader = TileGrader(network, CARD, CPU)
    for _ in range(2):
        grader.grade(tiles[:5])
    assert network.most == 6
    assert len(grader.grade(tiles).probabilities) == 7
    assert network.asked[-2:] == [7, 7]
    assert grader.notes == []


class OnGpu:
    """A grader that takes the CPU for a GPU on which recording works."""

    def __init__(self, network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recorded: list[int] = []

        def record(function: Callable[..., Look], held: torch.Tensor) -> Callable[..., Look]:
            self.recorded.append(len(held))
            return lambda pixels: (pixels[:, 0, 0, 0, None].float().repeat(1, 4), None)

        monkeypatch.setattr(replay, "_record", record)
        monkeypatch.setattr(replay, "_alike", lambda *_: True)
        monkeypatch.setattr(torch.Tensor, "is_cuda", True)
        monkeypatch.setattr(tile_grader, "to_device", lambda tiles, _: to_device(tiles, CPU))
        self.grader = TileGrader(network, CARD, CPU)
        monkeypatch.setattr(self.grader, "device", torch.device("cuda"))


def test_a_gpu_is_made_ready_beside_other_work_and_batches_are_replayed_from_the_first_on(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, begun, looked = Hungry(9), Event(), Event()
    forward = network.forward

    def wait(he: torch.Tensor) -> SimpleNamespace:
        begun.set()
        assert looked.wait(30)
        return forward(he)

    monkeypatch.setattr(network, "forward", wait)
    gpu = OnGpu(network, monkeypatch)
    with gpu.grader.prepared(3, 256):
        assert begun.wait(30)
        assert network.asked == [], "it is under way while the caller goes on"
        looked.set()
    assert len(gpu.grader.grade(tiles[:3]).probabilities) == 3
    assert (network.asked, gpu.recorded) == ([3, 3], [3])
    gpu.grader.rest()
    gpu.grader.grade(tiles[:3])
    assert network.asked == [3, 3, 3]


@pytest.mark.filterwarnings("error")  # of threads that end with an error
@pytest.mark.parametrize(
    ("failure", "told"),
    [(RuntimeError("shapes differ"), DeviceError), (ValueError("shapes differ"), ValueError)],
)
def test_a_gpu_that_cannot_be_made_ready_is_an_error_of_the_first_batch(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, failure: Exception,
    told: type[Exception],
) -> None:  # fmt: skip
    network = Hungry(0, failure)
    grader = OnGpu(network, monkeypatch).grader
    with grader.prepared(3, 256), pytest.raises(told, match="shapes differ"):
        grader.grade(tiles)
    assert network.asked == [3, 7]


def test_what_a_gpu_has_no_room_for_is_known_of_the_slides_own_tiles(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Hungry(4)
    grader = OnGpu(network, monkeypatch).grader
    with grader.prepared(512, 256):
        assert len(grader.grade(tiles[:4]).probabilities) == 4
    assert network.asked == [512, 4]
    assert grader.notes == []


def test_a_gpu_that_is_ready_is_asked_for_full_batches_alone(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Hungry(9)
    gpu = OnGpu(network, monkeypatch)
    alone = TileGrader(Hungry(9), CARD, CPU)
    with gpu.grader.prepared(3, 256):
        pass
    for count in (3, 2, 1):
        found = gpu.grader.grade(tiles[:count]).probabilities
        assert found.shape == (count, 4)
    assert (network.asked, gpu.recorded) == ([3, 3], [3])
    gpu.grader.rest()
    found = gpu.grader.grade(tiles[:2]).probabilities
    assert network.asked == [3, 3, 3]
    np.testing.assert_array_equal(found, alone.grade(tiles[:2]).probabilities)


def test_where_full_batches_become_too_large_they_are_halved(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Hungry(4)
    gpu = OnGpu(network, monkeypatch)
    with gpu.grader.prepared(4, 256):
        gpu.grader.grade([])
    gpu.grader.rest()
    network.most = 2  # another program has taken memory
    assert len(gpu.grader.grade(tiles[:3]).probabilities) == 3
    assert network.asked == [4, 4, 4, 2, 2]
    assert gpu.grader.notes == ["cuda ran out of memory with 4 tiles at once: it went on with 2"]


def test_memory_is_given_back_in_the_thread_that_may_be_recording_other_work(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    grader, given_by = OnGpu(Hungry(9), monkeypatch).grader, []

    def fill(tiles: list[np.ndarray], device: torch.device) -> torch.Tensor:
        if device.type == "cuda":
            raise OUT_OF_MEMORY
        return to_device(tiles, device)

    monkeypatch.setattr(tile_grader, "to_device", fill)
    monkeypatch.setattr(replay.Replay, "forget", lambda _: given_by.append(get_ident()))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_by.append(get_ident()))
    assert len(grader.grade(tiles[:1]).probabilities) == 1
    assert grader.notes == ["cuda has no memory for one tile: the CPU went on"]
    assert given_by == [begin_on(torch.device("cuda"), get_ident).result()] * 2


def test_a_gpu_is_asked_by_one_thread_for_all_slides(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_by: set[int] = set()

    class Watched(Hungry):
        def forward(self, he: torch.Tensor) -> SimpleNamespace:
            asked_by.add(get_ident())
            return super().forward(he)

    for _ in range(2):
        gpu = OnGpu(Watched(9), monkeypatch)
        with gpu.grader.prepared(3, 256):
            pass
        gpu.grader.grade(tiles)
    assert len(asked_by) == 1
    assert get_ident() not in asked_by


def test_a_gpu_keeps_nothing_of_what_it_was_made_ready_for_in_vain(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Hungry(9)
    gpu = OnGpu(network, monkeypatch)

    def stop() -> None:
        begin_on(gpu.grader.device, int).result()  # it has ended
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), gpu.grader.prepared(3, 256):
        stop()
    assert (network.asked, gpu.recorded) == ([3, 3], [3])
    gpu.grader.grade(tiles[:3])
    assert network.asked == [3, 3, 3], "not from what was recorded"


def test_who_is_refused_does_not_wait_for_what_a_busy_gpu_has_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, other = Hungry(9), Event()
    gpu = OnGpu(network, monkeypatch)
    busy = begin_on(gpu.grader.device, other.wait, 30)
    with pytest.raises(KeyboardInterrupt), gpu.grader.prepared(3, 256):
        raise KeyboardInterrupt
    assert not busy.done()
    other.set()
    begin_on(gpu.grader.device, int).result()
    assert network.asked == []


def test_a_cpu_is_ready(tiles: list[np.ndarray]) -> None:
    network = Hungry(9)
    grader = TileGrader(network, CARD, CPU)
    with grader.prepared(3, 256):
        grader.grade(tiles)
    assert network.asked == [7]


def test_a_grader_goes_at_once_with_what_it_holds_of_a_gpu() -> None:
    grader = TileGrader(Hungry(1), CARD, CPU)
    alive = weakref.ref(grader)
    gc.disable()  # which may run a long time after
    try:
        del grader
        assert alive() is None
    finally:
        gc.enable()


def test_the_cpu_takes_over_where_one_tile_is_too_many(
    tiles: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    grader = TileGrader(Hungry(9), CARD, CPU)
    monkeypatch.setattr(grader, "device", GPU)

    def fill(tiles: list[np.ndarray], device: torch.device) -> torch.Tensor:
        if device == GPU:
            raise OUT_OF_MEMORY
        return to_device(tiles, device)

    monkeypatch.setattr(tile_grader, "to_device", fill)
    assert len(grader.grade(tiles[:2]).probabilities) == 2
    assert grader.device == CPU
    assert [note.split(" ")[0] for note in grader.notes] == ["meta", "meta"]
    assert grader.notes[-1].endswith("the CPU went on")


@pytest.mark.parametrize(
    "failure",
    [OUT_OF_MEMORY, RuntimeError("DefaultCPUAllocator: not enough memory"), MemoryError()],
)
def test_no_memory_for_one_tile_on_the_cpu_is_an_error(
    tiles: list[np.ndarray], failure: Exception
) -> None:
    with pytest.raises(DeviceError, match="close other programs"):
        TileGrader(Hungry(0, failure), CARD, CPU).grade(tiles)


def test_another_failure_is_not_taken_for_want_of_memory(tiles: list[np.ndarray]) -> None:
    network = Hungry(0, RuntimeError("shapes differ"))
    with pytest.raises(DeviceError, match="shapes differ"):
        TileGrader(network, CARD, CPU).grade(tiles)
    assert network.asked == [7]


@pytest.mark.parametrize("count", [1, 7])
def test_threads_give_the_answers_of_one_in_the_tiles_order(
    tiles: list[np.ndarray], count: int
) -> None:
    torch.manual_seed(0)
    student = build_student(width=0.25).eval()
    grader = TileGrader(student, CARD, CPU)
    alone = grader.grade(tiles[:count])
    torch.set_num_threads(3)
    shared = grader.grade(tiles[:count])
    np.testing.assert_allclose(shared.probabilities, alone.probabilities, atol=1e-6)
    np.testing.assert_allclose(shared.evidence, alone.evidence, atol=1e-5)


def test_weights_of_any_shape_run_on_a_cpu(tiles: list[np.ndarray]) -> None:
    network = Hungry(9)
    network.volume = nn.Conv3d(1, 1, 3)  # as some networks of timm have
    network.plane = nn.Conv2d(3, 4, 3)
    TileGrader(network, CARD, CPU).grade(tiles[:1])
    assert network.plane.weight.is_contiguous(memory_format=torch.channels_last)


def test_no_tiles_are_no_work() -> None:
    network = Hungry(0)
    assert TileGrader(network, CARD, CPU).grade([]).probabilities.shape == (0, 4)
    assert network.asked == []


@pytest.mark.parametrize("side", [256, 512])
def test_the_cells_of_a_tile_say_on_average_what_the_tile_says(side: int) -> None:
    demo = open_model("demo")
    noise = np.random.default_rng(2).integers(0, 256, (3, side, side, 3), np.uint8)
    tiles = list((noise * np.linspace(0.2, 1, 3)[:, None, None, None]).astype(np.uint8))
    tiles[0][:100] = 255
    answer = TileGrader(demo.network, demo.card, CPU).grade(tiles)
    cells = side // 256
    assert answer.evidence.shape == (3, cells, cells, 4)
    logits = torch.from_numpy(answer.evidence.mean(axis=(1, 2)))
    np.testing.assert_allclose(torch.softmax(logits, 1), answer.probabilities, atol=1e-4)
    assert answer.probabilities.std(axis=0).max() > 1e-3, "the tiles differ"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_arithmetic_can_be_forced(tiles: list[np.ndarray], precision: str) -> None:
    student = build_student(width=0.25)
    grader = TileGrader(student, CARD, CPU, precision)
    assert grader.precision == precision
    found = grader.grade(tiles[:2]).probabilities
    exact = TileGrader(student, CARD, CPU).grade(tiles[:2]).probabilities
    assert np.array_equal(found, exact) == (precision == "float32")
    np.testing.assert_allclose(found, exact, atol=0.05)


def test_an_unknown_arithmetic_is_refused() -> None:
    with pytest.raises(DeviceError, match="'float16'; there are auto, float32, bfloat16"):
        TileGrader(Hungry(1), CARD, CPU, "float16")


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize(("precision", "close"), [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_a_gpu_grades_as_the_cpu_does_at_every_call(
    precision: str, close: float, ready: bool, caplog: pytest.LogCaptureFixture
) -> None:
    demo, device = open_model("demo"), torch.device("cuda:0")
    rng = np.random.default_rng(0)
    batches = [list(rng.integers(0, 256, (n, 512, 512, 3), np.uint8)) for n in (4, 4, 2, 4, 2, 2)]
    by_cpu = TileGrader(open_model("demo").network, demo.card, CPU)
    on_cpu = [by_cpu.grade(batch) for batch in batches]
    grader = TileGrader(demo.network, demo.card, device, precision)
    with grader.prepared(4, 512) if ready else nullcontext():
        pass
    for batch, wanted in zip(batches, on_cpu, strict=True):
        found = grader.grade(batch)
        np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=close)
        np.testing.assert_allclose(found.evidence, wanted.evidence, atol=10 * close)
    assert "cannot be recorded" not in caplog.text
