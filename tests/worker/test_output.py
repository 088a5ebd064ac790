from hypothesis import given
from hypothesis import strategies as st

from hpcflow.worker.output import HEAD, TAIL, Ring, Splitter

MARK = b"\0" + b"0123456789abcdef"


@given(st.lists(st.binary(max_size=3000), max_size=80), st.integers(1, 40))
def test_a_ring_keeps_the_beginning_and_the_end(pieces, factor):
    ring = Ring()
    for piece in pieces:
        ring.feed(piece * factor)
    whole = b"".join(piece * factor for piece in pieces)
    if len(whole) <= HEAD + TAIL:
        assert ring.content() == whole
    else:
        gap = b"\n[... %d bytes left out ...]\n" % (len(whole) - HEAD - TAIL)
        assert ring.content() == whole[:HEAD] + gap + whole[-TAIL:]


@given(st.lists(st.binary(max_size=40), max_size=8), st.binary(max_size=20), st.data())
def test_a_splitter_finds_the_marks_wherever_the_pipe_was_cut(outputs, rest, data):
    stream = b"".join(output + MARK for output in outputs) + rest
    splitter = Splitter(MARK)
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert splitter.finished == len(outputs)
    assert [splitter.take() for _ in outputs] == outputs
    assert splitter.rest() == rest


def test_output_that_nobody_wants_can_be_skipped_before_it_arrives():
    splitter = Splitter(MARK)
    splitter.skip()
    splitter.feed(b"first" + MARK + b"second" + MARK)
    assert splitter.finished == 1
    assert splitter.take() == b"second"
