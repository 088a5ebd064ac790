"""Frames into and out of Python functions."""

import pytest

pytest.importorskip("ase")

from ase import Atoms

from hpcflow import structures

WATER = Atoms("OH2", positions=[[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]])


def frames_of(task):
    return structures.parse(task.frames)


@pytest.fixture
def inputs():
    frames = [WATER.copy() for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.info["number"] = number
        frame.positions[0, 0] = 0.1 * number
    return [structures.format([frame]) for frame in frames]


def test_each_task_gets_its_frame(array, inputs):
    array.python("f", inputs, "def f(atoms):\n    return [len(atoms), int(atoms.info['number'])]\n", frames=True)
    array.run()
    assert [task.result for task in array.tasks()] == [[3, 0], [3, 1], [3, 2]]


def test_a_frame_that_is_returned_comes_back_bit_for_bit(array, inputs):
    source = "def f(atoms):\n    atoms.info['REF_energy'] = -1 / 3\n    return atoms\n"
    array.python("f", inputs, source, frames=True)
    array.run()
    for number, task in enumerate(array.tasks()):
        (frame,) = frames_of(task)
        assert frame.info["REF_energy"] == -1 / 3
        assert frame.positions[0, 0] == 0.1 * number
        assert task.result is None


def test_a_list_of_frames_is_frames(array, inputs):
    array.python("f", inputs, "def f(atoms):\n    return [atoms, atoms]\n", frames=True)
    array.run()
    assert [len(frames_of(task)) for task in array.tasks()] == [2, 2, 2]


def test_an_output_has_a_result_and_frames(array, inputs):
    source = "from hpcflow.task import Output\ndef f(atoms):\n    return Output({'a': 1}, [atoms])\n"
    array.python("f", inputs, source, frames=True)
    array.run()
    (first, *_) = array.tasks()
    assert first.result == {"a": 1}
    assert len(frames_of(first)) == 1


def test_a_frame_inside_of_json_is_refused_by_name(array, inputs):
    array.python("f", inputs[:1], "def f(atoms):\n    return {'atoms': atoms}\n", frames=True)
    array.run()
    assert "ase.atoms.Atoms" in array.tasks()[0]["message"]


def test_an_edited_frame_is_an_input_that_changed(array, inputs):
    array.python("f", inputs, "def f(atoms):\n    return 0\n", frames=True)
    path = array.array / "inputs.xyz"
    path.write_bytes(path.read_bytes().replace(b"number=1", b"number=7"))
    array.run()
    assert [task.get("reason") for task in array.tasks()] == [None, "input changed", None]


def test_a_batch_gets_a_list_of_frames(array, inputs):
    source = "def f(batch):\n    return [int(a.info['number']) for a in batch]\n"
    array.python("f", inputs, source, frames=True, batch=True)
    array.run()
    assert [task.result for task in array.tasks()] == [0, 1, 2]
