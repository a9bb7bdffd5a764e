"""A body of several parts: in which order its bytes come, what is open meanwhile, and which of them are the object's."""

import pytest

from gateway.errors import Broken
from gateway.model import Part, Span
from gateway.sequence import Sequenced, object_bytes

PARTS = (Part(b"<one>", Span(10, 13)), Part(b"<two>", Span(0, 4)))
TAIL = b"<end>"
DATA = b"abcdefghijklmnop"


class Store:
    """Gives its bytes two at a time, and notes what is open."""

    def __init__(self) -> None:
        self.open: list[Span] = []
        self.opened: list[Span] = []
        self.breaks = False

    async def at(self, span: Span) -> "Piecemeal":
        assert not self.open, "one origin read is open at a time"
        if self.breaks:
            raise Broken("away")
        self.open.append(span)
        self.opened.append(span)
        return Piecemeal(self, span)


class Piecemeal:
    def __init__(self, store: Store, span: Span) -> None:
        self.store, self.span, self.left = store, span, DATA[span.start : span.stop]

    async def read(self) -> bytes:
        piece, self.left = self.left[:2], self.left[2:]
        return piece

    async def close(self) -> None:
        self.store.open.remove(self.span)


async def test_parts_come_in_their_order_between_their_heads_and_one_is_open_at_a_time() -> None:
    store = Store()
    body = Sequenced(PARTS, TAIL, await store.at(PARTS[0].span), store.at)
    pieces = [await body.read() for _ in range(8)]
    assert pieces == [b"<one>", b"kl", b"m", b"<two>", b"ab", b"cd", TAIL, b""]
    assert (store.open, store.opened) == ([], [part.span for part in PARTS])
    await body.close()


@pytest.mark.parametrize("reads", range(8))
async def test_wherever_it_is_left_nothing_stays_open(reads: int) -> None:
    store = Store()
    body = Sequenced(PARTS, TAIL, await store.at(PARTS[0].span), store.at)
    for _ in range(reads):
        await body.read()
    await body.close()
    await body.close()
    assert store.open == []


async def test_a_part_that_cannot_be_opened_ends_it_aloud() -> None:
    store = Store()
    body = Sequenced(PARTS, TAIL, await store.at(PARTS[0].span), store.at)
    store.breaks = True
    assert [await body.read() for _ in range(4)] == [b"<one>", b"kl", b"m", b"<two>"]
    with pytest.raises(Broken):
        await body.read()
    await body.close()
    assert store.open == []


def test_of_a_body_of_parts_the_objects_own_bytes_are_counted_and_no_framing() -> None:
    framing, own = [False] * 5 + [True] * 3 + [False] * 5 + [True] * 4 + [False] * 5, 0
    for sent, is_own in enumerate(framing):
        assert object_bytes(PARTS, None, sent) == own, sent
        own += is_own
    assert object_bytes(PARTS, None, len(framing)) == own == 7


@pytest.mark.parametrize(
    ("span", "sent", "own"), [(Span(5, 9), 3, 3), (Span(5, 9), 4, 4), (Span(5, 9), 6, 4), (None, 6, 6)]
)
def test_of_any_other_body_all_bytes_are_its_own_up_to_its_length(span: Span | None, sent: int, own: int) -> None:
    assert object_bytes((), span, sent) == own
