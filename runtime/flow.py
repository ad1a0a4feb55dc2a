"""Speech codes to mel: the flow's ODE solver around the one-evaluation graph (FACTS §6.1, §6.2)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..models.errors import RequestError
from ..models.manifest import Flow as Settings
from ..models.manifest import SolverName
from ..models.schedule import time_points

NO_GUIDANCE = 1e-5
"""Below this the unconditional branch is not computed at all, as in the reference."""


@dataclass(frozen=True)
class Solver:
    """How the ODE is solved. `steps` counts time points: N points are N-1 intervals, of 1 (Euler) or 4 evaluations."""

    name: SolverName
    steps: int
    guidance: float


class Noise:
    """Standard normal frames, addressed by absolute index: chunks that overlap see the same noise.

    Args:
        seed: any integer.
        bins: of the mel.
    """

    def __init__(self, seed: int, bins: int) -> None:
        self._rng = np.random.default_rng([seed, 0x0E])
        self._frames = np.empty((0, bins), np.float32)

    def frames(self, start: int, stop: int) -> NDArray[np.float32]:
        """Frames start..stop, [stop - start, bins]."""
        missing = stop - len(self._frames)
        if missing > 0:
            more = self._rng.standard_normal((missing, self._frames.shape[1]), np.float32)
            self._frames = np.concatenate([self._frames, more])
        return self._frames[start:stop]


class Flow:
    """Mel of a whole utterance.

    Args:
        session: of the bundle's flow.
        settings: from the manifest.
        tables: the bundle's flow_tables.npz.
    """

    def __init__(self, session: ort.InferenceSession, settings: Settings, tables: Path) -> None:
        self._session = session
        self._settings = settings
        with np.load(tables) as arrays:
            self._times: NDArray[np.float64] = arrays["times"]
            self._modulations: NDArray[np.float32] = arrays["modulations"]
            self._speakers = {
                name.removeprefix("speaker."): arrays[name] for name in arrays.files if name.startswith("speaker.")
            }

    def check(self, solver: Solver) -> None:
        """Refuse a schedule whose time points are not in the table.

        Raises:
            RequestError: and says which step counts there are.
        """
        counts = self._settings.schedules.get(solver.name, ())
        if solver.steps not in counts:
            raise RequestError(
                f"the solver {solver.name} with {solver.steps} steps is not in this bundle's tables; "
                f"use {', '.join(map(str, counts))} steps"
            )

    def mel(
        self, codes: NDArray[np.int64], voice: str, noise: NDArray[np.float32], solver: Solver
    ) -> NDArray[np.float32]:
        """Solve from noise to mel.

        Args:
            codes: [n]; ids outside the code table are read as 0.
            voice: a name of the manifest.
            noise: [n·repeats, bins], the state at time 0.
            solver: schedule and guidance.

        Returns:
            [n·repeats, bins], natural logarithm.

        Raises:
            RequestError: schedule not in the table, or more codes than the model's longest utterance.
        """
        self.check(solver)
        frames = len(codes) * self._settings.repeats
        if frames > self._settings.max_frames:
            raise RequestError(
                f"{len(codes)} codes are more than this model can speak at once "
                f"({self._settings.max_frames // self._settings.repeats}); lower --max-codes"
            )
        field = _Field(self._session, self._settings, self._conditions(codes, voice, solver), frames, solver.guidance)
        padding = -frames % self._settings.block
        state = np.pad(noise, ((0, padding), (0, 0)))
        for start, end in itertools.pairwise(time_points(solver.steps, self._settings.sway)):
            advance = self._euler if solver.name == "euler" else self._rk4
            state = state + advance(field, state, start, end)
        return state[:frames]

    def _conditions(
        self, codes: NDArray[np.int64], voice: str, solver: Solver
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Codes [R, n + padding] and speaker rows [R, hidden]; with guidance the second condition is empty."""
        known = np.where((codes >= 0) & (codes < self._settings.codes), codes, 0)
        known = np.pad(known, (0, -len(codes) % (self._settings.block // self._settings.repeats)))
        if solver.guidance < NO_GUIDANCE:
            return known[None], self._speakers[voice][None]
        rows = np.stack([self._speakers[voice], self._speakers["unconditional"]])
        return np.stack([known, np.zeros_like(known)]), rows

    def _modulation(self, time: float) -> NDArray[np.float32]:
        index = int(np.abs(self._times - time).argmin())
        assert abs(self._times[index] - time) < 1e-6, f"time {time} is not in the table"
        return self._modulations[index]

    def _euler(self, field: _Field, state: NDArray[np.float32], start: float, end: float) -> NDArray[np.float32]:
        return field.velocity(state, self._modulation(start)) * np.float32(end - start)

    def _rk4(self, field: _Field, state: NDArray[np.float32], start: float, end: float) -> NDArray[np.float32]:
        """One step of the 3/8 rule."""
        width = end - start
        h = np.float32(width)
        k1 = field.velocity(state, self._modulation(start))
        k2 = field.velocity(state + h * k1 / 3, self._modulation(start + width / 3))
        k3 = field.velocity(state + h * (k2 - k1 / 3), self._modulation(start + width * 2 / 3))
        k4 = field.velocity(state + h * (k1 - k2 + k3), self._modulation(end))
        return (k1 + 3 * (k2 + k3) + k4) * (h / 8)


class _Field:
    """The velocity field of one utterance: what stays the same over all evaluations, bound once."""

    def __init__(
        self,
        session: ort.InferenceSession,
        settings: Settings,
        conditions: tuple[NDArray[np.int64], NDArray[np.float32]],
        frames: int,
        guidance: float,
    ) -> None:
        self._session = session
        self._constant = {
            "codes": conditions[0],
            "speaker": conditions[1],
            "frames": np.array(frames, np.int64),
        }
        self._guidance = np.float32(guidance)

    def velocity(self, state: NDArray[np.float32], modulation: NDArray[np.float32]) -> NDArray[np.float32]:
        """[F, bins] -> [F, bins]; with guidance c + g·(c - u)."""
        feeds = {"noisy": state.astype(np.float32, copy=False), "modulation": modulation, **self._constant}
        velocity = np.asarray(self._session.run(None, feeds)[0])
        if len(velocity) == 1:
            return velocity[0]
        conditional, unconditional = velocity
        return conditional + (conditional - unconditional) * self._guidance
