"""The vocoder against the reference traced: `python -m benchmarks.vocoder CHECKPOINT BUNDLE WORK`.

Prints the time of a window of either, what streaming costs at chunks of several sizes, and the signal-to-noise ratio
of the bundle's graph against floats on the mels of the voices. Traces lie in WORK and are made once. Where OpenVINO is
installed it runs the same trace, in floats as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.voices import read_voices
from omni_edge.models.bundle import open_bundle
from omni_edge.quant.measures import signal_to_noise
from omni_edge.runtime.engine import open_vocoder
from omni_edge.runtime.vocoder import Vocoder

from .interleaved import medians, table
from .traced import trace_vocoder

WINDOW = 96
CHUNKS = (24, 48, 96, 192)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("checkpoint", "bundle", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    checkpoint, bundle = Checkpoint(given.checkpoint), open_bundle(given.bundle)
    traced = given.work / f"vocoder-{WINDOW}.onnx"
    if not traced.exists():
        trace_vocoder(checkpoint, traced, WINDOW)
    options = ort.SessionOptions()
    options.intra_op_num_threads = given.threads
    reference = ort.InferenceSession(traced, options)
    vocoder = open_vocoder(bundle, given.threads)
    voices = read_voices(checkpoint.folder)
    mel = np.resize(next(iter(voices.values())).ref_mel, (2000, checkpoint.config.vocoder.mel_bins))
    window = mel[:WINDOW]

    def traced_run(mel: np.ndarray) -> np.ndarray:
        return np.asarray(reference.run(None, {"rows": mel[None]})[0]).reshape(-1)

    print(f"A window of {WINDOW} frames:")
    runs: dict[str, Callable[[], object]] = {
        "traced, floats": lambda: traced_run(window),
        "bundle": lambda: list(vocoder.samples(window)),
    }
    if find_spec("openvino"):
        runs["traced, OpenVINO"] = openvino_run(traced, window, given.threads)
    print(table(medians(runs, given.rounds), "traced, floats", WINDOW / 100))
    print("A second of speech in chunks, under way:")
    seconds = {f"{size} frames": _stream(vocoder, mel, size, given.rounds) for size in CHUNKS}
    print(table(seconds, f"{CHUNKS[0]} frames"))
    for name, voice in voices.items():
        part = np.resize(voice.ref_mel, window.shape)
        print(f"Signal to noise, {name}: {signal_to_noise(traced_run(part), vocoder.run(part)):.1f} dB")


def openvino_run(traced: Path, mel: np.ndarray, threads: int) -> Callable[[], object]:
    """The trace on OpenVINO in f32, which takes bfloat16 by itself where a processor has it."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(str(traced), "CPU", hints).create_infer_request()
    return lambda: request.infer({0: mel[None]})


def _stream(vocoder: Vocoder, mel: np.ndarray, size: int, rounds: int) -> float:
    stream = vocoder.begin()
    stream.step(mel[:96], last=False)
    return medians({"step": lambda: stream.step(mel[96 : 96 + size], last=False)}, rounds)["step"] * 100 / size


if __name__ == "__main__":
    main()
