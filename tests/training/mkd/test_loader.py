"""Batches of whole bags: what is in them, in which order, and how often files are read."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.bags.bag import Bag, write_bag
from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd import bag_store
from napari_hmkd.training.mkd.bag_store import BagStore
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.loader import CaseBatch, case_loader

FEATURES = 5
SIZES = (4, 1, 7, 2, 3, 6, 5)
READ = bag_store.read_features


def features_of(number: int, patches: int) -> np.ndarray:
    """Values that tell the bag and that float16 holds exactly."""
    return np.arange(patches * FEATURES).reshape(patches, FEATURES) % 97 + 100.0 * number


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """One bag per case, the last case with two; every third case is positive."""
    folder = tmp_path_factory.mktemp("bags")
    paths = []
    for number, patches in enumerate((*SIZES, 2)):
        bag = Bag(str(number), features_of(number, patches), np.zeros((patches, 2)))
        write_bag(folder / f"{number}.h5", bag)
        paths.append(folder / f"{number}.h5")
    files = [*((path,) for path in paths[:6]), (paths[6], paths[7])]
    return [Case(f"c{n}", f"p{n}", own, int(n % 3 == 0), f"c{n}") for n, own in enumerate(files)]


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose features were read, in order."""
    found: list[Path] = []

    def counted(path: Path, out: np.ndarray) -> None:
        found.append(path)
        READ(path, out)

    monkeypatch.setattr(bag_store, "read_features", counted)
    return found


def whole(number: int) -> np.ndarray:
    """The packed patches of a case."""
    if number < 6:
        return features_of(number, SIZES[number])
    return np.concatenate([features_of(6, SIZES[6]), features_of(7, 2)])


def bags_of(batch: CaseBatch) -> Sequence[torch.Tensor]:
    return batch.bags.features.split(batch.bags.sizes.tolist())


@settings(max_examples=20)
@given(
    order=st.permutations(range(7)),
    count=st.integers(1, 7),
    size=st.integers(1, 8),
    workers=st.integers(1, 3),
)
def test_in_evaluation_each_case_comes_once_whole_and_in_order(
    cases: list[Case], order: list[int], count: int, size: int, workers: int
) -> None:
    genes = np.arange(7 * 2 * 3, dtype=np.float32).reshape(7, 2, 3)
    chosen = np.array(order[:count])
    loader = case_loader(cases, chosen, genes, BagStore(), batch_size=size, workers=workers)
    found = list(loader)
    assert len(found) == len(loader) == -(-count // min(size, count))
    assert [name for batch in found for name in batch.cases] == [f"c{n}" for n in chosen]
    bags = [bag for batch in found for bag in bags_of(batch)]
    for bag, number in zip(bags, chosen, strict=True):
        np.testing.assert_array_equal(bag, whole(number))
    np.testing.assert_array_equal(torch.cat([b.genes for b in found]), genes[chosen])
    assert torch.cat([b.label for b in found]).tolist() == [int(n % 3 == 0) for n in chosen]


def test_without_genes_there_are_none(cases: list[Case]) -> None:
    (batch,) = case_loader(cases, np.arange(3), None, BagStore())
    assert batch.genes is None
    assert batch.to("cpu").genes is None


@pytest.mark.parametrize(("device", "goes_on"), [("cuda", True), ("mps", False), ("cpu", False)])
def test_only_cuda_is_trusted_to_copy_a_batch_while_the_cpu_goes_on(
    device: str, goes_on: bool, cases: list[Case]
) -> None:
    asked = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), more=None):
            if function is not torch.Tensor.to:
                return function(*arguments, **(more or {}))
            asked.append((str(torch.device(arguments[1])), more["non_blocking"]))
            return arguments[0]  # there is no such device here

    genes = np.zeros((7, 2, 3), np.float32)
    (batch,) = case_loader(cases, np.arange(3), genes, BagStore())
    with Watch():
        batch.to(device)
    assert asked == [(device, goes_on)] * 4  # features, offsets, genes and labels


@pytest.mark.parametrize("used", [True, False])
def test_memory_is_pinned_only_where_the_process_uses_cuda(
    used: bool, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, empty = [], torch.empty
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(
        torch,
        "empty",
        lambda *size, pin_memory=False, **how: asked.append(pin_memory) or empty(*size, **how),
    )
    (_,) = case_loader(cases, np.arange(3), None, BagStore())
    assert asked == [used]


@pytest.mark.parametrize(
    ("types", "loaded"),
    [
        (("float16", "float16"), torch.float16),
        (("float32", "float32"), torch.float32),
        (("float16", "float32"), torch.float32),
        (("float64", "float16"), torch.float32),
    ],
)
def test_a_batch_has_the_type_of_its_files_and_float32_on_the_device(
    types: tuple[str, str], loaded: torch.dtype, tmp_path: Path
) -> None:
    cases = []
    for number, dtype in enumerate(types):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["features"] = features_of(number, 4)[None].astype(dtype)
            file["coords"] = np.zeros((4, 2), np.int64)
        cases.append(Case(str(number), str(number), (tmp_path / f"{number}.h5",), number))
    store = BagStore()
    for _ in range(2):  # from the files, and from memory
        (batch,) = case_loader(cases, np.arange(2), None, store)
        assert batch.bags.features.dtype == loaded
        assert batch.to("cpu").bags.features.dtype == torch.float32
        for number, bag in enumerate(bags_of(batch.to("cpu"))):
            np.testing.assert_array_equal(bag, features_of(number, 4))


def bag_of(folder: Path, number: int, features: np.ndarray) -> Case:
    """A case whose only bag is a file of these features, (n, d), in their type."""
    path = folder / f"{number}.h5"
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = features, np.zeros((len(features), 2), np.int64)
    return Case(str(number), str(number), (path,), number % 2)


def test_every_float16_is_widened_to_the_same_number_in_a_mixed_batch(
    tmp_path: Path, readings: list[Path]
) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)].reshape(-1, 16)
    single = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    cases = [bag_of(tmp_path, n, features) for n, features in enumerate((every, single))]
    store = BagStore()
    for _ in range(2):  # from the files, and from memory
        (batch,) = case_loader(cases, np.arange(2), None, store)
        for bag, features in zip(bags_of(batch), (every, single), strict=True):
            wide = features.astype(np.float32)
            np.testing.assert_array_equal(bag.numpy().view(np.uint32), wide.view(np.uint32))
    assert len(readings) == 2


@pytest.mark.parametrize(("machine_bags", "warned"), [(4, 1), (20, 0)])
def test_a_machine_too_small_for_the_bags_is_told_once_they_do_not_fit(
    machine_bags: int, warned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    bag = np.ones((1000, 64), np.float32)
    cases = [bag_of(tmp_path, number, bag) for number in range(4)]
    total = machine_bags * bag.nbytes
    monkeypatch.setattr("napari_hmkd.training.room.machine_memory", lambda: total)
    store = BagStore()
    for _ in range(2):
        list(case_loader(cases, np.arange(4), None, store))
    assert capsys.readouterr().err.count("are kept in memory, not --memory-gb 8") == warned


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_memory_is_counted_as_the_bytes_that_are_kept(
    order: tuple[int, ...], tmp_path: Path, readings: list[Path]
) -> None:
    rng, types = np.random.default_rng(0), ("float16", "float32", "float64")
    bags = [rng.normal(size=(1000, 64)).astype(dtype) for dtype in types]
    cases = [bag_of(tmp_path, number, bags[number]) for number in order]
    kept_bytes = 64_000 * (2 + 4 + 4)  # no batch has float64
    for memory_bytes, again in ((kept_bytes, 0), (kept_bytes - 1, 1)):
        store = BagStore(memory_gb=memory_bytes / 1e9)
        loader = case_loader(cases, np.arange(3), None, store, batch_size=3, workers=1)
        tracemalloc.start()
        assert len(list(loader)) == 1
        grown_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert grown_bytes <= memory_bytes + 64_000, "besides, small objects"
        readings.clear()
        assert len(list(loader)) == 1
        assert len(readings) == again


def drawn(cases: list[Case], seed: int, epochs: Sequence[int], count: int = 7) -> list[list[str]]:
    loader = case_loader(
        cases, np.arange(count), None, BagStore(), batch_size=1, balanced=True, seed=seed
    )
    found = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        found.append([name for batch in loader for name in batch.cases])
    return found


def test_a_resumed_run_draws_what_a_whole_one_draws(cases: list[Case]) -> None:
    all_of_them = drawn(cases, 3, range(4))
    assert drawn(cases, 3, [2, 3]) == all_of_them[2:]
    assert len({tuple(names) for names in all_of_them}) == 4
    assert drawn(cases, 4, range(4)) != all_of_them


def test_classes_are_drawn_equally_often_and_cases_of_a_class_too(cases: list[Case]) -> None:
    epochs = 200
    names = Counter(name for epoch in drawn(cases, 0, range(epochs)) for name in epoch)
    assert sum(names.values()) == 7 * epochs
    positive = {f"c{n}": names[f"c{n}"] for n in (0, 3, 6)}
    negative = {name: count for name, count in names.items() if name not in positive}
    # Binomial: one standard deviation of a class's share is 0.013.
    assert sum(positive.values()) / (7 * epochs) == pytest.approx(0.5, abs=0.05)
    for own in (positive, negative):
        mean = sum(own.values()) / len(own)
        assert all(abs(count - mean) < 0.25 * mean for count in own.values())


def test_in_training_the_incomplete_last_batch_is_dropped(cases: list[Case]) -> None:
    sizes = [
        len(batch.cases)
        for batch in case_loader(cases, np.arange(7), None, BagStore(), batch_size=3, balanced=True)
    ]
    assert sizes == [3, 3]
    (batch,) = case_loader(cases, np.arange(5), None, BagStore(), batch_size=16, balanced=True)
    assert len(batch.cases) == 5


def test_bags_that_fit_are_read_once_for_all_loaders(
    cases: list[Case], readings: list[Path]
) -> None:
    store = BagStore()
    for indices, balanced in (
        (np.arange(7), False),
        (np.arange(4), True),
        (np.arange(3, 7), False),
    ):
        for _ in range(2):
            assert list(case_loader(cases, indices, None, store, balanced=balanced))
    assert sorted(readings) == sorted(path for case in cases for path in case.bags)


def test_bags_beyond_the_memory_allowed_are_read_again_and_are_the_same(
    cases: list[Case], readings: list[Path]
) -> None:
    patch_gb = FEATURES * 4 / 1e9
    store = BagStore(memory_gb=13.5 * patch_gb)  # 4 + 1 + 7 patches, not 2 more
    loader = case_loader(cases, np.arange(7), None, store, batch_size=2, workers=1)
    first, second = (torch.cat([b.bags.features for b in loader]) for _ in range(2))
    assert torch.equal(first, second)
    counts = Counter(int(path.stem) for path in readings)
    assert [counts[n] for n in range(8)] == [1, 1, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_features_that_are_not_finite_are_refused_by_file(value: float, tmp_path: Path) -> None:
    features = np.ones((4, FEATURES))
    features[1:3, 2] = value
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["features"], file["coords"] = features, np.zeros((4, 2))
    case = Case("c", "p", (tmp_path / "bad.h5",), 0)
    with pytest.raises(
        DataError, match=r"bad\.h5 has 2 of 4 patches whose features are not finite"
    ):
        list(case_loader([case], np.arange(1), None, BagStore()))


def test_a_bag_that_is_gone_is_named(tmp_path: Path) -> None:
    case = Case("c", "p", (tmp_path / "gone.h5",), 0)
    with pytest.raises(DataError, match=r"gone\.h5"):
        list(case_loader([case], np.arange(1), None, BagStore()))
