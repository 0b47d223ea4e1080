"""Models go to files and come back; broken files are refused with their reason."""

from __future__ import annotations

import dataclasses
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_hmkd.errors import ModelError, OutputError
from napari_hmkd.model import ModelCard, Student, build_student, load, save


@pytest.fixture(scope="module")
def student() -> Student:
    """A narrow student with weights of its own."""
    torch.manual_seed(0)
    return build_student(width=0.5)


@pytest.fixture
def saved(student: Student, card: ModelCard, tmp_path: Path) -> Path:
    """That student as a file, in a folder whose name is not plain."""
    path = tmp_path / "Modèle für 組織" / "my student.safetensors"
    save(path, student, card)
    return path


def test_round_trip_is_exact(saved: Path, student: Student, card: ModelCard) -> None:
    module, found = load(saved)
    assert found == card
    assert not module.training
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, student.state_dict()[name])
    assert all(p.requires_grad for p in module.parameters())


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    load(saved)
    assert torch.equal(torch.rand(1), wanted)


def test_half_precision_halves_the_file(saved: Path, student: Student, card: ModelCard) -> None:
    small = saved.with_name("half.safetensors")
    save(small, student, card, half=True)
    assert small.stat().st_size < 0.55 * saved.stat().st_size
    module, _ = load(small)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, student.state_dict()[name], rtol=1e-3, atol=1e-6)
    assert torch.equal(module.head.embed_norm.running_var, student.head.embed_norm.running_var)


def test_only_weights_and_card_are_left(saved: Path) -> None:
    assert sorted(os.listdir(saved.parent)) == ["my student.json", "my student.safetensors"]


def test_saving_again_replaces_both(saved: Path, student: Student, card: ModelCard) -> None:
    load(saved)
    save(saved, student, dataclasses.replace(card, temperature=2.0))
    assert load(saved)[1].temperature == 2.0


def test_a_failed_save_keeps_the_old_files(
    saved: Path, student: Student, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("napari_hmkd.model.storage.serialise", full_disk)
    with pytest.raises(OutputError, match="no space left"):
        save(saved, student, dataclasses.replace(card, temperature=2.0))
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_weights_that_half_precision_cannot_hold_are_refused(
    student: Student, card: ModelCard, tmp_path: Path
) -> None:
    state = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    state["head.embed.weight"][0, 0] = 1e6
    huge = build_student(width=0.5)
    huge.load_state_dict(state)
    with pytest.raises(ModelError, match=r"head\.embed\.weight.*finite"):
        save(tmp_path / "huge.safetensors", huge, card, half=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"role": "teacher"}, {"width": 1.0}])
def test_a_card_of_another_network_is_not_written(
    student: Student, card: ModelCard, tmp_path: Path, change: dict
) -> None:
    with pytest.raises(ModelError, match="to be saved"):
        save(tmp_path / "m.safetensors", student, dataclasses.replace(card, **change))
    assert list(tmp_path.iterdir()) == []


def test_only_safetensors_are_written(student: Student, card: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.safetensors"):
        save(tmp_path / "m.pth", student, card)


@pytest.mark.parametrize("name", ["nowhere", "n" * 255])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=rf"no model file .*{name}\.safetensors"):
        load(tmp_path / f"{name}.safetensors")


def test_a_missing_card_is_named(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"needs its card my student\.json"):
        load(saved)


def test_a_broken_card_is_named_with_its_field(saved: Path) -> None:
    card_file = saved.with_suffix(".json")
    card_file.write_text(card_file.read_text("utf-8").replace("0.92", "-1"), "utf-8")
    with pytest.raises(ModelError, match=r"my student\.json: model card: mpp"):
        load(saved)


def test_a_card_that_is_no_text_is_refused(saved: Path) -> None:
    saved.with_suffix(".json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        load(saved)


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def cast(
    name: str, dtype: torch.dtype, value: float = 1
) -> Callable[[dict[str, torch.Tensor]], None]:
    """Give a tensor another dtype."""
    return lambda t: t.update({name: torch.full_like(t[name], value, dtype=dtype)})


def test_weights_of_any_precision_are_read_as_float32(saved: Path) -> None:
    name = "head.embed.bias"
    for dtype in (torch.float64, torch.bfloat16, torch.float8_e4m3fn):
        rewrite(saved, cast(name, dtype))
        assert torch.equal(load(saved)[0].state_dict()[name], torch.ones(128))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.update({"head.classify.weight": torch.zeros(7, 128)}),
            r"head.classify.weight of shape \(7, 128\).*needs \(4, 128\)",
        ),
        (lambda t: t.pop("head.embed.bias"), "lacks the tensor head.embed.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "a tensor extra that"),
        (lambda t: t["head.embed.bias"].fill_(float("nan")), "head.embed.bias that are not finite"),
        (cast("head.embed.bias", torch.float64, 1e300), "head.embed.bias that are not finite"),
        (cast("head.embed.bias", torch.int32), r"head.embed.bias of int32.*needs float32"),
        (cast("head.embed.bias", torch.complex64), r"head.embed.bias of complex64.*needs float32"),
        (
            cast("stages.0.embedding.norm.num_batches_tracked", torch.float32, 0.5),
            r"num_batches_tracked of float32.*needs int64",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    saved: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    rewrite(saved, change)
    with pytest.raises(ModelError, match=message):
        load(saved)


def test_counts_that_were_cast_with_all_else_are_loaded(saved: Path) -> None:
    rewrite(saved, cast("stages.0.embedding.norm.num_batches_tracked", torch.float16, 7))
    network, _ = load(saved)
    assert network.stages[0].embedding.norm.num_batches_tracked == 7


@pytest.mark.parametrize("width", [0.25, 1.0])
def test_a_card_of_another_width_names_both_shapes(saved: Path, width: float) -> None:
    card_file = saved.with_suffix(".json")
    text = card_file.read_text("utf-8").replace('"width": 0.5', f'"width": {width}')
    card_file.write_text(text, "utf-8")
    with pytest.raises(ModelError, match=r"of shape \(.*needs \("):
        load(saved)


def write_torch(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


@pytest.mark.parametrize(
    "write",
    [
        write_torch,
        lambda path: path.write_bytes(pickle.dumps({"weights": [1, 2]})),
        lambda path: path.write_bytes(os.urandom(4096)),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x10" + bytes(7) + b'{"a": not json !'),
    ],
    ids=["torch", "pickle", "noise", "empty", "broken header"],
)
def test_files_of_another_kind_point_to_convert(
    saved: Path, write: Callable[[Path], object]
) -> None:
    write(saved)
    with pytest.raises(ModelError, match=r"name student\.safetensors .*napari-hmkd-train convert"):
        load(saved)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="not a safetensors file"):
        load(saved)
