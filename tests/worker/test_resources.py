import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.worker import arguments, resources


def options(*words, **variables):
    return arguments.read(["--array", "a", "--job", "j", "--resources", "r0", *words], variables)


def cut(*words, cpus=range(8), gpus=(), memory=0, machine=16, **variables):
    return resources.cut(options(*words, **variables), list(cpus), list(gpus), memory, machine)


@given(st.sets(st.integers(0, 300)))
def test_core_lists_are_read_as_they_are_written(numbers):
    assert resources.cpu_numbers(resources.cpu_list(numbers)) == sorted(numbers)


def test_core_lists_look_like_those_of_taskset():
    assert resources.cpu_list([9, 0, 1, 2, 4]) == "0-2,4,9"


def test_auto_makes_as_many_slots_as_fit_into_the_cores():
    assert [share.cpus for share in cut("--cores", "3")] == [(0, 1, 2), (3, 4, 5)]


def test_auto_makes_one_slot_even_where_none_fits():
    (share,) = cut("--cores", "16")
    assert share.cpus == ()


def test_slots_beyond_the_cores_are_not_bound():
    assert {share.cpus for share in cut("--slots", "9")} == {()}


def test_cores_are_those_of_the_affinity_mask():
    assert [share.cpus for share in cut("--slots", "2", "--cores", "2", cpus=[4, 5, 12, 13])] == [(4, 5), (12, 13)]


BATCH = {"HPCFLOW_SCHEDULER_ID": "7_3"}


@pytest.mark.parametrize(
    ("words", "variables", "machine", "expected"),
    [
        pytest.param((), {}, 8, (), id="a laptop, shared with other workers"),
        pytest.param((), {}, 16, (), id="a part of a machine, shared with other workers"),
        pytest.param((), BATCH, 8, (), id="a node whose scheduler binds nobody"),
        pytest.param((), BATCH, 16, (0,), id="a part of a node, given by the scheduler"),
        pytest.param(("--whole-node",), {}, 8, (0,), id="a node of its own"),
    ],
)
def test_only_cores_of_ones_own_are_divided(words, variables, machine, expected):
    first, second = cut("--slots", "2", *words, machine=machine, **variables)
    assert first.cpus == expected
    assert (first.cpu_list, second.cpu_list) == ("0", "1")


def test_gpus_limit_the_slots_and_go_to_one_slot_each():
    shares = cut("--gpus", "1", gpus=["3", "1"])
    assert [share.gpus for share in shares] == [("3",), ("1",)]


def test_memory_limits_the_slots():
    assert len(cut("--memory", "4000", memory=10000)) == 2


def test_memory_is_shared_equally_if_the_job_does_not_say():
    assert [share.memory for share in cut("--slots", "4", memory=10000)] == [2500] * 4


def test_slots_that_outnumber_the_gpus_share_them():
    shares = cut("--slots", "4", "--gpus", "1", gpus=["0", "1"])
    assert [share.gpus for share in shares] == [("0",), ("1",), ("0",), ("1",)]


MAPS = ("--gpus", "1", "--cores", "2", "--map-cores", "6-7;2-3", "--map-gpus", "0;1")


def test_the_maps_of_a_site_count_on_a_whole_node():
    shares = cut(*MAPS, "--whole-node", gpus=["0", "1"])
    assert [(share.cpus, share.gpus) for share in shares] == [((6, 7), ("0",)), ((2, 3), ("1",))]


def test_the_maps_of_a_site_do_not_count_on_a_part_of_a_node():
    shares = cut(*MAPS, gpus=["0", "1"])
    assert [(share.cpus, share.gpus) for share in shares] == [((0, 1), ("0",)), ((2, 3), ("1",))]


def test_a_slot_with_two_gpus_takes_two_parts_of_the_map():
    words = ("--gpus", "2", "--cores", "4", "--map-cores", "0-1;2-3;4-5;6-7", "--map-gpus", "3;2;1;0")
    shares = cut(*words, "--whole-node")
    assert [(share.cpus, share.gpus) for share in shares] == [((0, 1, 2, 3), ("3", "2")), ((4, 5, 6, 7), ("1", "0"))]


def test_maps_with_cores_that_this_job_does_not_have_are_ignored():
    shares = cut(*MAPS, "--whole-node", gpus=["0", "1"], cpus=range(4))
    assert [share.cpus for share in shares] == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, ["2", "3"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-aa, GPU-bb"}, ["GPU-aa", "GPU-bb"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        ({}, ["0", "1", "10"]),
    ],
)
def test_the_scheduler_says_which_gpus_are_ours_and_else_the_machine(environment, expected):
    devices = ["nvidiactl", "nvidia10", "nvidia1", "null", "nvidia0", "nvidia-uvm"]
    assert resources.visible_gpus("CUDA_VISIBLE_DEVICES", environment, devices) == expected


def test_exactly_one_visibility_variable_is_set():
    (share,) = cut("--slots", "1", "--gpus", "1", gpus=["5"])
    base = {"CUDA_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "0", "ROCR_VISIBLE_DEVICES": "5"}
    own = resources.environment(share, options("--gpu-variable", "ROCR_VISIBLE_DEVICES"), base)
    assert {name: own.get(name) for name in resources.VISIBILITY if name in own} == {"ROCR_VISIBLE_DEVICES": "5"}


def test_thread_numbers_follow_the_slot_unless_the_user_has_set_them():
    (share,) = cut("--slots", "1", "--cores", "4")
    own = resources.environment(share, options(), {"MKL_NUM_THREADS": "2"})
    assert [own[name] for name in resources.THREADS] == ["4", "2", "4"]


def test_thread_numbers_that_pbs_has_set_are_no_wish():
    (share,) = cut("--slots", "1", "--cores", "4")
    own = resources.environment(share, options(), {"OMP_NUM_THREADS": "64", "NCPUS": "64"})
    assert own["OMP_NUM_THREADS"] == "4"


def test_the_launcher_learns_number_and_list_of_cores():
    shares = cut("--slots", "2", "--cores", "3")
    launch = options("--launch", "mpirun -np {cores} --cpu-set {cpu_list}")
    own = resources.environment(shares[1], launch, {})
    assert own["HPCFLOW_LAUNCH"] == "mpirun -np 3 --cpu-set 3-5"


def test_a_launcher_of_slots_that_are_not_bound_learns_all_cores():
    (share, _) = cut("--slots", "2", "--cores", "8")
    own = resources.environment(share, options("--launch", "mpirun --cpu-set {cpu_list}"), {})
    assert own["HPCFLOW_LAUNCH"] == "mpirun --cpu-set 0-7"


def test_the_end_the_scheduler_names_wins_over_the_walltime():
    words = ["--array", "a", "--job", "j", "--resources", "r0", "--walltime", "100"]
    assert arguments.read(words, {"HPCFLOW_STARTED": "1000"}).end == 1100
    assert arguments.read(words, {"HPCFLOW_STARTED": "1000", "HPCFLOW_END_TIME": "1050"}).end == 1050
    assert options("--walltime", "0").end == 0
