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
from .solver import Solver, advance

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
            RequestError: and says which there are.
        """
        schedules = self.settings.schedules
        if solver.steps not in schedules.get(solver.name, ()):
            has = "; ".join(
                f"{name} with {', '.join(map(str, counts))}" for name, counts in schedules.items() if counts
            )
            raise RequestError(
                f"the solver {solver.name} with {solver.steps} steps is not in this bundle's tables; it has {has} steps"
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
        speakers = np.stack([self._speakers[voice], self._speakers["unconditional"]])
        return FlowStream(self, speakers, noise, solver)

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
        speakers: [2, hidden], of the conditions: the voice, and for guided evaluations no voice at all.
        noise: the state at time 0.
        solver: checked.
    """

    def __init__(self, flow: Flow, speakers: F32, noise: Noise, solver: Solver) -> None:
        self._flow = flow
        self._settings = flow.settings
        self._size = flow.settings.block // flow.settings.repeats
        """Codes of a block."""
        self._speakers = speakers
        self._noise = noise
        self._solver = solver
        self.reset()

    def reset(self) -> None:
        """Begin the utterance anew."""
        self._waiting = np.empty(0, np.int64)
        self._done = 0
        # Before the first block there is nothing, in whichever evaluation.
        self._past: list[tuple[F32, F32]] | None = None
        self.ahead: F32 = np.empty((0, self._settings.mel_bins), np.float32)
        """Of the last step: the look-ahead's mel [m, bins], which the next step makes again, having seen more."""

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
        blocks, kept = self._blocks(last)
        if kept < 1:
            self.ahead = np.empty((0, settings.mel_bins), np.float32)
            return self.ahead
        chunk = self._waiting[: blocks * self._size]
        mel = self._solve(chunk, blocks, kept)[: len(chunk) * settings.repeats]
        self.ahead = mel[kept * settings.block :]
        self._waiting = self._waiting[kept * self._size :]
        self._done += kept
        return mel[: kept * settings.block]

    def _blocks(self, last: bool) -> tuple[int, int]:
        """Of the codes that wait, how many blocks are solved, the last of them perhaps in part, and how many kept."""
        count, size, solver = len(self._waiting), self._size, self._solver
        begun = -(-count // size)
        if last:
            return begun, begun
        kept = count // size - solver.lookahead
        if kept < 1 and not self._done and solver.first_lookahead and count >= size + solver.first_lookahead:
            return begun, 1
        return count // size, kept

    def _solve(self, chunk: NDArray[np.int64], blocks: int, kept: int) -> F32:
        settings, solver = self._settings, self._solver
        length, first = blocks * settings.block, self._done * settings.block
        evaluate = _Evaluations(self._flow, self._feeds(chunk, length, kept), self._past, solver.guidance)
        # Frames that only fill the last block start from noise as well; nothing sees them.
        state = self._noise.frames(first, first + length)
        for start, end in itertools.pairwise(time_points(solver.steps, settings.sway)):
            velocity = evaluate.guided if solver.is_guided(start) else evaluate.alone
            state = state + advance(solver.name, velocity, state, start, end)
        self._past = evaluate.present
        return state

    def _feeds(self, chunk: NDArray[np.int64], length: int, kept: int) -> dict[str, NDArray[np.generic]]:
        """What all evaluations of a chunk have in common, for both conditions."""
        settings = self._settings
        codes = np.zeros((len(self._speakers), length // settings.repeats), np.int64)
        codes[0, : len(chunk)] = chunk
        return {
            "codes": codes,
            "speaker": self._speakers,
            "before": np.array(settings.block if self._done else 0, np.int64),
            "frames": np.array(len(chunk) * settings.repeats, np.int64),
            "kept": np.array(kept, np.int64),
        }


class _Evaluations:
    """The evaluations of one chunk, in order; each goes on from what the same one of the chunk before has kept.

    Args:
        flow: to compute with.
        feeds: of both conditions.
        past: keys and values, an evaluation each; None before the first chunk.
        guidance: strength, for those that are guided.
    """

    def __init__(
        self, flow: Flow, feeds: dict[str, NDArray[np.generic]], past: list[tuple[F32, F32]] | None, guidance: float
    ) -> None:
        self._flow = flow
        self._feeds = feeds
        self._past = past
        self._guidance = np.float32(guidance)
        self.present: list[tuple[F32, F32]] = []

    def alone(self, state: F32, time: float) -> F32:
        """The velocity given codes and voice."""
        return self._run(state, time, 1)[0]

    def guided(self, state: F32, time: float) -> F32:
        """The same, led away from what the velocity is without them (FACTS §6.2)."""
        conditional, unconditional = self._run(state, time, 2)
        return conditional + (conditional - unconditional) * self._guidance

    def _run(self, state: F32, time: float, conditions: int) -> F32:
        """[conditions, F, bins]."""
        keys, values = self._before(conditions)
        feeds = {
            **self._feeds,
            "codes": self._feeds["codes"][:conditions],
            "speaker": self._feeds["speaker"][:conditions],
            "noisy": state.astype(np.float32, copy=False),
            "modulation": self._flow.modulation(time),
            "past_keys": keys,
            "past_values": values,
        }
        velocity, keys, values = (np.asarray(output) for output in self._flow.session.run(None, feeds))
        self.present.append((keys, values))
        return velocity

    def _before(self, conditions: int) -> tuple[F32, F32]:
        if self._past is not None:
            return self._past[len(self.present)]
        settings = self._flow.settings
        nothing = np.zeros((settings.back_layers, conditions, settings.block, settings.width), np.float32)
        return nothing, nothing
