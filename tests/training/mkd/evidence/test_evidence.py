"""The evidence trains every piece once, goes on where it stopped, and writes its tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("pandas", reason="needs the extra `train`")

from napari_hmkd.bags.bag import Bag
from napari_hmkd.errors import OutputError
from napari_hmkd.training.mkd.cohort import writing
from napari_hmkd.training.mkd.cohort.design import CohortDesign
from napari_hmkd.training.mkd.cohort.writing import case_name
from napari_hmkd.training.mkd.evidence import plan, results, runner
from napari_hmkd.training.mkd.evidence.approaches import FULL_MKD, P_ALONE, SNN, WITHOUT, divide
from napari_hmkd.training.mkd.evidence.pieces import Place, read_embeddings, run_of, train_piece
from napari_hmkd.training.mkd.evidence.plan import SEEDS, Piece, Size

DESIGN = CohortDesign(patients=60, tiles_per_patient=3, genes=64, module_genes=8)
TINY = Size(DESIGN, test_patients=20, epochs=1)
FEATURES = 6


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort whose bags are made of the factors that tissue shows, without drawing any."""

    def make_bag(design: CohortDesign, factors, number: int, encoder) -> Bag:
        rng = np.random.default_rng(number)
        features = rng.normal(size=(3, FEATURES))
        features[:, :2] += factors.shown[number]
        return Bag(case_name(number), features, np.arange(6).reshape(3, 2))

    folder = tmp_path_factory.mktemp("cohort") / "ä"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "make_bag", make_bag)
        writing.write_cohort(folder, DESIGN)
    return folder


@pytest.fixture
def place(cohort: Path, tmp_path: Path) -> Place:
    return Place(tmp_path / "evidence", cohort, "cpu", 1)


LATER = 1e12


def test_test_patients_are_the_last_and_the_same_for_every_seed(place: Place) -> None:
    folds = []
    for seed in SEEDS[:2]:
        run = run_of(Piece("ER", P_ALONE, seed), TINY, place)
        data = run.open_data()
        tested = [data.cases[index].name for index in data.fold.test]
        assert tested == results.test_names(TINY) == [case_name(n) for n in range(40, 60)]
        everyone = np.concatenate(list(data.fold.parts().values()))
        assert np.array_equal(np.sort(everyone), np.arange(60))
        folds.append(data.fold)
    assert not np.array_equal(folds[0].validation, folds[1].validation)


def test_a_piece_that_began_too_late_leaves_nothing(place: Place) -> None:
    piece = Piece("ER", P_ALONE, 0)
    assert not train_piece(piece, TINY, place, stop_at=0.0)
    assert not place.folder.exists()


@pytest.mark.parametrize(("jobs", "said"), [(1, 0), (4, 1)])
def test_pieces_at_once_share_the_memory_for_bags(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys, jobs: int, said: int
) -> None:
    run = run_of(Piece("ER", P_ALONE, 0), TINY, replace(place, jobs=jobs))
    monkeypatch.setattr("napari_hmkd.training.room._LEAST_SHARE", 1)
    of_cases = 60 * 3 * FEATURES * 4
    monkeypatch.setattr("napari_hmkd.training.room.machine_memory", lambda: 3 * of_cases)
    data = run.open_data()
    for part in data.fold.parts():
        list(data.part(part))
    assert capsys.readouterr().err.count(", for 4 processes") == said


def test_a_piece_keeps_the_embeddings_of_its_best_epoch(place: Place) -> None:
    piece = Piece("HER2", FULL_MKD, 0)
    assert train_piece(piece, TINY, place, stop_at=LATER)
    kept, run = read_embeddings(place.embeddings(piece)), run_of(piece, TINY, place)
    assert {name: found.shape for name, found in kept.items()} == dict.fromkeys("PMG", (20, 256))
    head, answers = run.trained_task().pathology.classify, run.answers()
    assert set(answers) == {"P", "M", "G"}
    assert answers["P"].cases == tuple(results.test_names(TINY))
    weight, bias = (one.detach().numpy() for one in (head.weight, head.bias))
    assert kept["P"] @ weight.T + bias == pytest.approx(answers["P"].logits, abs=1e-4)


def test_each_ablation_leaves_out_its_own_losses() -> None:
    zero = [
        {name for name, weight in vars(approach.terms).items() if weight == 0}
        for approach in (FULL_MKD, *WITHOUT)
    ]
    assert zero == [set(), {"coral", "orthogonality"}, {"similarity"}, {"collaborative"}]


def test_too_few_cases_to_divide_are_refused_in_words(place: Place) -> None:
    cases = run_of(Piece("ER", P_ALONE, 0), TINY, place).open_data().cases
    with pytest.raises(Exception, match="fewer folds"):
        divide(cases[:8], [0, 1, 2, 3, 4], 0)


@pytest.mark.slow
def test_all_pieces_end_in_two_tables(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, with one seed and target and some approaches; the plan has 105 pieces."""
    approaches = (P_ALONE, FULL_MKD, WITHOUT[0], SNN)
    small = replace(TINY, design=replace(DESIGN, targets=DESIGN.targets[:1]))
    monkeypatch.setattr(runner, "QUICK", small)
    monkeypatch.setattr(runner, "write_cohort", lambda *a, **k: None)
    monkeypatch.setattr(runner, "training_digest", lambda: "as it is")
    for module in (plan, results):
        monkeypatch.setattr(module, "SEEDS", (0,))
        monkeypatch.setattr(module, "APPROACHES", approaches)
    done: list[str] = []

    def here(missing, work, jobs, outcome) -> bool:
        done.extend(piece.name for piece in missing)
        return all(work(piece) for piece in missing)

    monkeypatch.setattr(runner, "run_pieces", here)
    folder = tmp_path / "evidence"
    given = {"quick": True, "jobs": 1, "device": "cpu", "cohort": cohort}
    assert not runner.run_evidence(folder, minutes=0, **given)
    done.clear()
    assert runner.run_evidence(folder, minutes=60.0, **given)
    assert sorted(done) == sorted(f"ER-{approach.key}-seed0" for approach in approaches)
    table = (folder / "table.md").read_text(encoding="utf-8")
    for row in ("oracle, both", "P alone", "MKD: P", "MKD: G", "SNN on genes"):
        assert f"| ER | {row} |" in table
    assert "| ER | MKD: H_M |" in table
    assert "| inputs | genes |" in table
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert (
        found["auc"]["ER"]["MKD without L_CORAL + L_OR: P"]["less_reference"]["value"] is not None
    )
    done.clear()
    assert runner.run_evidence(folder, minutes=60.0, **given)
    assert done == []
    monkeypatch.setattr(runner, "QUICK", replace(small, epochs=2))
    with pytest.raises(OutputError, match="must not be mixed"):
        runner.run_evidence(folder, minutes=60.0, **given)
