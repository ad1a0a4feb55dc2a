"""All lines of the suite nano, and what the built-in model is meant to reach."""

from __future__ import annotations

from collections.abc import Iterator

from ...models.bundle import open_bundle
from ...models.store import resolve
from ...runtime.engine import EngineChoice
from ...runtime.loading import load_stages
from ...runtime.session import Session
from .figures import Line
from .skills import ShuffledPlaces, hearing_lines, skill_lines
from .speaking import speech_lines

WANTED = {
    "hear_seen": 0.03, "hear_awb": 0.12, "hear_festival": 0.12,
    "see_typed": 0.97, "see_spoken": 0.97, "motion_typed": 0.97, "motion_spoken": 0.97,
    "beep_typed": 0.95, "beep_spoken": 0.95, "know_typed": 0.97, "know_spoken": 0.97,
    "remember_typed": 0.95, "remember_spoken": 0.95, "refuse_typed": 0.90, "refuse_spoken": 0.90,
    "speech_heard_by_nano": 0.05, "speech_over_teacher": 1.3, "first_sound": 0.5, "speech_real_time_factor": 0.3,
}  # fmt: skip
"""Least accuracies, and the most of everything else."""


def nano_lines(
    model: str, limit: int, seed: int, threads: int, *, speech: bool, engine: EngineChoice = "auto"
) -> Iterator[Line]:
    """The suite for a model.

    Args:
        model: a name or the folder of a bundle.
        limit: items a line.
        seed: of the items.
        threads: for one operator; 0 is one a physical core.
        speech: whether its speech is judged too.
        engine: of thinker and talker.
    """
    stages = load_stages(open_bundle(resolve(model)), threads=threads, engine=engine)
    session, places = Session(stages), ShuffledPlaces(seed)
    yield from hearing_lines(session, limit, seed)
    yield from skill_lines(session, Session(stages, place=places), places, limit, seed)
    if speech:
        yield from speech_lines(session, limit, seed)
