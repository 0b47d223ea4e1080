"""Many slides by workers: the same as without, none lost with a worker, and Ctrl-C ends them all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_hmkd import workers
from napari_hmkd.cli import grading_run
from napari_hmkd.cli.grade import main
from napari_hmkd.cohort import SlideJob, SlideOutcome, Status, Watch, grade_to_folder
from napari_hmkd.errors import DeviceError, SlideError
from napari_hmkd.planning import GradeSettings
from napari_hmkd.workers import grade_with_workers

pytestmark = pytest.mark.slow

GRADES = {"a.tif": [[0, 1], [2, 3]], "b ä.tif": [[3, 3], [3, 0]], "c.tif": [[1, 1], [1, 1]]}
SETTINGS = GradeSettings(batch_size=2, device="cpu")


@pytest.fixture
def slides(tmp_path: Path, paint_slide: Callable[..., Path]) -> Path:
    """A folder of three slides."""
    for name, grades in GRADES.items():
        paint_slide(tmp_path / "slides" / name, grades)
    return tmp_path / "slides"


def grade(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return int(ended.value.code or 0)


def job(slides: Path, name: str, model: Path, out: Path) -> SlideJob:
    kept = out.parent / "kept"
    return SlideJob(str(slides / name), out / name, str(model), SETTINGS, kept_in=kept)


def wait_for(reached: Callable[[], bool]) -> None:
    """For a minute at most."""
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_workers_do_the_same_and_one_that_is_killed_loses_no_slide(
    slides: Path, student_file: Path, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    names = list(GRADES)
    jobs = [job(slides, names[k % 3], student_file, tmp_path / f"out {k}") for k in range(6)]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victim = next(iter(client.run(os.getpid).values()))
        outcomes, done_before = [], []

        def kill() -> None:
            os.kill(victim, signal.SIGTERM)
            done_before.append(len(outcomes))

        timer = threading.Timer(1.0, kill)
        timer.start()
        outcomes.extend(grade_with_workers(jobs, scheduler=cluster.scheduler_address))
        timer.join()
        assert done_before[0] < len(jobs), "the worker died in the middle"
        assert victim not in client.run(os.getpid).values()
    assert {outcome.job for outcome in outcomes} == set(jobs)
    assert {outcome.status for outcome in outcomes} == {Status.GRADED}, outcomes
    alone = grade_to_folder(job(slides, "b ä.tif", student_file, tmp_path / "alone"))
    for outcome in outcomes:
        if outcome.job.slide == alone.job.slide:
            assert outcome.summary["grades"] == alone.summary["grades"]


def slide_of(line: str) -> str:
    """The slide that a line of the command tells of."""
    return Path(line.partition(":")[0]).name


@pytest.mark.skipif(os.name != "posix", reason="sends Ctrl-C to all processes of a terminal")
def test_ctrl_c_ends_workers_with_one_message_and_the_same_command_goes_on(
    slides: Path, student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    shutil.copy(slides / "c.tif", slides / "d.tif")
    out, program = tmp_path / "out", "from napari_hmkd.cli.grade import main; main()"
    options = [slides, "--model", student_file, "--device", "cpu", "--out", out]
    with subprocess.Popen(
        [sys.executable, "-c", program, *options, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        first = slide_of(run.stdout.readline())
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=120)  # until no process is left that could write to them
    assert run.returncode == 128 + signal.SIGINT
    assert "Traceback" not in said
    assert "distributed" not in said
    assert re.search(r"^stopped; [1-3] of 4 slides done, and the same command goes on", said, re.M)
    assert grade(*options) == 0
    again = {slide_of(line): line for line in capsys.readouterr().out.splitlines()}
    assert sorted(again) == ["a.tif", "b ä.tif", "c.tif", "d.tif"]
    assert "graded before" in again[first]


_CLOSING = """
import os, signal, threading, time
from distributed import Client, Status
from napari_hmkd.workers import _own_workers

def interrupt():
    while cluster.status is not Status.closing:
        time.sleep(0.01)
    print("now", flush=True)
    os.kill(os.getpid(), signal.SIGINT)

with _own_workers(1) as cluster:
    with Client(cluster) as client:
        batch = client.submit(time.sleep, 600)
        while not any(client.processing().values()):
            time.sleep(0.01)
    threading.Thread(target=interrupt).start()
"""


@pytest.mark.skipif(os.name != "posix", reason="sends Ctrl-C")
def test_ctrl_c_while_workers_close_does_not_wait_for_them() -> None:
    pytest.importorskip("distributed")
    with subprocess.Popen(
        [sys.executable, "-c", _CLOSING],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "now\n"
        said, _ = run.communicate(timeout=8)  # dask would wait 10 s; until the worker is gone, too
    assert run.returncode == -signal.SIGINT, said


def test_workers_of_a_scheduler_end_their_slide_and_begin_no_other_when_the_run_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    begun: list[SlideJob] = []
    ended: list[SlideJob] = []

    def grade_to_folder(one: SlideJob, watch: Watch) -> SlideOutcome:
        begun.append(one)
        if len(begun) == 1:
            return SlideOutcome(one, Status.GRADED, "", {})
        try:
            with watch(None) as batch_done:
                for _ in range(200):
                    time.sleep(0.05)
                    batch_done(1)
        except SlideError:
            ended.append(one)
        return SlideOutcome(one, Status.FAILED, "", {})

    monkeypatch.setattr(workers, "grade_to_folder", grade_to_folder)
    jobs = [SlideJob(f"{k}.svs", tmp_path / f"{k}", "demo", SETTINGS) for k in range(4)]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        outcomes = grade_with_workers(jobs, scheduler=cluster.scheduler_address)
        next(outcomes)
        wait_for(lambda: len(begun) == 2)
        outcomes.close()
        wait_for(lambda: ended == begun[1:])
        with distributed.Client(cluster) as client:
            client.submit(int).result()  # the worker is free, and has nothing else to do before
    assert len(begun) == 2


def test_no_more_workers_are_begun_than_there_are_slides(
    slides: Path, student_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def grade_apart(jobs: list[SlideJob], workers: int, _: None) -> Iterator[SlideOutcome]:
        begun.append(workers)
        return (SlideOutcome(one, Status.FAILED, "not tried", {}) for one in jobs)

    monkeypatch.setattr(grading_run, "grade_with_workers", grade_apart)
    options = ("--model", student_file, "--out", tmp_path / "out", "--workers", 8)
    assert grade(slides / "a.tif", slides / "c.tif", *options) == 2
    assert grade(slides / "a.tif", *options) == 0
    assert begun == [2]


def test_ctrl_c_waits_until_workers_have_begun() -> None:
    handler, reached = signal.getsignal(signal.SIGINT), []

    def begin_workers() -> None:
        with workers._interrupts_put_off():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        begin_workers()
    assert reached
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("threads", [1, 3])
def test_a_worker_grades_one_slide_at_a_time_and_threads_without_use_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, threads: int
) -> None:
    distributed = pytest.importorskip("distributed")
    running: list[SlideJob] = []
    at_once: list[int] = []

    def grade_to_folder(one: SlideJob, _watch: object) -> SlideOutcome:
        running.append(one)
        time.sleep(0.05)
        at_once.append(len(running))
        running.remove(one)
        return SlideOutcome(one, Status.GRADED, "", {})

    monkeypatch.setattr(workers, "grade_to_folder", grade_to_folder)
    jobs = [SlideJob(f"{k}.svs", tmp_path / f"{k}", "demo", SETTINGS) for k in range(4)]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=threads, processes=False, dashboard_address=None
    ) as cluster:
        outcomes = list(grade_with_workers(jobs, scheduler=cluster.scheduler_address))
    assert {outcome.job for outcome in outcomes} == set(jobs)
    assert at_once == [1] * 4
    told = [one.getMessage() for one in caplog.records if one.name == workers.__name__]
    assert len(told) == (threads > 1)
    assert all("1 of 1 dask workers" in one and "--nthreads 1" in one for one in told)


def test_a_worker_of_another_version_grades_nothing(
    slides: Path, student_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    versions = iter(("2.0", "1.9"))  # of who asks, then of the worker
    monkeypatch.setattr(workers, "version", lambda _: next(versions))
    jobs = [job(slides, "a.tif", student_file, tmp_path / "out")]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        (outcome,) = grade_with_workers(jobs, scheduler=cluster.scheduler_address)
    assert outcome.status is Status.FAILED
    assert re.search(r"napari-hmkd 2\.0, but a dask worker on .+ has 1\.9", outcome.message)
    assert not (tmp_path / "out").exists()


def test_a_result_that_is_lost_on_its_way_fails_its_slide_alone(
    slides: Path, student_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    whole, asked = distributed.Future.result, []

    def lose_the_first(future: Any) -> SlideOutcome:
        asked.append(future)
        if len(asked) == 1:
            raise distributed.CommClosedError("in the middle")
        return whole(future)

    monkeypatch.setattr(distributed.Future, "result", lose_the_first)
    jobs = [job(slides, "a.tif", student_file, tmp_path / f"out {k}") for k in range(2)]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        lost, graded = grade_with_workers(jobs, scheduler=cluster.scheduler_address)
    assert (lost.status, graded.status) == (Status.FAILED, Status.GRADED)
    assert "the same command goes on with what is missing" in lost.message


_CLUSTER = """
import time
from distributed import LocalCluster

if __name__ == "__main__":
    kind = {"processes": False, "protocol": "tcp", "dashboard_address": None}
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, **kind)
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""


def test_slides_whose_scheduler_is_gone_say_so(
    slides: Path, student_file: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    jobs = [job(slides, "a.tif", student_file, tmp_path / f"out {k}") for k in range(4)]
    command = [sys.executable, "-c", _CLUSTER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as others:
        try:
            assert others.stdout is not None
            address = others.stdout.readline().strip()
            outcomes = grade_with_workers(jobs, scheduler=address)
            assert next(outcomes).status is Status.GRADED
        finally:
            others.kill()
        lost = [one for one in outcomes if one.status is Status.FAILED]
    assert lost
    for one in lost:
        assert f"the dask scheduler at {address} is gone" in one.message


def test_a_scheduler_that_does_not_answer_is_an_error(
    slides: Path, student_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")

    def refuse(*_, **__):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    jobs = [job(slides, "a.tif", student_file, tmp_path / "out")]
    with pytest.raises(DeviceError, match=r"tcp://nowhere:1.*Timed out"):
        list(grade_with_workers(jobs, scheduler="tcp://nowhere:1"))
