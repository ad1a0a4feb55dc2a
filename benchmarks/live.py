"""Live conversations with nano: `python -m benchmarks.live [first-sound] [barge-in] [echo]`; all without a name.

Spoken questions need espeak-ng and flite. first-sound and barge-in run in real time.
"""

from __future__ import annotations

import argparse
import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from omni_edge.models.nano.world.hearing import RATE
from omni_edge.runtime import Audio, Done, Options, Session, load
from omni_edge.runtime.live.clock import RealClock
from omni_edge.runtime.live.events import LiveEvent, ReplyStarted, TurnDone, UserStarted
from omni_edge.runtime.live.settings import Settings
from omni_edge.runtime.live.sources import Played

from .room import Room, question

SETTINGS = Settings(options=Options(seed=1))
LONG = "say the triangle is right of the circle"
LENGTHS = (3, 10, 25)
"""Seconds of a question."""
GAP = RATE // 10
"""Silence between the sentences of a long question: no pause."""
QUIET = 0.01
"""Peak of the loudspeaker below which it is silent."""
ROUNDS = 20


def main() -> None:
    """Measure and print."""
    parts = {"first-sound": first_sound, "barge-in": barge_in, "echo": echo}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=parts, metavar="PART", help=", ".join(parts))
    session = load("nano")
    warm_up(session)
    for part in parser.parse_args().parts or parts:
        session.reset()
        parts[part](session)


def warm_up(session: Session) -> None:
    """The first response of a process allocates."""
    for _ in session.respond("hello", options=Options(max_codes=30)):
        pass
    session.reset()


def first_sound(session: Session) -> None:
    """How long after a question of some length its answer is heard, and how long without listening meanwhile."""
    print("question  first sound  of it: to decide  tokens while speaking, after  computing to first sound  unheard")
    for seconds in LENGTHS:
        sound = long_question(seconds)
        turns = [_asked(session, sound, seed) for seed in range(3)]
        turn = sorted(turns, key=lambda turn: turn.first_sound_s or 0.0)[1]
        if turn.done is None:
            raise RuntimeError("a turn was not answered")
        stats = turn.done.stats
        whole = sorted(_whole(session, sound) for _ in range(3))[1]
        print(
            f"{seconds:6} s  {turn.first_sound_s:9.3f} s  {turn.decided_s:14.3f} s  {stats.listened_rows:16}, "
            f"{stats.prefilled_rows:5}  {stats.first_audio_s:22.3f} s  {whole:5.3f} s"
        )


def long_question(seconds: float) -> NDArray[np.float32]:
    """One sentence again and again, cut where the time is over."""
    sentence = np.pad(question(LONG, 3), (0, GAP))
    return np.tile(sentence, int(seconds * RATE / sentence.size) + 1)[: round(seconds * RATE)]


def _asked(session: Session, sound: NDArray[np.float32], seed: int) -> TurnDone:
    session.reset()
    room = Room(session, SETTINGS, RealClock(), seed)
    turns = [event for event in room.say(sound) if isinstance(event, TurnDone)]
    while not turns:
        turns = [event for event in room.step() if isinstance(event, TurnDone)]
    room.close()
    return turns[0]


def _whole(session: Session, sound: NDArray[np.float32]) -> float:
    """Seconds to the first sound of an answer to a question that was heard only when it was over."""
    session.reset()
    for event in session.respond(Audio(sound), options=SETTINGS.options):
        if isinstance(event, Done):
            return event.stats.first_audio_s
    raise RuntimeError("a response ended without its last event")


@dataclass
class Interruption:
    """What came of one."""

    silent_ms: float
    """From the moment at which there are 250 ms of speech to silence at the loudspeaker."""
    right: bool
    rows_equal: bool


def barge_in(session: Session) -> None:
    """Interrupt replies at random moments with another question."""
    rng = np.random.default_rng(5)
    results = [_interrupt(session, float(rng.uniform(0.05, 0.9)), seed) for seed in range(ROUNDS)]
    times = [result.silent_ms for result in results]
    print(f"silent after {np.median(times):.0f} ms, at most {max(times):.0f} ms; {len(results)} interruptions")
    print(f"next answer right: {sum(result.right for result in results)}")
    print(f"prompt as long as that of a new session given what was heard: {sum(r.rows_equal for r in results)}")
    print(f"threads left: {threading.active_count()}")


def _interrupt(session: Session, share: float, seed: int) -> Interruption:
    session.reset()
    room = Room(session, replace(SETTINGS, echo="off"), RealClock(), seed)
    list(room.say(question("say the triangle is right of the circle", seed)))
    while not any(isinstance(event, ReplyStarted) for event in room.step()):
        pass
    list(room.wait(share * 1.5))
    loud_until, confirmed = 0, 0
    events: list[LiveEvent] = []
    second = question("what is two plus three", 0)
    for block in np.pad(second, (0, -second.size % 320)).reshape(-1, 320):
        came = room.step(block)
        events += came
        confirmed = confirmed or (room.position() if any(isinstance(e, UserStarted) for e in came) else 0)
        stopped = any(isinstance(event, TurnDone) for event in events)
        loud_until = max([loud_until, *(_last_loud(piece) for piece in room.heard if not stopped)])
    events += room.wait(4)
    room.close()
    turns = [event for event in events if isinstance(event, TurnDone)]
    last = turns[-1]
    rows = last.done.stats.prompt_rows if last.done else 0
    return Interruption(max(0, loud_until - confirmed) / RATE * 1000, last.said == "five", rows == _fresh(session))


def _fresh(session: Session) -> int:
    """Rows of the last prompt, asked anew of a session that was only told what was heard."""
    history = session.history
    again = Session(session._stages, history[:-2])
    for event in again.respond(*history[-2].parts, options=replace(SETTINGS.options, speech=False)):
        if isinstance(event, Done):
            return event.stats.prompt_rows
    raise RuntimeError("a response ended without its last event")


def _last_loud(played: Played) -> int:
    """Sample of the microphone at which the last loud one left."""
    places = np.flatnonzero(np.abs(played.samples) > QUIET)
    return played.at + (int(places[-1]) * 2 // 3 if places.size else 0)


def echo(session: Session) -> None:
    """The reply's echo in the microphone, alone and with a user who speaks over it."""
    for mode in ("on", "off"):
        settings = replace(SETTINGS, echo=mode)
        alone = sum(_is_stopped(session, settings, seed, None) for seed in range(ROUNDS))
        print(f"canceller {mode}: {ROUNDS - alone} of {ROUNDS} replies not interrupted by their echo")
    settings = replace(SETTINGS, echo="on")
    user = question("what is two plus three", 0)
    over = sum(_is_stopped(session, settings, seed, user) for seed in range(ROUNDS))
    print(f"canceller on: {over} of {ROUNDS} users heard over it")


def _is_stopped(session: Session, settings: Settings, seed: int, user: NDArray[np.float32] | None) -> bool:
    session.reset()
    room = Room(session, settings, seed=seed, echo=True)
    list(room.say(question(LONG, seed)))
    while not any(isinstance(event, ReplyStarted) for event in room.step()):
        pass
    events = list(room.wait(0.3))
    if user is not None:
        events += room.say(user)
    events += room.wait(5)
    room.close()
    return any(isinstance(event, TurnDone) and event.interrupted for event in events)


if __name__ == "__main__":
    main()
