def test_one(array):
    array.python("f", [1, 2, 3], "def f(x):\n    return x*x\n")
    assert array.run() == 0
    print(array.headers())
    assert [t.result for t in array.tasks()] == [1, 4, 9]


def test_two(array):
    array.command("echo {x}", [{"x": "a b"}, {"x": "$HOME"}])
    assert array.run() == 0
    print(array.headers())
    assert [t.result["stdout"] for t in array.tasks()] == ["a b\n", "$HOME\n"]
