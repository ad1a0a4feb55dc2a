"""How well the speech side speaks: pocketsphinx's word error rate of each link, on held-out sentences.

`python -m omni_edge.models.nano.train.judge [SENTENCES]` judges every link whose state is in the work folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..world.listen import Listener
from ..world.speakers import SPEAKERS
from ..world.words_wrong import word_error_rate
from .codec import Codec, load_codec
from .flow import FlowShape, FlowTest, euler, new_flow
from .marathon import StageOptions, work_folder
from .measure import newest
from .pieces import encode
from .prompted import Prompter
from .talker import TalkerShape, TalkerStudent
from .utterances import Lesson
from .vocoder import VocoderShape, new_vocoder, synthesize
from .voices import RATE, VoiceCache, load_voices


@dataclass(frozen=True)
class Judged:
    """What was said and what was heard, by one link and one speaker."""

    link: str
    speaker: str
    pairs: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        words = sum(len(said.split()) for said, _ in self.pairs)
        return f"{self.link:12} {self.speaker:4} WER {100 * word_error_rate(self.pairs):5.1f} % of {words} words"


def averaged(folder: Path, name: str, module: nn.Module) -> bool:
    """Load the averaged weights of a stage; False when it has no state yet."""
    path = folder / f"{name}.pt"
    if path.exists():
        module.load_state_dict(torch.load(path, weights_only=True)["average"])
        module.eval()
    return path.exists()


class Judge:
    """Held-out sentences of both voices, and the links that can be judged."""

    def __init__(self, folder: Path, each: int, ring: int = 1) -> None:
        self.codec: Codec = load_codec(folder / "codec.safetensors")
        self.voices: tuple[VoiceCache, ...] = load_voices(folder / "voices")
        self._listener = Listener(ring)
        self.vocoder = new_vocoder(VocoderShape(), 0)
        averaged(folder, "vocoder", self.vocoder)
        self.test = FlowTest(self.voices, self.codec, each)
        self._folder = folder
        self._learner = newest(StageOptions(folder, 0, True))

    def links(self) -> Iterator[tuple[str, Callable[[], list[np.ndarray[Any, Any]]]]]:
        """Name of each link, and what makes its waves."""
        yield "teacher", self._teacher
        yield "copy", lambda: [self._wave(mel) for *_, mel in self.test.clips]
        yield (
            "centroids",
            lambda: [
                self._wave(torch.from_numpy(self.codec.decode(codes, index))) for index, _, codes, _ in self.test.clips
            ],
        )
        flow, student = new_flow(FlowShape(), 0), TalkerStudent(TalkerShape(), 0)
        has_flow, has_talker = averaged(self._folder, "flow", flow), averaged(self._folder, "talker", student)
        if has_flow:
            for steps in (1, 4):
                yield f"flow {steps}", lambda steps=steps: [self._wave(mel) for mel in self.test.mels(flow, steps)]
        if has_talker:
            codes = self._talk(student)
            yield (
                "talker",
                lambda: [
                    self._wave(torch.from_numpy(self.codec.decode(made, clip[0])))
                    for made, clip in zip(codes, self.test.clips, strict=True)
                ],
            )
            if has_flow:
                yield (
                    "talker flow",
                    lambda: [
                        self._wave(euler(flow, torch.from_numpy(made)[None], *self.test.speakers[clip[0]], 1)[0])
                        for made, clip in zip(codes, self.test.clips, strict=True)
                    ],
                )

    def judge(self, waves: Sequence[np.ndarray[Any, Any]], link: str) -> list[Judged]:
        """Listen to the waves of all clips, in their order."""
        heard = [self._listener.hear(wave, RATE) for wave in waves]
        results = []
        for index, speaker in enumerate(SPEAKERS):
            pairs = [(clip[1], text) for clip, text in zip(self.test.clips, heard, strict=True) if clip[0] == index]
            results.append(Judged(link, speaker.name, tuple(pairs)))
        return results

    def _teacher(self) -> list[np.ndarray[Any, Any]]:
        found = []
        for index, text, _, _ in self.test.clips:
            said = next(u for u in self.voices[index].utterances if u.text == text)
            wave = self.voices[index].wave()[said.start : said.start + said.samples]
            found.append(wave.astype(np.float32) / 32768)
        return found

    def _talk(self, student: TalkerStudent) -> list[np.ndarray[Any, Any]]:
        """Greedy codes of each clip's text."""
        lessons = [
            Lesson(text, index, np.array(encode(text)), codes, np.empty(0, np.int64))
            for index, text, codes, _ in self.test.clips
        ]
        prompted = Prompter(self._learner, None, {})(lessons, Random("judge"))
        spoken = [student.speak(one, item.speaker) for one, item in zip(prompted, lessons, strict=True)]
        known = [made[(made >= 1) & (made <= self.codec.top)].numpy() for made in spoken]
        lengths = [len(made) / len(clip[2]) for made, clip in zip(known, self.test.clips, strict=True)]
        print(f"talker lengths over the teacher's: {min(lengths):.2f} to {max(lengths):.2f}")
        # Silence at once is an error like any other; the listener needs something to listen to.
        return [made if len(made) else np.ones(10, np.int64) for made in known]

    @torch.no_grad()
    def _wave(self, mel: Tensor) -> np.ndarray[Any, Any]:
        return synthesize(self.vocoder, mel[None]).clamp(-1, 1)[0].numpy()


def main() -> None:
    """Judge all links and print a line for each."""
    torch.set_num_threads(1)
    judge = Judge(work_folder(), int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    only = sys.argv[2:]
    for link, make in judge.links():
        if only and link.split()[0] not in only:
            continue
        for result in judge.judge(make(), link):
            print(result, flush=True)
            if only:
                print("\n".join(f"    {said} | {heard}" for said, heard in result.pairs if said != heard))


if __name__ == "__main__":
    main()
