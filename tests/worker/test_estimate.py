from hypothesis import given
from hypothesis import strategies as st

from hpcflow.worker.estimate import MOST, Durations, HandOver

times = st.floats(1e-6, 1e5)


def test_nothing_is_known_before_the_first_task():
    assert Durations().long() is None


@given(st.lists(times, min_size=1, max_size=15))
def test_with_few_tasks_the_longest_counts(seconds):
    durations = Durations()
    for value in seconds[:9]:
        durations.add(value)
    assert durations.long() == max(seconds[:9])


def test_one_outlier_among_many_does_not_count():
    durations = Durations()
    for value in [1.0] * 50 + [1000.0] + [1.0] * 20:
        durations.add(value)
        durations.long()
    assert durations.long() == 1.0


@given(st.lists(st.tuples(st.integers(1, MOST), times), max_size=30))
def test_a_hand_over_has_at_least_one_task_and_not_too_many(done):
    size = HandOver(0.075)
    for tasks, seconds in done:
        before = size.size
        size.done(tasks, seconds)
        assert 1 <= size.size <= min(MOST, 4 * max(tasks, before))


@given(st.floats(1e-4, 10))
def test_hand_overs_settle_at_the_time_they_aim_at(each):
    size = HandOver(1.0)
    for _ in range(20):
        size.done(size.size, size.size * each)
    assert size.size == min(MOST, max(1, int(1.0 / each))) or abs(size.size * each - 1.0) < 2 * each
