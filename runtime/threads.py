"""How many threads the operators of each stage use."""

from __future__ import annotations

from ..models.llama import core_count


def threads_of(wanted: int) -> int:
    """Of every stage: what the user wants, or for 0 one a core.

    Stages run side by side, yet each has all cores: one stage is always the slowest, on which the others wait, and
    then it is alone. Threads that wait do not spin (`open_session`), so that what is too many costs little.
    `python -m benchmarks.threads` compares; with the built-in model on two cores a reply takes 1.6 times as long with
    one thread a stage.
    """
    return wanted or core_count()
