"""`python -m omni_edge.models.nano.train STAGE`: run one stage of nano's training, or go on with it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import torch

from . import (
    codec,
    encoder_stage,
    flow,
    joint_stage,
    measure,
    own_voice,
    plan,
    sounds,
    speech_data,
    state,
    talker_stage,
    text_stage,
    vision_stage,
    vocoder,
)
from .marathon import StageOptions, work_folder

SOUNDS = 30_000
"""Training sentences to synthesise."""


def _sounds(options: StageOptions) -> None:
    sounds.make_sounds(options.folder / "sounds", SOUNDS, options.seed, options.ring)


STAGES: dict[str, Callable[[StageOptions], None]] = {
    "all": plan.run,
    "sounds": _sounds,
    "encoder": encoder_stage.run,
    "vision": vision_stage.run,
    "text": text_stage.run,
    "joint": joint_stage.run,
    "measure": measure.run,
    "voices": speech_data.say_all,
    "codec": codec.train_codec,
    "vocoder": vocoder.train_vocoder,
    "flow": flow.train_flow,
    "own-voice": own_voice.run,
    "talker": talker_stage.train_talker,
    "state": state.write,
    "restore": state.read,
}
"""Stages in the order in which they build on one another; "all" runs them so (plan.py)."""


def main() -> None:
    """Read the command line and run the stage."""
    parser = argparse.ArgumentParser(prog="python -m omni_edge.models.nano.train", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--minutes", type=float, default=30, help="wall time of this sitting (default: 30)")
    parser.add_argument("--resume", action="store_true", help="go on from the saved state")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ring", type=int, default=1, choices=(1, 2, 3), help="how many words (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(given.threads))
    STAGES[given.stage](StageOptions(work_folder(), given.minutes, given.resume, given.seed, given.ring))


if __name__ == "__main__":
    main()
