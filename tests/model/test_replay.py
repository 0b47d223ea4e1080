"""Work on a GPU that is recorded and replayed gives what it gives without."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import Mock

import pytest
import torch

from napari_hmkd.device import mixed_precision
from napari_hmkd.model import build_student, replay
from napari_hmkd.model.replay import MOST_RECORDED, Replay

CUDA = torch.device("cuda")
Doubled = tuple[torch.Tensor, None]


class Doubling:
    """Doubles, and counts how often Python was in it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: torch.Tensor) -> Doubled:
        self.calls += 1
        return 2 * x, None


class OnGpu(torch.Tensor):
    """Stands for one on a GPU."""

    is_cuda = True


def on_gpu(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).as_subclass(OnGpu)


def ask(way: Replay[Doubled], *numbers: float) -> list[float]:
    doubled, nothing = way(on_gpu(*numbers))
    assert nothing is None
    return [float(one) for one in doubled]


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that are recorded, in place of a GPU: a recording knows the function no more."""
    made: list[int] = []

    def record(function: object, x: torch.Tensor) -> object:
        made.append(len(x))
        return lambda x: (2 * x, None)

    monkeypatch.setattr(replay, "_record", record)
    return made


def test_on_a_cpu_every_call_is_a_call(recordings: list[int]) -> None:
    doubling = Doubling()
    way = Replay(doubling)
    answers = [way(torch.full((3,), float(n)))[0] for n in range(4)]
    assert doubling.calls == 4
    assert [float(one[0]) for one in answers] == [0, 2, 4, 6]
    assert recordings == []


def test_each_shape_is_recorded_at_its_second_time(recordings: list[int]) -> None:
    doubling = Doubling()
    way = Replay(doubling)
    for n in range(5):
        assert ask(way, n) == [2 * n]
        assert ask(way, n, 1) == [2 * n, 2]
    assert recordings == [1, 2]
    assert doubling.calls == 2 * 2  # its second answer is what the recording is compared with


def test_no_more_shapes_are_recorded_than_there_is_memory_for(recordings: list[int]) -> None:
    way = Replay(Doubling())
    for _ in range(3):
        for size in range(1, MOST_RECORDED + 3):
            ask(way, *range(size))
    assert recordings == list(range(1, MOST_RECORDED + 1))


def test_smaller_batches_are_filled_up_and_answered_by_their_own_rows(
    recordings: list[int],
) -> None:
    doubling = Doubling()
    way = Replay(doubling)
    way.full = 4
    for numbers in [(1, 2, 3, 4), (5, 6), (7,), (1, 2, 3), (8, 9, 7, 6, 5)]:
        assert ask(way, *numbers) == [2 * number for number in numbers]
    assert recordings == [4]
    assert doubling.calls == 2 + 1  # larger ones are what they are


def test_on_a_cpu_nothing_is_filled_up() -> None:
    way = Replay(lambda x: (torch.full_like(x, len(x)),))
    way.full = 4
    assert way(torch.zeros(2))[0].tolist() == [2, 2]


def test_what_was_recorded_can_be_forgotten(recordings: list[int]) -> None:
    way = Replay(Doubling())
    for _ in range(2):
        ask(way, 1)
        ask(way, 1)
        way.forget()
    assert recordings == [1, 1]


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (RuntimeError("operation not permitted when stream is capturing"), "not permitted"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        ((lambda x: (3 * x, None)), "another one"),
        ((lambda x: (2 * x, x)), "another one"),
        ((lambda x: (2 * x * torch.nan, None)), "another one"),
    ],
    ids=["refused", "no memory", "numbers", "parts", "NaN"],
)
def test_calls_go_on_as_they_are_where_recording_fails(
    recorded: object, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def record(function: object, x: torch.Tensor) -> object:
        if isinstance(recorded, Exception):
            raise recorded
        return recorded

    monkeypatch.setattr(replay, "_record", record)
    way = Replay(Doubling())
    with caplog.at_level(logging.WARNING):
        assert [ask(way, n, 1) for n in range(4)] == [[2 * n, 2] for n in range(4)]
    assert len(caplog.messages) == 1
    assert why in caplog.text


def test_a_recording_without_any_work_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def record(function: Doubling, held: torch.Tensor) -> object:
        answer = function(held)
        return lambda x: answer

    monkeypatch.setattr(replay, "_record", record)
    way = Replay(Doubling())
    assert [ask(way, n, 1) for n in (2, 2, 3)] == [[4, 2], [4, 2], [6, 2]]
    assert "another one" in caplog.text


class Recorder:
    """torch's calls, where there is no GPU: what its allocator believes, of a torch that tidies up or not."""

    def __init__(self, tidy: bool) -> None:
        self.tidy = tidy
        self.on: list[object] = []
        self.underway: set[tuple[int, int]] = set()
        self.kept: list[tuple[int, int]] = []

    @contextmanager
    def graph(
        self, graph: object, pool: tuple[int, int], stream: object, *, capture_error_mode: str
    ) -> Iterator[None]:
        self.on.append(stream)
        self.underway.add(pool)
        self.kept.append(pool)
        try:
            yield
        except RuntimeError as error:
            if self.tidy:
                self.underway.remove(pool)
            raise RuntimeError("operation failed due to a previous error") from error
        self.underway.remove(pool)

    def reset(self) -> None:
        if self.tidy:
            self.kept.clear()

    def end(self, device: object, pool: tuple[int, int]) -> None:
        if pool not in self.underway:
            raise RuntimeError("not currently recording to mempool_id")
        self.underway.remove(pool)

    def release(self, device: object, pool: tuple[int, int]) -> None:
        self.kept.remove(pool)  # a second time ends the process


@pytest.fixture
def recorder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder(getattr(request, "param", True))
    for name, fake in {
        "CUDAGraph": lambda: Mock(reset=recorder.reset), "Stream": str, "graph": recorder.graph,
        "stream": nullcontext, "current_stream": str, "graph_pool_handle": lambda: (0, 1),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", recorder.end, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", recorder.release, raising=False)
    replay._stream.cache_clear()
    yield recorder
    replay._stream.cache_clear()


def test_work_is_recorded_on_a_stream_of_its_own_gpu(recorder: Recorder) -> None:
    doubling, held = Doubling(), torch.zeros(2)
    replayed = replay._record(doubling, held)
    replayed(torch.ones(2))
    assert recorder.on == ["cpu"]
    assert held.tolist() == [1, 1]
    assert doubling.calls == 1


@pytest.mark.parametrize(
    "recorder", [True, False], ids=["newer torch", "older torch"], indirect=True
)
def test_of_a_recording_that_fails_nothing_stays_with_the_allocator(recorder: Recorder) -> None:
    """It would keep the memory, and empty its cache no more."""
    with pytest.raises(RuntimeError, match="previous error"):
        replay._record(
            Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory")), torch.zeros(2)
        )
    assert recorder.on == ["cpu"]
    assert (recorder.underway, recorder.kept) == (set(), [])


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_student_answers_alike_on_a_gpu(precision: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    student = build_student(width=0.5).eval().to(CUDA)

    def answer(pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with mixed_precision(CUDA, precision):
            output = student(pixels)
        return output.logits, *output.maps

    way = Replay(answer)
    with torch.inference_mode():
        for _ in range(5):
            tiles = torch.randn(2, 3, 512, 512, device=CUDA)
            for found, wanted in zip(way(tiles), answer(tiles), strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert not caplog.messages


def test_each_gpu_records_its_own_work(gpus: int, caplog: pytest.LogCaptureFixture) -> None:
    if gpus < 2:
        pytest.skip("needs two CUDA devices")
    for device in ("cuda:0", "cuda:1"):
        doubling = Doubling()
        way = Replay(doubling)
        for n in range(4):
            assert way(torch.full((3,), float(n), device=device))[0].tolist() == 3 * [2.0 * n]
        assert doubling.calls == 4, "the last two are replayed"
    assert not caplog.messages
