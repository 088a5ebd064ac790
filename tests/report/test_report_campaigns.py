"""Reports of campaigns that do other things than learn, or are not finished, or not begun."""

import subprocess
import sys
from pathlib import Path

import pytest
from campaign_harness import MakeCampaign, wait_for
from page_reader import Reader

from hpcflow.cli.campaign import view
from hpcflow.database.database import Database
from hpcflow.errors import UserError
from hpcflow.report import write_report


def written(directory: Path) -> Reader:
    return Reader(write_report(view(Database(directory))).read_text("utf-8"))


FRAMES = """2
Properties=species:S:1:pos:R:3 pbc="F F F"
Cu 0 0 0
Cu 0 0 {0}
"""


def test_a_label_campaign_shows_its_labels_times_and_failures(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        yaml="workflow: label\nparameters:\n  structures: start.xyz\n"
        "  calculator: ase.calculators.emt.EMT\n  force_cap: 20.0\n"
    )
    campaign.write("start.xyz", "".join(FRAMES.format(1.2 + 0.1 * k) for k in range(12)))
    campaign.good("submit", "--yes")
    campaign.finish()
    page = written(campaign.directory)
    assert page.faults == []
    assert page.headings == ["Reference labels", "Where it stands", "Time per task", "What it has cost"]
    (failure,) = page.table("step", "reason")
    assert failure[:2] == ["label", "error"]
    assert "force_cap is 20" in failure[4]
    good = 12 - int(failure[2])
    assert f"{good} labelled frames of label, 2.00 atoms each in the mean." in page.text


ATOM = """1
Properties=species:S:1:pos:R:3 config_type=IsolatedAtom pbc="F F F"
Cu 0 0 0
"""


def test_isolated_atoms_are_left_out_of_the_labels_and_results_are_counted_once(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        yaml="workflow: label\nparameters:\n  structures: start.xyz\n  calculator: ase.calculators.emt.EMT\n"
    )
    campaign.write("start.xyz", ATOM + "".join(FRAMES.format(2.2 + 0.1 * k) for k in range(4)))
    campaign.good("submit", "--yes")
    campaign.finish()
    page = written(campaign.directory)
    assert "4 labelled frames of label, 2.00 atoms each in the mean." in page.text
    assert "1 isolated atom left out" in page.text
    assert page.table("step", "task class")[0][5] == "5"
    campaign.write("start.xyz", ATOM + "".join(FRAMES.format(2.2 + 0.1 * k) for k in range(6)))
    campaign.good("submit", "--yes")
    campaign.finish()
    (label, *_) = written(campaign.directory).table("step", "arrays", "results", "taken over")
    assert label[:4] == ["label", "2", "7", "5"], "each result is counted where it was computed"


def test_a_map_campaign_shows_times_and_cost(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        yaml="workflow: map\nname: A & <B>\nparameters:\n"
        '  items: [{n: 0}, {n: 1}, {n: 2}, {n: 3}, {n: 4}, {n: 5}]\n  command: "test {n} -ne 4"\n'
    )
    campaign.good("submit", "--yes")
    campaign.finish()
    page = written(campaign.directory)
    assert page.faults == []
    assert page.text.startswith("A & <B>: report")
    assert page.headings == ["Where it stands", "Time per task", "What it has cost"]
    assert "site local begun" in page.text
    assert "Time of 5 tasks of map: median" in page.text
    assert page.table("step", "reason")[0][:3] == ["map", "error", "1"]


def test_the_time_of_a_task_is_what_it_slept(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        yaml="workflow: map\nparameters:\n  items: [{n: 0}, {n: 1}, {n: 2}, {n: 3}, {n: 4}]\n  command: sleep 0.2\n"
    )
    campaign.good("submit", "--yes")
    campaign.finish()
    page = written(campaign.directory)
    mean = page.table("step", "task class")[0][-1]
    assert mean.endswith(" ms")
    assert float(mean.split()[0]) >= 200


OWN = """
import hpcflow as hf
def half(x):
    return x / 2
def flow(run: hf.Run):
    for i in run.iterations(2):
        run.metrics({"mean": sum(run.map(half, [i, i + 1]).results()), "label": "a<b", "more": {"x": 1}})
"""


def test_what_a_workflow_of_ones_own_measures_is_a_table(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(OWN)
    campaign.good("submit", "--yes")
    campaign.finish()
    assert written(campaign.directory).table("step") == [
        ["iterations[0]", "0.500", "a<b"],
        ["iterations[1]", "1.50", "a<b"],
    ]


def test_a_campaign_that_needs_a_person_says_why_at_the_top(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import hpcflow as hf\ndef bad(x):\n    raise KeyError('no such basis set')\n"
        """
def flow(run: hf.Run):
    run.map(bad, [1, 2]).results()[0]
"""
    )
    campaign.good("submit", "--yes")
    assert campaign.run_to_end().returncode == 4
    page = written(campaign.directory)
    assert page.headings[:2] == ["Needs attention", "Where it stands"]
    assert "bad: all its tasks failed (2 of 2)" in page.text
    assert "no such basis set" in page.table("step", "reason")[0][4]


def test_a_campaign_with_live_tasks_shows_what_is_there(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(yaml='workflow: map\nparameters:\n  items: [{n: 0}, {n: 60}]\n  command: "sleep {n}"\n')
    campaign.good("submit", "--yes")
    for _ in range(600):
        engine = view(Database(campaign.directory))
        if engine.state.campaign.arrays and engine.state.campaign.arrays[1].succeeded:
            break
        campaign.poll()
    page = Reader(write_report(engine).read_text("utf-8"))
    (row,) = page.table("step", "task class")
    assert row[2].startswith("live")
    assert row[4:8] == ["2", "1", "0", "1"]


def test_a_tick_that_finishes_an_array_meanwhile_does_no_harm(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        yaml='workflow: map\nparameters:\n  items: [{n: 0}, {n: 1}]\n  command: "test {n} -eq 0"\n'
    )
    campaign.good("submit", "--yes")
    wait_for(lambda: view(Database(campaign.directory)).state.campaign.arrays[1].succeeded)
    before = view(Database(campaign.directory))
    campaign.finish()
    page = Reader(write_report(before).read_text("utf-8"))
    row = page.table("step", "task class")[0]
    assert (row[:2], row[4:6]) == (["map", "default"], ["2", "1"])  # as it was seen, or as it is now


def test_a_campaign_without_arrays_has_a_report_that_says_so(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign("def flow(run):\n    pass\n")
    campaign.good("submit", "--yes")
    page = written(campaign.directory)
    assert "Nothing has been submitted yet." in page.text
    assert page.headings == []


def test_the_file_appears_whole_and_alone(copy: Path) -> None:
    output = copy / "elsewhere" / "a report.html"
    output.parent.mkdir()
    output.write_text("an older one")
    assert write_report(view(Database(copy)), output) == output
    assert [p.name for p in output.parent.iterdir()] == ["a report.html"]
    assert output.read_text("utf-8").endswith("</html>\n")


def test_a_report_changes_nothing_in_the_database(copy: Path) -> None:
    def content() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in (copy / ".hpcflow").rglob("*") if p.is_file()}

    before = content()
    write_report(view(Database(copy)))
    assert content() == before


def test_a_directory_that_is_not_there_is_named(copy: Path) -> None:
    with pytest.raises(UserError, match=r"missing/r\.html: the report cannot be written \(No such file or directory\)"):
        write_report(view(Database(copy)), copy / "missing" / "r.html")


def test_without_matplotlib_the_extra_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"hpcflow-arrays\[report\]"):
        write_report(view(Database(copy)))


def test_without_ase_there_is_a_report_without_what_needs_it(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ase", None)
    page = written(copy)
    assert "Without ase the predictions of the test set cannot be read" in page.text
    assert "How good the models are" in page.headings


def test_importing_the_report_imports_no_library_for_figures_or_structures() -> None:
    code = (
        "import sys, hpcflow.report; print(sorted({'matplotlib', 'numpy', 'ase', 'jinja2', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


LABELLING = """
import hpcflow as hf
from ase import Atoms
def label(x):
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.2 + 0.1 * x]])
    atoms.info["REF_energy"] = float(x)
    return hf.Output(x, [atoms])
def flow(run: hf.Run):
    run.map(label, [1, 2, 3])
    for i in run.iterations(2):
        run.map(label, [10 + i], task_class="reference")
"""


def test_labels_of_all_iterations_are_shown_together(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(LABELLING)
    campaign.good("submit", "--yes")
    campaign.finish()
    assert "5 labelled frames of label (3 arrays), 2.00 atoms each in the mean." in written(campaign.directory).text
