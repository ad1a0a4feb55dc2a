"""Speech codes to mel, a chunk at a time: the flow's ODE solver around the graph of one evaluation (FACTS §6.1, §6.2).

A block of frames sees two blocks back and one ahead in each evaluation. What it sees of the past is kept from chunk
to chunk, evaluation by evaluation, so that nothing is computed again and the left side of a chunk is exact. Of what
comes, some blocks are computed with a chunk and then again with the next one; the further, the closer to exact.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..models.errors import RequestError
from ..models.manifest import Flow as Settings
from ..models.schedule import time_points
from .noise import Noise
from .solver import NO_GUIDANCE, Solver, advance

F32 = NDArray[np.float32]


class Flow:
    """Mels from codes.

    Args:
        session: of the bundle's flow.
        settings: from the manifest.
        tables: the bundle's flow_tables.npz.
    """

    def __init__(self, session: ort.InferenceSession, settings: Settings, tables: Path) -> None:
        self.session = session
        self.settings = settings
        with np.load(tables) as arrays:
            self._times: NDArray[np.float64] = arrays["times"]
            self._modulations: F32 = arrays["modulations"]
            self._speakers = {
                name.removeprefix("speaker."): arrays[name] for name in arrays.files if name.startswith("speaker.")
            }

    def check(self, solver: Solver) -> None:
        """Refuse a schedule whose time points are not in the table.

        Raises:
            RequestError: and says which step counts there are.
        """
        counts = self.settings.schedules.get(solver.name, ())
        if solver.steps not in counts:
            raise RequestError(
                f"the solver {solver.name} with {solver.steps} steps is not in this bundle's tables; "
                f"use {', '.join(map(str, counts))} steps"
            )

    def begin(self, voice: str, noise: Noise, solver: Solver) -> FlowStream:
        """Start an utterance.

        Args:
            voice: a name of the manifest.
            noise: the state at time 0.
            solver: schedule, guidance and look-ahead.

        Raises:
            RequestError: schedule not in the table.
        """
        self.check(solver)
        speakers = [self._speakers[voice]]
        if solver.guidance >= NO_GUIDANCE:
            speakers.append(self._speakers["unconditional"])
        return FlowStream(self, np.stack(speakers), noise, solver)

    def mel(self, codes: NDArray[np.int64], voice: str, noise: Noise, solver: Solver) -> F32:
        """A whole utterance at once: [n·repeats, bins] for codes [n]; see `begin` and `FlowStream.step`."""
        return self.begin(voice, noise, solver).step(codes, last=True)

    def modulation(self, time: float) -> F32:
        """Of the network at a time point of a schedule in the table: [6·layers + 2, hidden]."""
        index = int(np.abs(self._times - time).argmin())
        assert abs(self._times[index] - time) < 1e-6, f"time {time} is not in the table"
        return self._modulations[index]


class FlowStream:
    """One utterance.

    Args:
        flow: to compute with.
        speakers: [R, hidden], of the conditions: with guidance the second one is no voice at all.
        noise: the state at time 0.
        solver: checked.
    """

    def __init__(self, flow: Flow, speakers: F32, noise: Noise, solver: Solver) -> None:
        self._flow = flow
        self._settings = flow.settings
        self._speakers = speakers
        self._noise = noise
        self._solver = solver
        self.reset()

    def reset(self) -> None:
        """Begin the utterance anew."""
        settings = self._settings
        self._waiting = np.empty(0, np.int64)
        self._done = 0
        nothing = np.zeros((settings.back_layers, len(self._speakers), settings.block, settings.width), np.float32)
        # Before the first block there is nothing, in whichever evaluation.
        self._past: list[tuple[F32, F32]] | None = None
        self._nothing = (nothing, nothing)

    def step(self, codes: NDArray[np.int64], *, last: bool) -> F32:
        """Take more codes, and solve from noise to mel what can be.

        Args:
            codes: [n], any number; ids outside the code table are read as 0.
            last: the utterance ends with them.

        Returns:
            [m, bins], natural logarithm: all blocks whose look-ahead is there; at the end, all there are.
        """
        settings = self._settings
        known = np.where((codes >= 0) & (codes < settings.codes), codes, 0)
        self._waiting = np.concatenate([self._waiting, known])
        size = settings.block // settings.repeats
        blocks = -(-len(self._waiting) // size) if last else len(self._waiting) // size
        kept = blocks if last else blocks - self._solver.lookahead
        if kept < 1:
            return np.empty((0, settings.mel_bins), np.float32)
        chunk = self._waiting[: blocks * size]
        mel = self._solve(chunk, blocks, kept)
        self._waiting = self._waiting[kept * size :]
        self._done += kept
        return mel[: min(kept * settings.block, len(chunk) * settings.repeats)]

    def _solve(self, chunk: NDArray[np.int64], blocks: int, kept: int) -> F32:
        settings, solver = self._settings, self._solver
        length, first = blocks * settings.block, self._done * settings.block
        frames = len(chunk) * settings.repeats
        codes = np.zeros((len(self._speakers), length // settings.repeats), np.int64)
        codes[0, : len(chunk)] = chunk
        feeds = {
            "codes": codes,
            "speaker": self._speakers,
            "before": np.array(settings.block if self._done else 0, np.int64),
            "frames": np.array(frames, np.int64),
            "kept": np.array(kept, np.int64),
        }
        present: list[tuple[F32, F32]] = []

        def velocity(state: F32, time: float) -> F32:
            keys, values = self._nothing if self._past is None else self._past[len(present)]
            given = {"noisy": state.astype(np.float32, copy=False), "modulation": self._flow.modulation(time)}
            outputs = self._flow.session.run(None, {**feeds, **given, "past_keys": keys, "past_values": values})
            branches, keys, values = (np.asarray(output) for output in outputs)
            present.append((keys, values))
            if len(branches) == 1:
                return branches[0]
            conditional, unconditional = branches
            return conditional + (conditional - unconditional) * np.float32(solver.guidance)

        # Frames that only fill the last block start from noise as well; nothing sees them.
        state = self._noise.frames(first, first + length)
        for start, end in itertools.pairwise(time_points(solver.steps, settings.sway)):
            state = state + advance(solver.name, velocity, state, start, end)
        self._past = present
        return state
