from __future__ import annotations

import gc
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

import psutil
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDockWidget, QMessageBox, QPushButton

from napari_hmkd.model import read_card
from napari_hmkd.widgets import finished_models
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.train_closing import KEEP, STOP
from napari_hmkd.widgets.train_widget import TrainWidget

pytestmark = pytest.mark.gui
PATIENCE_MS = 20_000

# Takes the command's arguments, and writes what the command writes.
STAND_IN = """
    import os, sys, time
    from pathlib import Path
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    if "--refuse" in sys.argv:
        print("napari-hmkd-train: no pairs in /data: name another folder", file=sys.stderr)
        raise SystemExit(2)
    out.mkdir(exist_ok=True)
    (out / "settings.json").write_text("{}")
    head = "epoch,step,train_loss,train_cross_entropy,validation_kappa\\n"
    (out / "metrics.csv").write_text(head + "1,5,2.0,1.5,0.25\\n2,10,1.0,0.5,0.75\\n")
    print(f"Prüfung {os.getpid()}", flush=True)
    if "--wait" in sys.argv:
        time.sleep(60)
    (out / f"{sys.argv[1]}.safetensors").write_text("weights")
    (out / "evaluation.json").write_text("{}")
"""


@pytest.fixture(autouse=True)
def students(monkeypatch) -> finished_models.FinishedModels:
    """A session in which nothing was trained yet."""
    fresh = finished_models.FinishedModels()
    for module in ("model_choice", "train_widget"):
        monkeypatch.setattr(f"napari_hmkd.widgets.{module}.finished_students", fresh)
    return fresh


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    script = tmp_path / "stand-in für training.py"
    script.write_text(textwrap.dedent(STAND_IN), encoding="utf-8")
    return [sys.executable, str(script)]


@pytest.fixture
def panel(viewer, program: list[str], tmp_path: Path, qtbot) -> TrainWidget:
    panel = TrainWidget(viewer, program)
    viewer.window.add_dock_widget(panel, name="Train", area="right")
    panel.form.out.value = tmp_path / "Lauf eins"
    panel.form.epochs.value = 2
    # The fixture closes the window once more at the end of a test.
    viewer.window._qt_window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    viewer.window.show()
    qtbot.waitUntil(panel.isVisible)
    return panel


def wait_for_end(panel: TrainWidget, qtbot) -> str:
    qtbot.waitUntil(lambda: not panel.process.running, timeout=PATIENCE_MS)
    return panel.status.text()


def start_waiting(panel: TrainWidget, qtbot) -> int:
    """Start a run that waits to be stopped; the number of its process."""
    panel.form.more.value = "--wait"
    panel.start_button.click()
    qtbot.waitUntil(lambda: "Prüfung" in panel.log.toPlainText(), timeout=PATIENCE_MS)
    return int(panel.log.toPlainText().split()[1])


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid)  # asked by a signal, Windows would end it


def answer(text: str) -> list[str]:
    """Answer the next question by the button that says so; gives the questions asked."""
    asked: list[str] = []

    def click() -> None:
        box = QApplication.activeModalWidget()
        assert isinstance(box, QMessageBox)
        asked.append(box.text())
        (button,) = (one for one in box.buttons() if one.text() == text)
        button.click()

    QTimer.singleShot(300, click)
    return asked


def points(axes) -> dict[str, list[list[float]]]:
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


@pytest.mark.slow
def test_a_finished_student_is_offered_to_every_grade_widget(
    viewer, panel: TrainWidget, qtbot, tmp_path: Path
) -> None:
    before = GradeWidget(viewer)
    viewer.window.add_dock_widget(before)
    teacher = tmp_path / "teacher.safetensors"
    teacher.touch()
    panel.form.role.value = "student"
    panel.form.teacher.value = teacher
    panel.start_button.click()
    assert not panel.start_button.isEnabled()
    assert not panel.form.epochs.enabled
    said = wait_for_end(panel, qtbot)
    weights = tmp_path / "Lauf eins" / "student.safetensors"
    assert said.startswith(f"Done: {weights}")
    assert panel.form.epochs.enabled
    assert points(panel.curves.loss) == {
        "loss": [[1, 2.0], [2, 1.0]], "cross entropy": [[1, 1.5], [2, 0.5]],
    }  # fmt: skip
    assert points(panel.curves.kappa) == {"validation kappa": [[1, 0.25], [2, 0.75]]}
    later = GradeWidget(viewer)
    viewer.window.add_dock_widget(later)
    for grade in (before, later):
        assert str(weights) in grade.model.listed.choices
        assert "trained: Lauf eins" in [
            grade.model.listed.native.itemText(i) for i in range(grade.model.listed.native.count())
        ]
        assert grade.model.listed.value == "demo student (procedural tissue)"
        grade.model.listed.value = str(weights)
        assert grade.model.name == str(weights)
    later.native.parent().title.close_button.click()
    again = GradeWidget(viewer)
    viewer.window.add_dock_widget(again)
    assert again.model.name == str(weights), "it is remembered as long as it is offered"


@pytest.mark.slow
def test_a_finished_teacher_is_put_into_the_students_form(
    panel: TrainWidget, qtbot, tmp_path: Path, students: finished_models.FinishedModels
) -> None:
    panel.start()
    assert wait_for_end(panel, qtbot).startswith("Done")
    assert panel.form.teacher.value == tmp_path / "Lauf eins" / "teacher.safetensors"
    assert students.choices() == []
    panel.start()
    assert not panel.process.running
    assert "finished teacher" in panel.status.text()


def test_students_of_one_name_are_told_apart(tmp_path: Path) -> None:
    models = finished_models.FinishedModels()
    for folder in ("a/run", "b/run", "b/run", "c"):
        models.add(tmp_path / folder / "student.safetensors")
    labels = [label for label, _ in models.choices()]
    assert labels == [
        "trained: c", f"trained: {tmp_path / 'b' / 'run'}", f"trained: {tmp_path / 'a' / 'run'}",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_refusal_is_told_in_the_commands_words(panel: TrainWidget, qtbot) -> None:
    panel.form.more.value = "--refuse"
    panel.start_button.click()
    said = wait_for_end(panel, qtbot)
    assert said == "Failed (exit code 2): no pairs in /data: name another folder"
    assert panel.status.property("failed")
    qtbot.wait(1200)
    assert panel.status.text() == said, "the message stays"
    assert panel.start_button.isEnabled()


def test_what_cannot_work_is_said_before_a_process_starts(panel: TrainWidget) -> None:
    panel.form.out.value = None
    panel.start_button.click()
    assert not panel.process.running
    assert "new folder" in panel.status.text()
    assert panel.status.property("failed")


def test_the_command_line_can_be_copied(panel: TrainWidget, tmp_path: Path) -> None:
    panel.form.more.value = "--seed 7"
    said = panel.command.toPlainText()
    assert said.endswith(
        f"teacher procedural --out '{tmp_path / 'Lauf eins'}' --resume "
        "--epochs 2 --batch-size 16 --device auto --seed 7"
    )
    assert panel.command.isReadOnly()
    panel.form.more.value = "--name 'open"
    assert "cannot be read" in panel.command.toPlainText()


@pytest.mark.slow
def test_a_stopped_run_goes_on_in_its_folder(panel: TrainWidget, qtbot) -> None:
    assert panel.start_button.text() == "Start"
    pid = start_waiting(panel, qtbot)
    panel.stop_button.click()
    said = wait_for_end(panel, qtbot)
    assert ended(pid)
    assert said == (
        "Stopped after 2 of 2 epochs, best validation kappa 0.750. "
        "Go on continues in the same folder."
    )
    assert panel.start_button.text() == "Go on"
    panel.form.more.value = ""
    panel.start_button.click()
    assert wait_for_end(panel, qtbot).startswith("Done")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="asks by POSIX signals")
def test_a_run_that_was_killed_says_so_and_goes_on_in_its_folder(panel: TrainWidget, qtbot) -> None:
    os.kill(start_waiting(panel, qtbot), signal.SIGKILL)
    said = wait_for_end(panel, qtbot)
    assert said == (
        "Ended from outside (SIGKILL, as the system does where memory runs out) after 2 of 2 epochs, "
        "best validation kappa 0.750. Go on continues in the same folder."
    )
    assert panel.status.property("failed")
    assert panel.start_button.text() == "Go on"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="asks by POSIX signals")
def test_a_run_that_was_killed_once_it_had_finished_is_not_said_not_to_have_begun(
    panel: TrainWidget, qtbot, tmp_path: Path
) -> None:
    pid = start_waiting(panel, qtbot)
    for name in ("student.safetensors", "settings.json", "evaluation.json"):
        (tmp_path / "Lauf eins" / name).touch()
    os.kill(pid, signal.SIGTERM)
    assert wait_for_end(panel, qtbot).endswith(". Its folder holds what it has built.")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["window", "dock"])
def test_closing_asks_and_can_be_refused(viewer, panel: TrainWidget, qtbot, way: str) -> None:
    pid = start_waiting(panel, qtbot)
    asked = answer(KEEP)
    close(viewer, panel, qtbot, way)
    assert len(asked) == 1
    assert panel.isVisible()
    assert not ended(pid)
    asked = answer(STOP)
    close(viewer, panel, qtbot, way)
    assert len(asked) == 1
    assert ended(pid)


def close(viewer, panel: TrainWidget, qtbot, way: str) -> None:
    if way == "window":
        viewer.window._qt_window.close()
        return
    dock = panel.parentWidget()
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    button = dock.findChild(QPushButton, "QTitleBarCloseButton")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.mark.slow
def test_exit_in_another_window_asks_too(panel: TrainWidget, make_napari_viewer, qtbot) -> None:
    other = make_napari_viewer()
    other.window._qt_window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    other.window.show()
    pid = start_waiting(panel, qtbot)
    asked = answer(KEEP)
    other.window._qt_window.close(quit_app=True)
    assert len(asked) == 1
    assert not ended(pid)
    other.window._qt_window.close()  # this window alone: no question
    assert not ended(pid)


def test_a_program_that_closes_the_viewer_is_not_asked(viewer, panel: TrainWidget, qtbot) -> None:
    pid = start_waiting(panel, qtbot)
    viewer.close()
    assert ended(pid)


def test_quitting_the_application_leaves_no_process(panel: TrainWidget, qtbot) -> None:
    pid = start_waiting(panel, qtbot)
    QApplication.instance().aboutToQuit.emit()
    assert ended(pid)


def test_a_panel_that_is_deleted_leaves_no_process(panel: TrainWidget, qtbot) -> None:
    pid = start_waiting(panel, qtbot)
    panel.deleteLater()
    qtbot.waitUntil(lambda: ended(pid), timeout=PATIENCE_MS)


def test_a_panel_that_was_never_docked_and_is_forgotten_leaves_no_process(
    viewer, program: list[str], tmp_path: Path, qtbot
) -> None:
    panel = TrainWidget(viewer, program)
    panel.form.out.value = tmp_path / "Lauf eins"
    pid = start_waiting(panel, qtbot)
    del panel
    gc.collect()
    qtbot.waitUntil(lambda: ended(pid), timeout=PATIENCE_MS)


def test_nothing_is_asked_when_nothing_runs(viewer, panel: TrainWidget, qtbot) -> None:
    panel.start()
    wait_for_end(panel, qtbot)
    viewer.window._qt_window.close()
    assert not panel.isVisible()


@pytest.mark.slow
def test_the_real_command_trains_a_tiny_student(viewer, qtbot, tmp_path: Path) -> None:
    """The one test here that trains: four patients, one epoch, the quarter of the width."""
    pytest.importorskip("lightning", reason="needs the extra `train`")
    panel = TrainWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Train")
    form = panel.form
    form.role.value, form.out.value = "student", tmp_path / "winziger Lauf"
    form.epochs.value, form.batch_size.value, form.device.value = 1, 4, "cpu"
    form.more.value = (
        "--method none --patients 4 --tiles-per-patient 3 --cohort-seed 1 --tile-px 256 --mpp 4 "
        "--width 0.25 --test-share 0 --validation-share 0.25 --calibration-share 0.25"
    )
    panel.start()
    qtbot.waitUntil(lambda: not panel.process.running, timeout=120_000)
    weights = tmp_path / "winziger Lauf" / "student.safetensors"
    assert panel.status.text().startswith("Done"), panel.log.toPlainText()
    assert len(points(panel.curves.kappa)["validation kappa"]) == 1
    assert read_card(weights).name == "winziger Lauf"
