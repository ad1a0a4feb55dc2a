"""omni_edge.json of a checkpoint: values that no published file has a place for.

The published checkpoints have no such file; what stands here as default is then what transformers' classes and the
reference loader do (FACTS §3.2, §4.3, §5), but for how the flow is solved, which is chosen in benchmarks/solvers.md. A
checkpoint of another kind (nano) says what is different.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..models.errors import BundleError
from ..models.manifest import Sampling, SolverName

FILE = "omni_edge.json"
SPEECH_PROMPT = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and "
    "visual inputs, as well as generating text and speech."
)
"""The system prompt Qwen2.5-Omni was trained to speak under (FACTS §3.2)."""


class Video(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How clips are sampled; pixel limits are areas, of a frame and of all frames together."""

    fps: float
    min_frames: int
    max_frames: int
    min_pixels: int
    max_pixels: int
    total_pixels: int


class Draw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How tokens are drawn, see `Sampling`."""

    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def sampling(self, *, stop: tuple[int, ...], suppress: tuple[int, ...] = ()) -> Sampling:
        """With the ids that end a reply and those that never come."""
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            suppress=suppress,
            stop=stop,
        )


class OwnValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file."""

    name: str = ""
    """Empty: the folder's."""
    speech_prompt: str = SPEECH_PROMPT
    solver: SolverName = "euler"
    steps: int = 5
    """Time points. The reference has rk4 with 10 and guidance 0.5, eighteen times the work: benchmarks/solvers.md has
    what either sounds like, and why these are enough."""
    guidance: float = 0.0
    guided_until: float = 1.0
    sway: float = -1.0
    schedules: dict[SolverName, tuple[int, ...]] = msgspec.field(
        default_factory=lambda: {"euler": tuple(range(2, 12)), "midpoint": (2, 3, 4, 5), "rk4": (3, 5, 10)}
    )
    """Step counts that the flow's tables cover; each further time point costs (6·layers + 2)·hidden floats."""
    video: Video | None = None
    """None: the reference loader's."""
    text: Draw = Draw(max_tokens=1024)
    codes: Draw = Draw(max_tokens=4096, temperature=0.9, top_k=40, top_p=0.8, repetition_penalty=1.05)
    default_voice: str = "Chelsie"


def read_own_values(folder: Path) -> OwnValues:
    """Values of a checkpoint folder.

    Raises:
        BundleError: the file is there and not valid.
    """
    path = folder / FILE
    if not path.exists():
        return OwnValues()
    try:
        values = msgspec.json.decode(path.read_bytes(), type=OwnValues)
    except (msgspec.MsgspecError, OSError) as error:
        raise BundleError(f"{path} is not valid: {error}; correct or remove it") from error
    if values.steps not in values.schedules.get(values.solver, ()):
        raise BundleError(f"{path} has no schedule of {values.solver} with {values.steps} steps; add it to schedules")
    return values
