"""Published checkpoints are imported without running what is in them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from napari_hmkd.errors import ModelError
from napari_hmkd.model import Student, Teacher, import_published

Checkpoint = Callable[[str], Path]


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=False)["state_dict"]


@pytest.mark.parametrize(("role", "kind"), [("teacher", Teacher), ("student", Student)])
def test_imports_the_published_file(
    published_checkpoint: Checkpoint, role: str, kind: type[torch.nn.Module]
) -> None:
    network = import_published(published_checkpoint(role), role)
    assert isinstance(network, kind)
    assert not network.training
    state = state_of(published_checkpoint(role))
    assert torch.equal(network.head.classify.weight, state["fc_new2.weight"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"epoch": 1, "state_dict": {f"module.{n}": t for n, t in state.items()}},
    ],
    ids=["bare", "bare with prefix", "with prefix"],
)
def test_other_ways_to_store_it(
    published_checkpoint: Checkpoint, tmp_path: Path, wrap: Callable[[dict], dict]
) -> None:
    state = state_of(published_checkpoint("student"))
    path = tmp_path / "Prüfpunkt 1.pth"
    torch.save(wrap(state), path)
    network = import_published(path, "student")
    assert torch.equal(network.head.embed.bias, state["fc_new1.0.bias"])


def test_a_file_from_before_numpy_2(published_checkpoint: Checkpoint, tmp_path: Path) -> None:
    old = tmp_path / "old.pth"
    with ZipFile(published_checkpoint("student")) as new, ZipFile(old, "w") as written:
        for name in new.namelist():
            data = new.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in data
                data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            written.writestr(name, data)
    assert isinstance(import_published(old, "student"), Student)


@pytest.mark.parametrize(("held", "asked"), [("teacher", "student"), ("student", "teacher")])
def test_the_other_role_is_refused(published_checkpoint: Checkpoint, held: str, asked: str) -> None:
    with pytest.raises(ModelError, match=f"read as the published {asked}"):
        import_published(published_checkpoint(held), asked)


def test_another_shape_is_named_with_both(published_checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = state_of(published_checkpoint("student"))
    state["patch_embed_A0.proj.weight"] = torch.zeros(32, 3, 32, 32)
    torch.save(state, tmp_path / "narrow.pth")
    message = r"patch_embed_A0\.proj\.weight of shape \(32, 3, 32, 32\).*needs \(48, 3, 32, 32\)"
    with pytest.raises(ModelError, match=message):
        import_published(tmp_path / "narrow.pth", "student")


def test_what_lacks_is_named_as_the_published_program_does(
    published_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    state = state_of(published_checkpoint("student"))
    state["head.classify.bias"] = state.pop("fc_new2.bias")
    torch.save(state, tmp_path / "renamed.pth")
    with pytest.raises(ModelError, match=r"lacks the tensor fc_new2\.bias"):
        import_published(tmp_path / "renamed.pth", "student")


class Code:
    """Touches a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "dump", [torch.save, lambda data, path: path.write_bytes(pickle.dumps(data))]
)
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, dump: Callable) -> None:
    dump({"state_dict": Code(tmp_path / "ran")}, tmp_path / "code.pth")
    with pytest.raises(ModelError, match="holds code, which is never run"):
        import_published(tmp_path / "code.pth", "student")
    assert not (tmp_path / "ran").exists()


def test_a_truncated_file_is_refused(published_checkpoint: Checkpoint, tmp_path: Path) -> None:
    half = tmp_path / "half.pth"
    data = published_checkpoint("student").read_bytes()
    half.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="damaged"):
        import_published(half, "student")


@pytest.mark.parametrize("data", [b"", b"\x80", bytes(100), b"PK\x03\x04" + bytes(50), b"hello\n"])
def test_files_of_another_kind_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="cannot be read as a torch checkpoint"):
        import_published(path, "teacher")


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {},
        {"epoch": 3},
        {"state_dict": [torch.zeros(1)]},
        {"fc_new2.bias": torch.zeros(4, device="meta")},
        {"fc_new2.bias": torch.zeros(4).to_sparse()},
    ],
)
def test_a_file_without_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="no state dict"):
        import_published(tmp_path / "empty.pth", "student")


def test_a_missing_file_and_role_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.pth"):
        import_published(tmp_path / "nowhere.pth", "student")
    with pytest.raises(ModelError, match="'tutor'"):
        import_published(tmp_path / "nowhere.pth", "tutor")
