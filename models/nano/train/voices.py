"""The voices nano speaks with: sentences said by two flite voices, kept on disk with their mels and word times.

Layout of a speaker's cache (everything is appended, so that a stopped run goes on where it was):
`<name>.pcm` int16 samples at 24 kHz, `<name>.mel` float16 frames of 80, `<name>.jsonl` one `Utterance` a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..world.flite import Flite
from ..world.grammar import half_of
from ..world.speakers import SPEAKERS, Speaker
from ..world.spoken import SILENCE, Span
from .marathon import work_folder

RATE = 24_000  # Hz, of everything token2wav makes
HOP = 240  # samples of a mel frame: 100 frames a second
UNIT = 2 * HOP  # samples of a code: 50 codes a second
MELS = 80
N_FFT = 1024
TOP_HZ = 8_000.0  # flite's voices hold nothing above
FLOOR = -11.0  # BigVGAN's input window ends at ln -10.94: what lies below cannot be told apart
COND = 16  # width of the speaker vector that the flow reads
REF_FRAMES = 120  # frames of the reference mel, 1.2 s

F32 = npt.NDArray[np.float32]
I16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Utterance:
    """One sentence of the cache: where its samples lie, and when its words and phones sound (seconds)."""

    text: str
    start: int  # first sample in the pcm file; a multiple of UNIT, so frames and codes are aligned too
    samples: int
    words: tuple[Span, ...]
    phones: tuple[Span, ...]

    @property
    def held_out(self) -> bool:
        """Whether this sentence is kept from training, by its text alone: both voices keep out the same ones."""
        return held_out(self.text)


def held_out(text: str) -> bool:
    """The grammar's test half, of which one- and two-word answers are no part: there are too few of them."""
    return len(text.split()) > 2 and half_of(text) == "test"


class VoiceCache:
    """All that one speaker said, read through memory maps."""

    def __init__(self, speaker: Speaker, folder: Path) -> None:
        self.speaker = speaker
        self._stem = folder / speaker.name
        index = self._stem.with_suffix(".jsonl")
        lines = index.read_text().splitlines() if index.exists() else []
        self.utterances = [_utterance(json.loads(line)) for line in lines]

    @property
    def samples(self) -> int:
        """Length of all audio, in samples."""
        return self.utterances[-1].start + self.utterances[-1].samples if self.utterances else 0

    def wave(self) -> I16:
        """All samples, memory-mapped: [samples]."""
        return np.memmap(self._stem.with_suffix(".pcm"), dtype=np.int16, mode="r", shape=(self.samples,))

    def mel(self) -> npt.NDArray[np.float16]:
        """All frames, memory-mapped: [samples / HOP, 80], natural log, at least FLOOR."""
        return np.memmap(self._stem.with_suffix(".mel"), dtype=np.float16, mode="r", shape=(self.samples // HOP, MELS))

    def extend(self, texts: Iterable[str], flite: Flite) -> int:
        """Say the texts that are not in the cache yet; returns how many were new."""
        known = {utterance.text for utterance in self.utterances}
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix, size in ((".pcm", 2 * self.samples), (".mel", 2 * self.samples // HOP * MELS)):
            path = self._stem.with_suffix(suffix)
            path.touch()
            os.truncate(path, size)  # a run that was killed may have left half an utterance
        added = 0
        with (
            self._stem.with_suffix(".pcm").open("ab") as pcm,
            self._stem.with_suffix(".mel").open("ab") as mel,
            self._stem.with_suffix(".jsonl").open("a") as index,
        ):
            for text in texts:
                if text in known:
                    continue
                known.add(text)
                wave, words, phones = say(flite, text, self.speaker)
                utterance = Utterance(text, self.samples, len(wave), words, phones)
                pcm.write(np.round(wave * 32767).astype(np.int16).tobytes())
                mel.write(log_mel(wave).astype(np.float16).tobytes())
                pcm.flush()
                mel.flush()
                index.write(json.dumps(asdict(utterance)) + "\n")
                index.flush()
                self.utterances.append(utterance)
                added += 1
        return added


def _utterance(record: Mapping[str, Any]) -> Utterance:
    spans = {key: tuple((name, start, end) for name, start, end in record[key]) for key in ("words", "phones")}
    return Utterance(record["text"], record["start"], record["samples"], **spans)


def say(flite: Flite, text: str, speaker: Speaker) -> tuple[F32, tuple[Span, ...], tuple[Span, ...]]:
    """One sentence at 24 kHz: samples in ±1, and the spans of words and phones in seconds.

    Silence is cut to about 60 ms at each end, and the length to a multiple of UNIT.
    """
    import soxr

    spoken = flite.speak(text, speaker.name, pitch=speaker.pitch)
    wave = soxr.resample(spoken.samples, spoken.rate, RATE).astype(np.float32)
    starts = [start for _, start in spoken.phones]
    ends = [*starts[1:], len(spoken.samples) / spoken.rate]
    spans = [(name, start, end) for (name, start), end in zip(spoken.phones, ends, strict=True)]
    first, last = _sounding(wave)
    sounding = [(start, end) for name, start, end in spans if name != SILENCE]
    first, last = max(first, int(sounding[0][0] * RATE)), min(last, int(sounding[-1][1] * RATE))
    margin = int(0.06 * RATE)
    first = max(0, first - margin)
    length = (min(len(wave), last + margin) - first) // UNIT * UNIT
    shift, end = first / RATE, length / RATE
    words, phones = (
        tuple(
            (name, round(min(max(a - shift, 0.0), end), 4), round(min(max(b - shift, 0.0), end), 4))
            for name, a, b in timed
        )
        for timed in (spoken.words, spans)
    )
    return wave[first : first + length], words, phones


def _sounding(wave: F32) -> tuple[int, int]:
    """First and last sample of what is louder than 50 dB below the loudest 10 ms."""
    frames = wave[: len(wave) // HOP * HOP].reshape(-1, HOP)
    energy = np.sqrt(np.mean(frames**2, axis=1))
    loud = np.flatnonzero(energy > energy.max() * 10 ** (-50 / 20))
    return int(loud[0]) * HOP, int(loud[-1] + 1) * HOP


@cache
def mel_bank() -> F32:
    """Slaney's filters over the magnitude spectrum: [N_FFT / 2 + 1, 80], up to TOP_HZ."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(N_FFT // 2 + 1, MELS, 0.0, TOP_HZ, RATE, norm="slaney", mel_scale="slaney")
    return np.ascontiguousarray(bank, dtype=np.float32)


def log_mel(wave: F32) -> F32:
    """Natural-log mel of the magnitude spectrum, as BigVGAN's input window expects it.

    Args:
        wave: [samples] in ±1, a multiple of HOP.

    Returns:
        [samples / HOP, 80], at least FLOOR. Frame i is centred on the middle of hop i.
    """
    pad = (N_FFT - HOP) // 2
    padded = np.pad(wave, pad, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    magnitude = np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32)
    return np.maximum(np.log(np.maximum(magnitude @ mel_bank(), 1e-5)), FLOOR)


def voices_record(bos: Mapping[str, int], folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """The content of spk_dict.pt.

    Args:
        bos: token id that opens the talker's turn, by speaker name.
        folder: of the voice caches.

    Returns:
        name → bos_token (int), cond float32 [1, COND], ref_mel float32 [1, REF_FRAMES, 80].
    """
    record: dict[str, dict[str, Any]] = {}
    for index, speaker in enumerate(SPEAKERS):
        mel = reference_mel(VoiceCache(speaker, folder or work_folder() / "voices"))
        record[speaker.name] = {
            "bos_token": bos[speaker.name],
            "cond": torch.from_numpy(cond_vector(index))[None],
            "ref_mel": torch.from_numpy(mel)[None],
        }
    return record


def cond_vector(index: int) -> F32:
    """The fixed vector by which the flow knows a speaker: [COND], of unit variance."""
    return np.random.default_rng(1000 + index).standard_normal(COND).astype(np.float32)


def reference_mel(voice: VoiceCache) -> F32:
    """REF_FRAMES frames of the first training sentence that is long enough: [REF_FRAMES, 80]."""
    for utterance in voice.utterances:
        if not utterance.held_out and utterance.samples >= REF_FRAMES * HOP:
            start = utterance.start // HOP
            return np.asarray(voice.mel()[start : start + REF_FRAMES], dtype=np.float32)
    raise ValueError(f"no sentence of {voice.speaker.name} has {REF_FRAMES} frames")


def load_voices(folder: Path | None = None, speakers: Sequence[Speaker] = SPEAKERS) -> tuple[VoiceCache, ...]:
    """The caches of the speakers, in their order."""
    return tuple(VoiceCache(speaker, folder or work_folder() / "voices") for speaker in speakers)
