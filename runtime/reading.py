"""Messages to the caches of thinker and talker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import AudioFrontEnd, Clock
from .mel import FRAMES_PER_TOKEN
from .messages import Media, Message, Text, Tokens
from .perception import Rows
from .positions import Positions, Span, VideoWithAudioSize, mrope, span_length
from .prompt import Prompt
from .stages import Stages
from .thinker import Reading

RUN = 256
"""Most rows of one run: whoever waits for it to end waits no longer than for these."""
Place = Callable[[int, Sequence[Span], Clock, int], Positions]
"""Like `mrope`."""


@dataclass(frozen=True, eq=False)
class Draft:
    """A prompt with its messages and its places."""

    messages: tuple[Message, ...]
    prompt: Prompt
    places: Positions
    stops: tuple[int, ...]
    """Where runs end, see `Reading`."""

    @property
    def media(self) -> list[Media]:
        """Sounds, pictures and clips, in order."""
        return [part for message in self.messages for part in message.parts if not isinstance(part, (Text, Tokens))]

    @property
    def used(self) -> int:
        """Rows, or the position after the last one if that is higher (clips count in time)."""
        return max(len(self.prompt.ids), self.places.next_position)


class Reader:
    """Brings prompts into the caches, and no row twice.

    Args:
        stages: of one bundle.
        place: what gives tokens their positions.
    """

    def __init__(self, stages: Stages, place: Place = mrope) -> None:
        self.stages = stages
        self._place = place

    def draft(self, messages: Sequence[Message]) -> Draft:
        """The prompt of a conversation up to where the model answers; its media are decoded.

        Raises:
            RequestError, MediaError: it cannot be asked; see `PromptBuilder.build` and `Perception.features`.
        """
        parts = [part for message in messages for part in message.parts if not isinstance(part, (Text, Tokens))]
        sizes = [self.stages.perception.features(part).size for part in parts]
        prompt = self.stages.prompts.build(messages, sizes)
        places = self._places(prompt, len(prompt.ids))
        return Draft(tuple(messages), prompt, places, _stops(prompt, self.stages.bundle.manifest.audio))

    def spoken_places(self, draft: Draft) -> NDArray[np.int64]:
        """Positions [3, P + 2] of the prompt and two tokens of text, to the talker the voice and the reply's first."""
        return self._places(draft.prompt, len(draft.prompt.ids) + 2).rows

    def reads(self, draft: Draft, *, speech: bool) -> bool:
        """Whether the engines can read the prompt where its tokens stand."""
        if not self.stages.thinker.reads(draft.places.rows):
            return False
        return not speech or self.stages.speech.reads(self.spoken_places(draft))

    def reads_clips(self, *, speech: bool) -> bool:
        """Whether the engines can read a clip together with its sound."""
        manifest = self.stages.bundle.manifest
        clock, merge = manifest.clock, manifest.vision.merge
        size = VideoWithAudioSize((2, merge, merge), clock.seconds_per_chunk / 2, clock.ids_per_second)
        places = self._place(1 + span_length(size, merge), [Span(1, size)], clock, merge).rows
        return self.stages.thinker.reads(places) and (not speech or self.stages.speech.reads(places))

    def encode(self, draft: Draft) -> None:
        """Encode its media, as far as they have not been."""
        for part in draft.media:
            self.stages.perception.rows(part)

    def read(self, draft: Draft) -> int:
        """Bring the thinker's cache to the prompt, and take from the talker's what is not part of it.

        Returns:
            How many rows were in the thinker's cache already.
        """
        kept = self.stages.thinker.read(self._reading(draft, len(draft.prompt.ids)), draft.places.next_position)
        self.stages.speech.keep(kept)
        return kept

    def read_ahead(self, draft: Draft, stop: int, *, speech: bool) -> tuple[int, int]:
        """Read on in the first `stop` rows of a prompt that is still growing, one run.

        Args:
            draft: the prompt as it would be if it ended now.
            stop: its rows that cannot change any more; one of its stops.
            speech: whether the talker reads as well.

        Returns:
            How many of those rows the thinker had read before, and how many it has read now.
        """
        reading, thinker = self._reading(draft, stop), self.stages.thinker
        before = thinker.common(reading)
        after = thinker.read_ahead(reading)
        self.stages.speech.keep(before)
        if speech:
            self.stages.speech.read(thinker.context.talker_rows[:after], draft.places.rows, draft.stops)
        return before, after

    def _places(self, prompt: Prompt, length: int) -> Positions:
        manifest = self.stages.bundle.manifest
        return self._place(length, prompt.spans, manifest.clock, manifest.vision.merge)

    def _reading(self, draft: Draft, stop: int) -> Reading:
        prompt, encoded = draft.prompt, [self.stages.perception.rows(part) for part in draft.media]
        marks = np.zeros(len(prompt.ids), np.int64)
        for index, _, mark in _placed(prompt, encoded):
            marks[index] = mark
        ids = prompt.ids[:stop]

        def rows(start: int, end: int) -> NDArray[np.float32]:
            merged = self.stages.thinker.embed(ids[start:end])
            for index, values, _ in _placed(prompt, encoded):
                here = (index >= start) & (index < end)
                merged[index[here] - start] = values[here]
            return merged

        stops = tuple(each for each in draft.stops if each <= stop)
        return Reading(ids, draft.places.rows[:, :stop], marks[:stop], rows, stops)


def _stops(prompt: Prompt, front: AudioFrontEnd) -> tuple[int, ...]:
    """Before each medium, after each full chunk of its sound, and every RUN rows in between."""
    chunk = front.chunk_frames // FRAMES_PER_TOKEN
    cuts = {0, len(prompt.ids)}
    for span, rows in zip(prompt.spans, prompt.rows, strict=True):
        # One token begins every medium, and which one it is tells a sound from a clip.
        cuts.add(span.start - 1)
        cuts.update((rows.audio[chunk - 1 :: chunk] + 1).tolist())
    ends = sorted(cuts)
    runs = [range(start + RUN, stop, RUN) for start, stop in pairwise(ends)]
    return tuple(sorted(cuts.union(*runs) - {0}))


def _placed(
    prompt: Prompt, encoded: list[Rows]
) -> list[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]]:
    """Places in the prompt, encoder rows and their marks."""
    return [
        (index, values, marks)
        for places, rows in zip(prompt.rows, encoded, strict=True)
        for index, values, marks in (
            (places.audio, rows.audio, rows.audio_marks),
            (places.vision, rows.vision, rows.vision_marks),
        )
        if values is not None
    ]
