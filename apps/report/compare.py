"""Both sides run on the same inputs, one subnetwork after the other.

The full precision goes first and is let go of before a graph is loaded, so that memory never holds both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...models.bundle import Bundle
from ...models.errors import DeviceError
from ...models.manifest import EngineName, Graph, SubnetworkName
from ...runtime.encoders import AudioEncoder, VisionEncoder
from ...runtime.engine import DecoderName, open_session, open_vocoder
from ...runtime.flow import Flow
from ...runtime.noise import Noise
from ...runtime.solver import own_solver
from ...runtime.vocoder import Vocoder
from ...runtime.window_part import WindowPart
from ..progress import Tick
from .decoders import DecoderComparison
from .recording import SEED, Recording

if TYPE_CHECKING:
    from ...export.full_precision import FullPrecision, SessionName
    from ...quant.report import Error, GraphReport

Arrays = list[NDArray[np.float32]]
Run = Callable[[Any], NDArray[np.float32]]
"""One input to one output."""
IDLE: dict[SubnetworkName, str] = {
    "audio_encoder": "there is nothing to hear in the material",
    "vision_encoder": "there is nothing to see in the material",
    "thinker": "there was no conversation that the bundle can read",
    **dict.fromkeys(("talker", "flow", "vocoder"), "the bundle said nothing"),
}
"""Why a subnetwork had nothing to do."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Outputs of both sides for the longest reply: mels [frames, bins] of the flow, samples [n] of the vocoder."""

    full: NDArray[np.float32]
    bundle: NDArray[np.float32]


@dataclass(frozen=True)
class Compared:
    """One graph, and what of its output can be shown."""

    subnetwork: SubnetworkName
    report: GraphReport
    pair: Pair | None = None


class Comparison:
    """A bundle beside its checkpoint.

    Args:
        bundle: checked.
        full: its checkpoint.
        recordings: what both sides read.
        threads: for one operator; 0 is one a physical core.
        tick: told how far it is.
    """

    def __init__(
        self, bundle: Bundle, full: FullPrecision, recordings: Sequence[Recording], threads: int, tick: Tick
    ) -> None:
        self._bundle = bundle
        self._manifest = bundle.manifest
        self._full = full
        self._recordings = recordings
        self._threads = threads
        self._tick = tick

    def graphs(self) -> Iterator[Compared]:
        """All graphs, subnetwork by subnetwork."""
        mels = [mel for recording in self._recordings for mel in recording.mels]
        patches = [each for recording in self._recordings for each in recording.patches]
        audio, vision = self._manifest.audio, self._manifest.vision
        yield from self._encoder("audio_encoder", mels, lambda session: AudioEncoder(session, audio).rows)
        yield from self._encoder("vision_encoder", patches, lambda session: VisionEncoder(session, vision).rows)
        yield from self.decoders()
        yield from self._token2wav()

    def decoders(self) -> Iterator[Compared]:
        """Graphs of thinker and talker."""
        yield from self._decoder("thinker")
        yield from self._decoder("talker")

    def _encoder(self, name: SessionName, items: Sequence[Any], stage: Callable[[Any], Run]) -> Iterator[Compared]:
        from ...quant.measures import cosines
        from ...quant.report import EncoderError

        for graph, full, other in self._sides(name, items, stage):
            error: Error | str = IDLE[name]
            if full:
                values = np.concatenate([cosines(*rows) for rows in zip(full, other, strict=True)])
                error = EncoderError(cosine=float(values.mean()), worst_cosine=float(values.min()), rows=len(values))
            yield Compared(name, self._report(name, graph, error))

    def _decoder(self, name: DecoderName) -> Iterator[Compared]:
        inputs = [recording.thinker if name == "thinker" else recording.talker for recording in self._recordings]
        given = [each for each in inputs if each is not None]
        if not given:
            for graph in self._manifest.subnetworks[name].graphs:
                yield Compared(name, self._report(name, graph, IDLE[name]))
            return
        comparison = DecoderComparison(self._bundle, self._full, name, given, self._threads, self._tick)
        for graph, error in comparison.errors():
            yield Compared(name, self._report(name, graph, error))

    def _token2wav(self) -> Iterator[Compared]:
        """The flow on the codes, then the vocoder on the mels that the full precision makes of them."""
        settings = self._manifest.flow
        solver = own_solver(settings)
        spoken = [recording for recording in self._recordings if len(recording.codes)]

        def stage(session: Any) -> Run:
            flow = Flow(session, settings, self._bundle.path(settings.tables))

            def mel(recording: Recording) -> NDArray[np.float32]:
                return flow.mel(recording.codes, recording.voice, Noise(SEED, settings.mel_bins), solver)

            return mel

        mels: Arrays = []
        for graph, full, other in self._sides("flow", spoken, stage):
            mels = full
            yield Compared("flow", self._report("flow", graph, _flow_error(full, other)), _longest(full, other))
        yield from self._vocoder(mels)

    def _vocoder(self, mels: Arrays) -> Iterator[Compared]:
        def stage(vocoder: Vocoder) -> Run:
            return lambda mel: np.concatenate(list(vocoder.samples(mel)))

        for graph, full, other in self._sides("vocoder", mels, stage):
            error = _vocoder_error(full, other)
            yield Compared("vocoder", self._report("vocoder", graph, error), _longest(full, other))

    def _sides(
        self, name: SessionName, items: Sequence[Any], stage: Callable[[Any], Run]
    ) -> Iterator[tuple[Graph, Arrays, Arrays]]:
        """What both sides make of the items, for each graph. Nothing is loaded when there are none."""
        full = self._each(f"{name}, full precision", items, stage(self._open_full(name))) if items else []
        for graph in self._manifest.subnetworks[name].graphs:
            title = f"{name}, {graph.engine}"
            yield graph, full, self._each(title, items, stage(self._open(name, graph.engine))) if items else []

    def _each(self, title: str, items: Sequence[Any], run: Run) -> Arrays:
        results: Arrays = []
        for index, item in enumerate(items):
            self._tick(title, index, len(items))
            results.append(run(item))
        return results

    def _open_full(self, name: SessionName) -> Any:
        session = self._full.session(name)
        if name != "vocoder":
            return session
        return Vocoder([WindowPart(session, self._manifest.vocoder.whole, 1, None, 1)])

    def _open(self, name: SessionName, engine: EngineName) -> Any:
        if engine != "onnx":
            raise DeviceError(f"{self._bundle.folder} has a {name} for the engine {engine}, which runs decoders only")
        if name == "vocoder":
            return open_vocoder(self._bundle, self._threads)
        return open_session(self._bundle, name, self._threads)

    def _report(self, name: SubnetworkName, graph: Graph, outcome: Error | str) -> GraphReport:
        from ...quant.report import GraphReport

        size = sum(entry.bytes for entry in self._manifest.files if entry.path in graph.files)
        parameters = self._manifest.subnetworks[name].parameters
        bits = 8 * size / parameters if parameters else None
        unmeasured = outcome if isinstance(outcome, str) else ""
        error = None if isinstance(outcome, str) else outcome
        return GraphReport(
            engine=graph.engine,
            precision=graph.precision,
            bytes=size,
            bits_per_weight=bits,
            error=error,
            unmeasured=unmeasured,
        )


def _flow_error(full: Arrays, other: Arrays) -> Error | str:
    from ...quant.measures import mel_distance
    from ...quant.report import FlowError

    if not full:
        return IDLE["flow"]
    whole = np.concatenate(full)
    distance = mel_distance(whole, np.concatenate(other))
    return FlowError(mel_distance=distance, relative=distance / max(float(whole.std()), 1e-9), frames=len(whole))


def _vocoder_error(full: Arrays, other: Arrays) -> Error | str:
    from ...quant.measures import signal_to_noise, stft_distance
    from ...quant.report import VocoderError

    if not full:
        return IDLE["vocoder"]
    distances = [stft_distance(*sounds) for sounds in zip(full, other, strict=True)]
    convergence, magnitude = np.mean(distances, axis=0).tolist()
    whole = np.concatenate(full)
    return VocoderError(
        spectral_convergence=convergence,
        log_magnitude=magnitude,
        snr_db=signal_to_noise(whole, np.concatenate(other)),
        samples=whole.size,
    )


def _longest(full: Arrays, other: Arrays) -> Pair | None:
    if not full:
        return None
    index = max(range(len(full)), key=lambda n: len(full[n]))
    return Pair(full[index], other[index])
