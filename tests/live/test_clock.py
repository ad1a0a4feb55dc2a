"""Virtual time stands still while anybody works, and two runs are the same."""

from __future__ import annotations

import queue
import time
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.runtime.live.clock import RealClock, VirtualClock


def test_time_jumps_to_what_is_waited_for():
    clock = VirtualClock()
    clock.wait_until(3600)
    assert clock.now() == 3600
    clock.wait_until(5)
    assert clock.now() == 3600


def test_no_time_passes_while_another_works():
    clock = VirtualClock()
    done = []

    def work(hold):
        with hold:
            time.sleep(0.05)
            done.append(clock.now())

    thread = Thread(target=work, args=(clock.hold(),))
    thread.start()
    clock.wait_until(1)
    assert done == [0.0]
    thread.join()


def test_the_lowest_order_goes_first():
    for _ in range(20):
        clock, order = VirtualClock(), []

        def wait(hold, rank, clock=clock, order=order):
            with hold:
                clock.wait_until(1, rank)
                order.append(rank)
                clock.wait_until(2, rank)

        threads = [Thread(target=wait, args=(clock.hold(), rank)) for rank in (2, 0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert order == [0, 1, 2]


def scene(steps: list[int], work: list[int], limit: int) -> list[tuple[str, int, float]]:
    """One thread reads on a grid and hands on, another takes its time, and its queue may be full."""
    clock = VirtualClock()
    jobs = clock.queue(limit)
    log: list[tuple[str, int, float]] = []

    def worker(hold):
        with hold:
            while (job := jobs.get()) is not None:
                clock.wait_until(clock.now() + work[job % len(work)] / 100)
                log.append(("done", job, clock.now()))

    thread = Thread(target=worker, args=(clock.hold(),))
    with clock.hold():
        thread.start()
        for job, step in enumerate(steps):
            clock.wait_until(clock.now() + step / 100, order=1)
            log.append(("read", job, clock.now()))
            jobs.put(job)
        jobs.put(None)
    thread.join(timeout=10)
    assert not thread.is_alive()
    return log


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_runs_are_the_same_and_time_never_goes_back(steps, work, limit):
    first = scene(steps, work, limit)
    assert [moment for *_, moment in first] == sorted(moment for *_, moment in first)
    assert [job for kind, job, _ in first if kind == "done"] == list(range(len(steps)))
    assert scene(steps, work, limit) == first


@pytest.mark.parametrize("clock", [RealClock(), VirtualClock()])
def test_an_empty_queue_says_so(clock):
    jobs = clock.queue()
    with pytest.raises(queue.Empty):
        jobs.get_nowait()
    jobs.put(1)
    jobs.put(2)
    assert (jobs.get_nowait(), jobs.get()) == (1, 2)


def test_real_time_passes():
    clock = RealClock()
    with clock.hold():
        clock.wait_until(0.02)
    assert clock.now() >= 0.02
