"""The report of a learning campaign says what its metrics, frames and arrays say."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from page_reader import Reader

from hpcflow.cli.campaign import view
from hpcflow.database.database import Database
from hpcflow.report import write_report
from hpcflow.report.formats import number


@pytest.fixture(scope="module")
def text(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(view(Database(finished)), tmp_path_factory.mktemp("page") / "report.html")
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Reader:
    return Reader(text)


def test_the_page_is_well_formed(page: Reader) -> None:
    assert page.faults == []


def test_the_page_needs_nothing_but_itself(page: Reader, text: str) -> None:
    assert [r for r in page.references if not r.startswith("#")] == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "@import" not in text
    assert "url(http" not in text


def test_references_inside_the_page_have_one_goal_each(page: Reader) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {r[1:] for r in page.references} <= set(page.ids)


def test_every_figure_is_well_formed_and_has_a_text_for_those_who_do_not_see_it(text: str) -> None:
    figures = text.split("<figure>")[1:]
    assert len(figures) >= 8
    for figure in figures:
        svg = ElementTree.fromstring(figure[: figure.index("</svg>") + 6].strip())
        assert svg.get("aria-label")


def test_figures_have_the_colours_of_the_page_and_no_others(text: str) -> None:
    assert "#00f0" not in text
    assert "var(--blue, #1f6fb2)" in text


def test_all_sections_are_there_in_order(page: Reader) -> None:
    assert page.headings == [
        "How good the models are",
        "Predictions on the test set",
        "What σ is worth",
        "Training",
        "Exploration",
        "Selection",
        "Labels of each iteration",
        "Reference labels",
        "Where it stands",
        "Time per task",
        "What it has cost",
    ]


def test_the_learning_curve_is_that_of_the_last_comparison(page: Reader) -> None:
    assert "From 110 to 440 training frames the error of the energy went from 4.00 to 1.21 meV/atom" in page.text
    assert "that of the forces from 120 to 36.3 meV/Å" in page.text
    assert "1.21 meV/atom test RMSE of the energy; 4.00 in iteration 0" in page.text


def test_errors_of_each_iteration_are_in_small_units(page: Reader) -> None:
    rows = page.table("iteration", "training frames", "test frames")
    assert rows[0] == ["0", "110", "20", "4.00", "3.00", "120", "80.0", "0.81"]
    assert rows[1] == ["1", "220", "20", "2.20", "1.65", "66.0", "44.0", "0.81"]
    assert [row[0] for row in rows] == ["0", "1", "final"]


def test_errors_by_kind_of_structure_are_those_of_the_last_test(page: Reader) -> None:
    assert page.table("config_type", "frames")[0][:3] == ["start", "10", "0.847"]


def test_the_decision_is_told(page: Reader) -> None:
    assert "Decision after iteration 1: go on (43% of the frames accurate, 95% wanted)" in page.text


def test_the_errors_under_the_parity_plot_are_those_of_the_frames(page: Reader, finished: Path) -> None:
    import numpy as np

    from hpcflow.database.results import read_results
    from hpcflow.structures import parse

    array = sorted((finished / ".hpcflow" / "arrays").glob("*-final-test"))[-1]
    newest = list(read_results(array))[-1]
    frames = parse(newest.frames)
    energies = [(f.info["predicted_energy"] - f.info["REF_energy"]) / len(f) for f in frames]
    forces = np.concatenate([f.arrays["predicted_forces"] - f.arrays["REF_forces"] for f in frames])
    energy, force = (1000 * float(np.sqrt(np.mean(np.square(values)))) for values in (energies, forces))
    assert f"RMSE {number(energy)} meV/atom for energies and {number(force)} meV/Å for force components" in page.text


def test_the_trust_levels_and_the_rank_correlation_are_beside_the_deviations(page: Reader) -> None:
    assert "Spearman's rank correlation is 0.81" in page.text
    assert page.text.count("lo 0.05") == 3  # two iterations, and σ against the error
    assert page.table("iteration", "frames", "", "accurate")[1] == [
        *("1", "400", "", "32 %", "58 %", "10 %", "0.05", "0.25")
    ]


def test_walkers_are_told_with_what_stopped_them(page: Reader) -> None:
    rows = page.table("walker", "mean temperature (K)")
    assert rows[1] == ["1", "400", "700", "unsafe", "force: 31.2 eV/Å above 30", "reset"]
    assert page.table("iteration", "walkers")[0] == ["0", "6", "", "2", "5400", "300 to 800", "1"]


def test_selected_frames_are_counted_by_reason(page: Reader) -> None:
    assert page.table("iteration", "frames", "", "chosen") == [
        ["0", "400", "", "42", "40", "2", "100", "258"],
        ["1", "400", "", "42", "40", "2", "120", "238"],
    ]


def test_labels_are_counted_and_discarded_ones_are_listed(page: Reader) -> None:
    assert page.table("iteration", "asked for")[0] == ["0", "42", "", "40", "1", "1", "8.00", "240"]
    assert page.table("iteration", "walker", "time step")[0] == ["0", "3", "720", "45.6", "789"]


def test_the_members_of_the_last_committee_are_listed(page: Reader) -> None:
    assert page.table("member")[0] == ["0", "from the model before", "40", "37", "4.10", "113"]


def test_arrays_have_their_counts(page: Reader) -> None:
    rows = page.table("step", "task class")
    assert rows[0][:8] == ["label", "reference", "done", "", "6", "5", "1", "0"]
    assert [row[0] for row in rows] == [
        *("label", "iterations[0]/train", "iterations[0]/test", "iterations[1]/train", "iterations[1]/test"),
        "final/test",
    ]


def test_failed_tasks_have_their_reason_message_and_the_next_command(page: Reader) -> None:
    assert page.table("step", "reason") == [
        *[["label", "error", "1", "17 %", "ValueError: no convergence after 100 cycles", "hpcflow explain label/3"]]
    ]


def test_the_cost_is_told_by_step_and_in_all(page: Reader) -> None:
    rows = page.table("step", "arrays", "results")
    assert {row[0]: row[2] for row in rows} == {"label": "5", "train": "2", "test": "3", "all": "10"}
    # Both iterations of this campaign train and test on the same: the second takes over what the first computed.
    assert {row[0]: row[3] for row in rows} == {"label": "0", "train": "2", "test": "3", "all": "5"}


def test_labels_of_the_start_are_described(page: Reader) -> None:
    assert "5 labelled frames of label, 3.00 atoms each in the mean." in page.text


def test_nothing_is_left_out(page: Reader) -> None:
    assert "What could not be shown" not in page.text


def test_names_of_the_campaign_its_site_and_versions_are_at_the_top(page: Reader, finished: Path) -> None:
    from hpcflow.version import __version__

    assert page.text.startswith("water: report water Report of workflow flow.py:flow on local.")
    assert str(finished) in page.text
    assert f"by hpcflow {__version__}, Python" in page.text
