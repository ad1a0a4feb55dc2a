"""Stages side by side: everything arrives in order, and all of them stop at a word."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.runtime.lanes import Crew, Dismissed


def names():
    return {thread.name for thread in threading.enumerate()}


@given(st.lists(st.integers(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_everything_arrives_in_order(items, first, second):
    with Crew() as crew:
        raw, doubled = crew.lane(first), crew.lane(second)

        def source():
            for item in items:
                raw.put(item)
            raw.end()

        def double():
            for item in raw:
                doubled.put(2 * item)
            doubled.end()

        crew.start("source", source)
        crew.start("double", double)
        assert list(doubled) == [2 * item for item in items]
        crew.check()


def test_a_lane_holds_no_more_than_its_room():
    with Crew() as crew:
        lane, made = crew.lane(3), []

        def source():
            for item in range(10):
                lane.put(item)
                made.append(item)
            lane.end()

        crew.start("source", source)
        deadline = time.monotonic() + 5
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert made == [0, 1, 2]
        assert list(lane) == list(range(10))


def test_a_lane_takes_in_its_first_items_until_it_is_opened():
    with Crew() as crew:
        lane, made = crew.lane(9, first=3), []

        def source():
            for item in range(6):
                lane.put(item)
                made.append(item)
            lane.end()

        crew.start("source", source)
        items = iter(lane)
        assert [next(items) for _ in range(3)] == [0, 1, 2]
        time.sleep(0.02)
        assert made == [0, 1, 2]
        lane.open()
        assert list(items) == [3, 4, 5]


@pytest.mark.parametrize("waits", ["for an item", "for room", "to be opened"])
def test_who_waits_is_woken_and_gone(waits):
    crew = Crew()
    lane = crew.lane(9, first=1) if waits == "to be opened" else crew.lane(1)

    def stage():
        if waits == "for an item":
            list(lane)
        while True:
            lane.put(0)

    crew.start("waiting stage", stage)
    time.sleep(0.01)
    crew.dismiss()
    assert "waiting stage" not in names()
    with pytest.raises(Dismissed):
        lane.put(1)


def test_an_error_ends_all_and_is_raised_where_the_crew_is_owned():
    with pytest.raises(ValueError, match="broken"), Crew() as crew:
        lane = crew.lane(1)

        def broken():
            lane.put(1)
            raise ValueError("broken")

        crew.start("broken", broken)
        crew.start("other", lambda: [lane.put(0) for _ in range(1000)])
        with pytest.raises(Dismissed):
            for _ in crew.lane(1):
                pass
        crew.check()
    assert not {"broken", "other"} & names()


def test_a_thousand_crews_leave_nothing():
    before = threading.active_count()
    for count in range(1000):
        with Crew() as crew:
            lane = crew.lane(2)
            crew.start("endless", lambda lane=lane: [lane.put(item) for item in range(10**9)])
            if count % 2:
                next(iter(lane))
    assert threading.active_count() == before
