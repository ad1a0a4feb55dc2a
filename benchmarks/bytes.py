"""What a byte costs each part of a vocoder: `python -m benchmarks.bytes CHECKPOINT BUNDLE`.

What goes into some of the convolutions is rounded to one byte, the grid as an export would have it, and all else stays
in floats. Prints for each part how far the sound of a few replies is from that in floats, and how loud the difference
is where nobody speaks; `input_bytes` in export/vocoder_rounding.py is chosen from it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.vocoder import reference_vocoder
from omni_edge.export.voices import read_voices
from omni_edge.models.bundle import Bundle, open_bundle
from omni_edge.quant.convolutions import Span
from omni_edge.quant.measures import signal_to_noise
from omni_edge.runtime.engine import open_session
from omni_edge.runtime.events import Done
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.loading import load
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.options import Options
from omni_edge.runtime.solver import own_solver

QUESTIONS = ("Tell me a story about a ship and the sea.", "What is your name?", "Count from one to ten.")
QUIET = 0.01
"""Root mean square of a piece of sound in which nobody speaks."""
PIECE = 600
"""Samples."""
Sound = NDArray[np.float32]
Convolution = nn.Conv1d | nn.ConvTranspose1d


def replies(bundle: Bundle) -> list[NDArray[np.float32]]:
    """Mels of what each voice of the bundle says to QUESTIONS."""
    session, manifest = load(bundle.folder), bundle.manifest
    flow = Flow(open_session(bundle, "flow", 0), manifest.flow, bundle.path(manifest.flow.tables))
    solver, mels = own_solver(manifest.flow), []
    for voice, question in product(manifest.voices.names, QUESTIONS):
        session.reset()
        options = Options(voice=voice, greedy=True)
        done = next(event for event in session.respond(question, options=options) if isinstance(event, Done))
        codes = np.array(done.codes, np.int64)
        mels.append(flow.mel(codes, voice, Noise(0, manifest.flow.mel_bins), solver))
    return mels


def parts(names: Sequence[str], kernels: int) -> dict[str, list[str]]:
    """Convolutions by the part they are in."""
    found: dict[str, list[str]] = {}
    for name in names:
        block = re.search(r"resblocks\.(\d+)\.(convs\d\.\d+)", name)
        part = f"stage {int(block[1]) // kernels}, {block[2]}" if block else name.removeprefix("module.")
        found.setdefault(part, []).append(name)
    return found


@contextmanager
def before(module: nn.Module, names: Sequence[str], change: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """For as long as the block lasts, what goes into the named convolutions is changed."""
    with ExitStack() as hooks:
        for name in names:
            each = module.get_submodule(name)
            hook = each.register_forward_pre_hook(lambda _, args, name=name: (change(name, args[0]),))
            hooks.callback(hook.remove)
        yield


def run(module: nn.Module, mels: Sequence[NDArray[np.float32]]) -> list[Sound]:
    """Samples [n] of each mel."""
    with torch.no_grad():
        return [module(torch.from_numpy(mel[None])).numpy().reshape(-1) for mel in mels]


def to_a_byte(span: Span) -> Callable[[Tensor], Tensor]:
    """Rounds a signal [1, C, T]."""
    grid = span.grid(1)
    step, zero = (torch.from_numpy(each.astype(np.float32))[:, None] for each in (grid.step, grid.zero))
    return lambda x: (torch.clamp(torch.round(x / step + zero), 0, 255) - zero) * step


def quiet_noise(whole: Sequence[Sound], made: Sequence[Sound]) -> float:
    """Root mean square of the difference in those pieces of the whole that are quiet."""
    differences = []
    for one, other in zip(whole, made, strict=True):
        pieces, apart = (each[: len(each) // PIECE * PIECE].reshape(-1, PIECE) for each in (one, other - one))
        differences.append(apart[np.sqrt(np.square(pieces).mean(1)) < QUIET])
    return float(np.sqrt(np.square(np.concatenate(differences)).mean()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    given = parser.parse_args()
    checkpoint, mels = Checkpoint(given.checkpoint), replies(open_bundle(given.bundle))
    module, spans = reference_vocoder(checkpoint), dict[str, Span]()
    names = [
        name
        for name, each in module.named_modules()
        if isinstance(each, Convolution) and each.groups == 1 and "conv_post" not in name
    ]

    def note(name: str, x: Tensor) -> Tensor:
        span = Span.of(x[0].numpy())
        spans[name] = spans[name].joined(span) if name in spans else span
        return x

    with before(module, names, note):
        run(module, [voice.ref_mel for voice in read_voices(checkpoint.folder).values()])
    rounds = {name: to_a_byte(span) for name, span in spans.items()}
    whole = run(module, mels)
    print("| rounded to one byte | signal to noise, dB | at worst | noise in silence, 1e-6 |\n|---|---:|---:|---:|")
    for part, members in parts(names, len(checkpoint.config.vocoder.kernels)).items():
        with before(module, members, lambda name, x: rounds[name](x)):
            made = run(module, mels)
        ratios = [signal_to_noise(*pair) for pair in zip(whole, made, strict=True)]
        print(
            f"| {part} | {np.mean(ratios):.1f} | {min(ratios):.1f} | {quiet_noise(whole, made) * 1e6:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
