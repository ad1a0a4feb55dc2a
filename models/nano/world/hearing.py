"""What nano hears while it learns: many voices, rooms and microphones, with a phone label for every 20 ms.

Voices that no training sentence uses: flite's awb and kal16, and festival (whose kal speaker is kal16's).
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import soxr

from ...manifest import AudioFrontEnd
from .espeak import espeak
from .flite import Pitch, flite
from .phones import label
from .spoken import SILENCE, Spoken, SynthesiserMissing

RATE = 16_000
FRONT = AudioFrontEnd(rate=RATE, n_fft=400, hop=160, mels=128, max_seconds=300, chunk_frames=200)
LABEL_SECONDS = 0.02
"""One position of the encoder before it averages pairs."""

ACCENTS = "en-gb en-us en-gb-scotland en-gb-x-gbclan en-gb-x-rp en-gb-x-gbcwmd en-029 en-us-nyc".split()
VARIANTS = (
    "adam Alex Alicia Andrea Andy Annie anika antonio aunty belinda benjamin boris caleb david Denis Diogo ed edward "
    "f1 f2 f3 f4 f5 Gene grandma grandpa Henrique Hugo iven Jacky john Lee linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo Marco "
    "Mario max Michael michel miguel Mike Mr norbert pablo paul pedro quincy rob robert sandro shelby steph travis "
    "victor zac klatt klatt2 klatt3 klatt4 klatt5 klatt6"
).split()
FLITE_SHARE = 0.35
FLITE_PITCH = {"rms": (70.0, 170.0), "slt": (120.0, 270.0)}
"""Lowest and highest mean, in Hz, that a training sentence of this voice is said at."""
HELD_OUT = ("awb", "kal16", "festival")


@dataclass(frozen=True)
class Sound:
    """One utterance as nano gets it."""

    samples: npt.NDArray[np.float32]
    """[N] at 16 kHz."""
    labels: npt.NDArray[np.uint8]
    """Phone of every 20 ms, one per encoder position."""
    voice: str


@dataclass(frozen=True)
class Rough:
    """How much a sound is changed on its way; all zero is a clean room."""

    warp: float = 0.16
    """Largest change of speed and pitch together."""
    noise: float = 0.5
    """Share of sounds with noise."""
    room: float = 0.3
    """Share of sounds with an echo."""
    margin: float = 0.25
    """Longest silence before and after, in seconds."""


CLEAN = Rough(0.0, 0.0, 0.0, 0.1)


def speak_seen(text: str, rng: Random) -> tuple[Spoken, str]:
    """Say a text with a random voice of training; returns the sound and the voice's name."""
    if rng.random() < FLITE_SHARE:
        voice = rng.choice(tuple(FLITE_PITCH))
        low, high = FLITE_PITCH[voice]
        pitch = Pitch(rng.uniform(low, high), rng.uniform(2, 30))
        return flite().speak(text, voice, rng.uniform(0.8, 1.25), pitch), voice
    voice = f"{rng.choice(ACCENTS)}+{rng.choice(VARIANTS)}"
    rate, pitch, spread = rng.randrange(120, 210), rng.randrange(20, 80), rng.randrange(20, 80)
    return espeak().speak(text, voice, rate, pitch, spread), voice


def speak_unseen(text: str, voice: str) -> Spoken:
    """Say a text with a voice kept out of training; festival gives no phones."""
    if voice != "festival":
        return flite().speak(text, voice, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        try:
            subprocess.run(["text2wave", "-o", str(path)], input=text.encode(), check=True)
        except FileNotFoundError as error:
            raise SynthesiserMissing("festival is not installed: apt-get install festival") from error
        with wave.open(str(path)) as reader:
            rate, data = reader.getframerate(), reader.readframes(reader.getnframes())
    return Spoken((np.frombuffer(data, np.int16) / 32768).astype(np.float32), rate, ((SILENCE, 0.0),))


def as_heard(spoken: Spoken, voice: str, rng: Random, rough: Rough) -> Sound:
    """Bring a synthesised sentence to 16 kHz through a random room and microphone, labels moving along."""
    speed = 1 + rng.uniform(-rough.warp, rough.warp)
    samples = soxr.resample(spoken.samples, spoken.rate * speed, RATE, "LQ").astype(np.float32)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * max(1e-4, float(np.abs(samples).max())))
    first, last = (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, samples.size)
    # Trimmed, then given silence again: synthesisers differ in it, and nano must not learn by how much.
    before, after = (int(rng.uniform(0.02, max(0.03, rough.margin)) * RATE) for _ in range(2))
    samples = np.pad(samples[first:last], (before, after))
    starts = np.array([start / speed * RATE - first + before for _, start in spoken.phones]) / RATE
    names = np.array([label(name) for name, _ in spoken.phones], np.uint8)
    if rng.random() < rough.room:
        samples = _echo(samples, rng)
    samples *= rng.uniform(0.15, 0.9) / max(1e-4, float(np.abs(samples).max()))
    if rng.random() < rough.noise:
        samples = _noise(samples, rng)
    return Sound(samples.astype(np.float32), _frames(samples.size, starts, names), voice)


def heard(texts: Iterator[str], seed: int, rough: Rough) -> Iterator[tuple[str, Sound]]:
    """Say each text with a random training voice."""
    rng = Random(f"heard/{seed}")
    for text in texts:
        spoken, voice = speak_seen(text, rng)
        if spoken.samples.size > RATE // 10:
            yield text, as_heard(spoken, voice, rng, rough)


def _frames(samples: int, starts: npt.NDArray[np.float64], names: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Phone at each encoder position, [((frames - 1) // 2 + 1)]."""
    frames = -(-samples // FRONT.hop)
    times = np.arange((frames - 1) // 2 + 1) * LABEL_SECONDS
    index = np.searchsorted(starts, times, side="right") - 1
    labels = names[np.maximum(index, 0)]
    labels[index < 0] = label(SILENCE)
    return labels


def _echo(samples: npt.NDArray[np.float32], rng: Random) -> npt.NDArray[np.float32]:
    """A room as decaying noise: its length and its share of the sound are random."""
    size = int(rng.uniform(0.03, 0.2) * RATE)
    generator = np.random.default_rng(rng.getrandbits(32))
    tail = generator.standard_normal(size) * np.exp(-6 * np.arange(size) / size)
    tail *= rng.uniform(0.1, 0.5) / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    length = 1 << (samples.size + size).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(tail, length), length)
    return wet[: samples.size].astype(np.float32)


def _noise(samples: npt.NDArray[np.float32], rng: Random) -> npt.NDArray[np.float32]:
    """Noise between white and dull, 10 to 40 dB under the speech."""
    generator = np.random.default_rng(rng.getrandbits(32))
    noise = generator.standard_normal(samples.size).astype(np.float32)
    dull = np.convolve(noise, np.full(8, 0.35, np.float32), mode="same")
    noise += rng.random() * (dull - noise)
    level = np.sqrt(np.mean(samples**2)) * 10 ** (-rng.uniform(10, 40) / 20)
    return samples + noise * level
