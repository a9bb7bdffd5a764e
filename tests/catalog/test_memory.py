"""Memory and Line against models that are too simple to be wrong."""

import contextlib
from collections.abc import Coroutine, Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.line import Line, Mark
from gateway.catalog.memory import Held, Memory
from gateway.errors import Unavailable

SIZE = 3
keys = st.integers(0, 5)
tags = st.sampled_from("abc")
putting = st.tuples(st.just("put"), keys, st.frozensets(tags, max_size=2))
getting = st.tuples(st.just("get"), keys)
forgetting = st.one_of(st.tuples(st.just("pop"), keys), st.tuples(st.just("drop"), tags), st.just(("clear",)))
# Mostly filling: a memory that is never full forgets nothing by itself.
steps = st.lists(st.one_of(putting, putting, putting, getting, getting, forgetting), min_size=10, max_size=60)


@given(steps=steps)
def test_memory_holds_what_a_list_would(steps: list[tuple[object, ...]]):
    memory: Memory[object, int] = Memory(SIZE)
    model: list[tuple[object, int, frozenset[str]]] = []  # least recently used first
    for n, step in enumerate(steps):
        match step:
            case ("get", key):
                held = memory.get(key)
                kept = [entry for entry in model if entry[0] == key]
                assert (held.value if held else None) == (kept[0][1] if kept else None)
                model = [entry for entry in model if entry[0] != key] + kept
            case ("put", key, frozenset() as of):
                memory.put(key, Held(n, 0, tuple(of)))
                model = [entry for entry in model if entry[0] != key]
                model = [*model, (key, n, of)][-SIZE:]
            case ("pop", key):
                memory.pop(key)
                model = [entry for entry in model if entry[0] != key]
            case ("drop", str() as tag):
                memory.drop(tag)
                model = [entry for entry in model if tag not in entry[2]]
            case ("clear",):
                memory.clear()
                model = []
        assert [(key, held.value) for key, held in memory._held.items()] == [entry[:2] for entry in model]
        assert set(memory._tagged) == {tag for entry in model for tag in entry[2]}, "an index that only grows"


class _Parked:
    """Awaits what is sent into the coroutine."""

    def __await__(self) -> Generator[None, frozenset[str], frozenset[str]]:
        return (yield)


@given(data=st.data())
def test_an_answer_is_kept_only_if_nothing_it_depends_on_changed_since_it_was_asked(data: st.DataObject):
    """Any number of questions overlap, with changes, losses and returns between."""
    line = Line(lambda: 0.0)
    line.restored()
    news: list[str] = []
    under_way: dict[int, tuple[int, Coroutine[None, frozenset[str], bool]]] = {}

    async def question(mark: Mark) -> bool:
        return line.holds(mark, await _Parked())

    def answer(asking: Coroutine[None, frozenset[str], bool], depends_on: frozenset[str]) -> bool:
        with pytest.raises(StopIteration) as end:
            asking.send(depends_on)
        kept: bool = end.value.value
        return kept

    for n in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(["ask", "answer", "change", "lose", "restore"])):
            case "ask":
                asking = line.ask(question)
                asking.send(None)
                under_way[n] = len(news), asking
            case "answer" if under_way:
                since, asking = under_way.pop(data.draw(st.sampled_from(sorted(under_way))))
                depends_on = data.draw(st.frozensets(tags))
                assert answer(asking, depends_on) == {*depends_on, "restored"}.isdisjoint(news[since:])
            case "change":
                news.append(data.draw(tags))
                line.changed(news[-1])
            case "lose":
                line.lost()
            case "restore":
                line.lost()
                line.restored()
                news.append("restored")
    for _, asking in under_way.values():
        answer(asking, frozenset())
    assert not line._changed, "an index that only grows"


def test_a_question_under_way_answers_others_until_something_changes_or_may_have():
    line = Line(lambda: 0.0)
    for happens in (line.restored, lambda: line.changed("another's"), line.lost, line.restored):
        mark = line.mark()
        assert line.unchanged_since(mark)
        happens()
        assert not line.unchanged_since(mark)


def test_more_changes_than_can_be_told_apart_void_what_was_asked_before_them():
    line = Line(lambda: 0.0)
    line.restored()

    async def question(mark: Mark) -> bool:
        await _Parked()
        return line.holds(mark, ["mine"])

    before = line.ask(question)
    before.send(None)
    for n in range(10_000):
        line.changed(f"call:{n}")
    assert len(line._changed) < 5_000
    after = line.ask(question)
    after.send(None)
    for asked, kept in ((before, False), (after, True)):
        with pytest.raises(StopIteration) as end:
            asked.send(frozenset())
        assert end.value.value is kept


def test_a_question_that_fails_while_others_are_answered_speaks_for_itself_alone():
    now = [0.0]
    line = Line(lambda: now[0])

    async def question(_mark: Mark) -> None:
        if not await _Parked():
            raise Unavailable("no answer in time")

    asked = [line.ask(question) for _ in range(3)]
    told: list[bool] = []
    for now[0], number, answered in (
        (0.0, 0, None),
        (1.0, 1, None),
        (2.0, 1, True),
        (3.0, 0, False),
        (3.0, 2, None),
        (4.0, 2, False),
    ):
        with contextlib.suppress(StopIteration, Unavailable):
            asked[number].send(None if answered is None else frozenset("x" * answered))
        told.append(line.open())
    assert told == [True, True, True, True, True, False]
