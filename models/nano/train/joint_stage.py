"""Last stage of the Thinker: hearing, seeing and answering learn together."""

from __future__ import annotations

from .marathon import StageOptions
from .text_stage import Recipe, learn

JOINT = Recipe("joint", 1.1e-3, hearing_learns=True, fall=0.95)


def run(options: StageOptions) -> None:
    """Train everything for `options.minutes`."""
    learn(options, JOINT)
