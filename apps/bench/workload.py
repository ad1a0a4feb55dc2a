"""What is timed: the same for every model, whatever it would have said."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from ...models.bundle import Bundle
from ...models.errors import RequestError
from ...models.manifest import SUBNETWORKS, Manifest, Sampling
from ...runtime.messages import Audio, Image
from ...runtime.options import Options

CODES_A_TOKEN = 15
"""Codes of 20 ms for a token of text: 150 words a minute, 1.3 tokens a word."""
QUESTION_S = 4.0
"""Seconds of the sound that is answered."""
SIDE = 448
"""Of the picture, in pixels."""
PREFILL = 512
STEPS = 64
"""Rows read at once by the thinker, and then one by one by thinker and talker, when timed alone."""
SPOKEN_CODES = 384
"""Codes that flow and vocoder turn into sound when timed alone: 8 seconds of the published models."""


@dataclass(frozen=True)
class Workload:
    """How much is made.

    Args:
        tokens: of the reply's text.
        codes: of its speech.
        seed: of everything random.
    """

    tokens: int
    codes: int
    seed: int

    def options(self, manifest: Manifest) -> Options:
        """Wishes under which a reply has just this length: what would end it is never drawn, so that models of noise,
        which never come to an end, and trained ones, which do when they like, do the same work."""
        return Options(
            text_sampling=_endless(manifest.thinker_sampling, self.tokens),
            code_sampling=_endless(manifest.talker_sampling, self.codes),
            seed=self.seed,
        )

    def question(self, manifest: Manifest) -> Audio:
        """Noise that swells and fades as speech does. A new one each time: a sound is encoded once."""
        rate = manifest.audio.rate
        count = round(QUESTION_S * rate)
        loudness = 0.1 * np.abs(np.sin(np.pi * 4 * np.arange(count) / rate))
        return Audio((loudness * self.rng().standard_normal(count)).astype(np.float32))

    def picture(self) -> Image:
        """Noise; a new one each time."""
        return Image(self.rng().integers(0, 256, (SIDE, SIDE, 3), np.uint8))

    def rng(self) -> np.random.Generator:
        """Of the seed."""
        return np.random.default_rng(self.seed)


def fitted(bundle: Bundle, tokens: int, codes: int | None, seed: int) -> Workload:
    """A workload that the bundle can do.

    Args:
        bundle: opened.
        tokens: of the text, 2 or more: the last one is never spoken.
        codes: of the speech; None: as many as the text would take.
        seed: 0 or more.

    Raises:
        RequestError: it cannot be done, and why.
    """
    manifest = bundle.manifest
    absent = [name for name in SUBNETWORKS if name not in manifest.subnetworks]
    if absent:
        raise RequestError(
            f"{bundle.folder} has no {' and no '.join(absent)}, so there is no spoken reply to time. "
            "Export the whole checkpoint"
        )
    work = Workload(tokens, tokens * CODES_A_TOKEN if codes is None else codes, seed)
    # Of the contexts, half is left to the prompt.
    limits = (
        ("tokens", work.tokens, manifest.thinker.context // 2),
        ("codes", work.codes, manifest.talker.context // 2),
    )
    if codes is None:
        work = replace(work, codes=min(work.codes, limits[1][2]))
        limits = limits[:1]
    for name, wanted, most in limits:
        if wanted > most:
            raise RequestError(f"{wanted} {name} are more than {manifest.name} can be timed with; use {most} or fewer")
    return work


def prefill_rows(manifest: Manifest) -> int:
    """Rows of a prompt that is timed alone."""
    return min(PREFILL, manifest.thinker.context // 2)


def _endless(sampling: Sampling, count: int) -> Sampling:
    return msgspec.structs.replace(sampling, max_tokens=count, suppress=(*sampling.suppress, *sampling.stop))
