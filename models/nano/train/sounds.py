"""Sounds on disk: shards of uint8 log-mels with texts and phone labels, written once and read by every stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from ....runtime.mel import log_mel
from ..world.grammar import Split, items
from ..world.hearing import CLEAN, FRONT, HELD_OUT, Rough, Sound, as_heard, heard, speak_unseen

MEL_LOW, MEL_STEP = -2.0, 1 / 64
"""A stored byte b stands for MEL_LOW + b * MEL_STEP; Whisper's log-mel stays inside -2..2."""


@dataclass(frozen=True)
class Sounds:
    """Some utterances."""

    mel: npt.NDArray[np.uint8]
    """[frames of all, 128]"""
    frames: npt.NDArray[np.int64]
    """[n + 1], where each begins in `mel`."""
    labels: npt.NDArray[np.uint8]
    """Phones of all encoder positions."""
    positions: npt.NDArray[np.int64]
    """[n + 1], where each begins in `labels`."""
    texts: tuple[str, ...]
    voices: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def mel_of(self, index: int) -> npt.NDArray[np.uint8]:
        """[frames, 128]"""
        return self.mel[self.frames[index] : self.frames[index + 1]]

    def labels_of(self, index: int) -> npt.NDArray[np.uint8]:
        """[positions]"""
        return self.labels[self.positions[index] : self.positions[index + 1]]


def collect(said: Iterator[tuple[str, Sound]], count: int) -> Sounds:
    """Take `count` sounds and compute their features."""
    mels, labels, texts, voices = [], [], [], []
    for text, sound in said:
        mels.append(to_bytes(log_mel(sound.samples, FRONT)))
        labels.append(sound.labels)
        texts.append(text)
        voices.append(sound.voice)
        if len(texts) == count:
            break
    frames, positions = (np.cumsum([0, *map(len, parts)]) for parts in (mels, labels))
    return Sounds(np.concatenate(mels), frames, np.concatenate(labels), positions, tuple(texts), tuple(voices))


def to_bytes(mel: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Log-mel, float32 [128, F], to bytes [F, 128]."""
    return np.clip(np.rint((mel.T - MEL_LOW) / MEL_STEP), 0, 255).astype(np.uint8)


def save(sounds: Sounds, path: Path) -> None:
    """Write a shard; it appears under its name only when it is whole."""
    beside = path.with_suffix(".part")
    texts = np.frombuffer(json.dumps([sounds.texts, sounds.voices]).encode(), np.uint8)
    with beside.open("wb") as file:
        np.savez(
            file,
            mel=sounds.mel,
            frames=sounds.frames,
            labels=sounds.labels,
            positions=sounds.positions,
            texts=texts,
        )
    beside.rename(path)


def load(paths: list[Path]) -> Sounds:
    """Read shards as one collection."""
    mels, labels, texts, voices = [], [], [], []
    frames, positions = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    for path in paths:
        with np.load(path) as shard:
            frames.append(shard["frames"][1:] + frames[-1][-1])
            positions.append(shard["positions"][1:] + positions[-1][-1])
            mels.append(shard["mel"])
            labels.append(shard["labels"])
            shard_texts, shard_voices = json.loads(bytes(shard["texts"]))
            texts += shard_texts
            voices += shard_voices
    return Sounds(
        np.concatenate(mels),
        np.concatenate(frames),
        np.concatenate(labels),
        np.concatenate(positions),
        tuple(texts),
        tuple(voices),
    )


def questions(split: Split, seed: int, ring: int) -> Iterator[str]:
    """What users say: half of it things to repeat, which hold most words, the rest all skills alike."""
    rng = Random(f"questions/{split}/{seed}/{ring}")
    echoes, rest = items(split, seed, ring, "hear"), items(split, seed, ring)
    while True:
        turns = next(echoes).turns if rng.random() < 0.5 else next(rest).turns
        yield rng.choice(turns).user if rng.random() < 0.3 else turns[-1].user


def bare(split: Split, seed: int, ring: int) -> Iterator[str]:
    """What users say to go with a typed "say" or "write"."""
    for item in items(split, seed, ring, "hear"):
        yield item.turns[-1].answer


def make_sounds(folder: Path, count: int, seed: int, ring: int, shard: int = 500) -> None:
    """Write training shards until there are `count` sentences, and a test shard for each kind of voice.

    A fifth as many bare texts are written beside them.

    Args:
        folder: created when missing; shards that are there stay.
        count: training sentences in all.
        seed: of the whole collection.
        ring: of the grammar.
        shard: sentences in each file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _make_tests(folder, seed, ring)
    for index in range(-(-count // shard)):
        path = folder / f"train-{index:04d}.npz"
        if not path.exists():
            key = seed * 1_000_003 + index
            save(collect(heard(questions("train", key, ring), key, Rough()), shard), path)
    for index in range(-(-count // (5 * shard))):
        path = folder / f"bare-{index:04d}.npz"
        if not path.exists():
            key = seed * 1_000_003 + 500_000 + index
            save(collect(heard(bare("train", key, ring), key, Rough()), shard), path)


def _make_tests(folder: Path, seed: int, ring: int, count: int = 100) -> None:
    if not (folder / "test-seen.npz").exists():
        save(collect(heard(questions("test", seed, ring), -1 - seed, Rough()), count), folder / "test-seen.npz")
    for voice in HELD_OUT:
        path, rng = folder / f"test-{voice}.npz", Random(f"unseen/{seed}/{voice}")
        if not path.exists():
            texts = questions("test", seed + 1, ring)
            said = ((text, as_heard(speak_unseen(text, voice), voice, rng, CLEAN)) for text in texts)
            save(collect(said, count), path)
