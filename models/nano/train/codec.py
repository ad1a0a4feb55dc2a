"""Speech codes: k-means over pairs of mel frames, 50 codes a second.

Each voice has codes of its own, around its own mean mel: two voices that shared 1024 codes lost more (mel L1 0.36 and
0.31) than each does alone with 512 (0.32 and 0.31). Code = centroid + 1: code 0 is the null by which the flow's class
says "no code".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from .marathon import StageOptions
from .voices import FLOOR, HOP, MELS, UNIT, VoiceCache, load_voices

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
PAIR = UNIT // HOP  # frames of a code


@dataclass(frozen=True)
class CodecRecipe:
    """How the codes are found."""

    codes: int = 1024  # of each voice
    units: int = 100_000  # drawn from the training sentences of each voice
    rounds: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Codec:
    """Centroids [speakers * each, 2 * 80] around the mean mel of their speaker [speakers, 80], in natural log."""

    centroids: F32
    means: F32

    @property
    def top(self) -> int:
        """The largest code; codes run from 1."""
        return len(self.centroids)

    @property
    def each(self) -> int:
        """Codes of one speaker; those of the first come first."""
        return len(self.centroids) // len(self.means)

    def encode(self, mel: npt.ArrayLike, speaker: int) -> I64:
        """Codes of a mel.

        Args:
            mel: [frames, 80], an even number of frames.
            speaker: row of `means`.

        Returns:
            [frames / 2], in the speaker's share of 1..top.
        """
        units = (np.asarray(mel, dtype=np.float32) - self.means[speaker]).reshape(-1, PAIR * MELS)
        first = speaker * self.each
        return nearest(units, self.centroids[first : first + self.each]) + 1 + first

    def decode(self, codes: npt.ArrayLike, speaker: int) -> F32:
        """The mel that codes alone stand for: [codes] in 1..top → [2 * codes, 80], at least FLOOR."""
        units = self.centroids[np.asarray(codes) - 1].reshape(-1, MELS)
        return np.maximum(units + self.means[speaker], FLOOR)

    def save(self, path: Path) -> None:
        """Write as fp16 safetensors."""
        save_file({"centroids": self.centroids.astype(np.float16), "means": self.means.astype(np.float16)}, path)


def load_codec(path: Path) -> Codec:
    """Read a codec that `save` wrote."""
    tensors = load_file(path)
    return Codec(tensors["centroids"].astype(np.float32), tensors["means"].astype(np.float32))


def nearest(units: F32, centroids: F32, block: int = 16_384) -> I64:
    """Index of the nearest centroid of each unit, in blocks so that the distances fit the cache: [units]."""
    bias = (centroids**2).sum(1)
    parts = [units[first : first + block] for first in range(0, len(units), block)]
    found = [np.argmin(bias - 2 * (part @ centroids.T), axis=1) for part in parts]
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)


def lloyd(units: F32, count: int, rounds: int, seed: int) -> F32:
    """Lloyd's algorithm; a centroid that lost all its units starts again beside a unit drawn at random.

    Args:
        units: [units, width].
        count: of centroids.
        rounds: of assignment and averaging.
        seed: of the first centroids.

    Returns:
        [count, width].
    """
    rng = np.random.default_rng(seed)
    centroids = units[rng.choice(len(units), count, replace=False)].copy()
    for _ in range(rounds):
        owner = nearest(units, centroids)
        order = np.argsort(owner, kind="stable")
        sizes = np.bincount(owner, minlength=count)
        filled = np.flatnonzero(sizes)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])[filled]
        centroids[filled] = np.add.reduceat(units[order], starts, axis=0) / sizes[filled, None]
        empty = np.flatnonzero(sizes == 0)
        centroids[empty] = units[rng.choice(len(units), len(empty))]
    return centroids


def fit_codec(voices: Sequence[VoiceCache], recipe: CodecRecipe) -> Codec:
    """Find means and centroids from the training sentences of the voices."""
    rng = np.random.default_rng(recipe.seed)
    means, centroids = [], []
    for voice in voices:
        mel = voice.mel()
        spans = [(u.start // HOP, (u.start + u.samples) // HOP) for u in voice.utterances if not u.held_out]
        frames = np.concatenate([np.arange(first, last) for first, last in spans])
        firsts = np.sort(rng.choice(frames[::PAIR], min(len(frames) // PAIR, recipe.units), False))
        units = np.stack([mel[firsts], mel[firsts + 1]], axis=1).astype(np.float32)
        means.append(units.mean((0, 1)))
        flat = (units - means[-1]).reshape(-1, PAIR * MELS)
        centroids.append(lloyd(flat, recipe.codes, recipe.rounds, recipe.seed))
    return Codec(np.concatenate(centroids), np.stack(means))


def measure_codec(codec: Codec, voices: Sequence[VoiceCache], each: int = 40) -> dict[str, float]:
    """L1 and rmse (natural log) of coding and decoding held-out sentences, and how many codes are in effective use."""
    errors, codes = [], []
    for index, voice in enumerate(voices):
        mel = voice.mel()
        for utterance in [u for u in voice.utterances if u.held_out][:each]:
            first, last = utterance.start // HOP, (utterance.start + utterance.samples) // HOP
            frames = np.asarray(mel[first:last], dtype=np.float32)
            codes.append(codec.encode(frames, index))
            errors.append(codec.decode(codes[-1], index) - frames)
    difference = np.concatenate(errors)
    share = np.bincount(np.concatenate(codes), minlength=codec.top + 1) / sum(map(len, codes))
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
    l1, rmse = np.abs(difference).mean(), np.sqrt((difference**2).mean())
    return {"l1": float(l1), "rmse": float(rmse), "effective": float(np.exp(entropy))}


def train_codec(options: StageOptions, recipe: CodecRecipe | None = None) -> None:
    """Fit the codec, write `<folder>/codec.safetensors`, and print its figures."""
    voices = load_voices(options.folder / "voices")
    codec = fit_codec(voices, recipe or CodecRecipe(seed=options.seed))
    codec.save(options.folder / "codec.safetensors")
    print(measure_codec(codec, voices))
