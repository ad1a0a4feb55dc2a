"""An independent judge of speech: pocketsphinx that hears only the ring's words, each as likely as the other.

A sentence grammar would turn babble into well-formed sentences; a uniform unigram forgives nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import MissingExtra
from .lexicon import RINGS

HEARS_AT = 16_000  # Hz of pocketsphinx's acoustic model
UNLISTED = {"nano": "N AA N OW"}  # words of the ring that its dictionary lacks


class Listener:
    """The recogniser for a ring. Not safe across threads."""

    def __init__(self, ring: int = 1) -> None:
        try:
            import pocketsphinx  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("pocketsphinx", "judge", "judge speech") from error
        words = sorted(set(RINGS[ring].spoken))
        models = Path(pocketsphinx.get_model_path()) / "en-us"
        with tempfile.TemporaryDirectory() as folder:
            grammar, lexicon = Path(folder) / "uniform.lm", Path(folder) / "ring.dict"
            grammar.write_text(uniform_arpa(words))
            lexicon.write_text(_pronunciations(words, models / "cmudict-en-us.dict"))
            self._decoder: Any = pocketsphinx.Decoder(
                hmm=str(models / "en-us"), lm=str(grammar), dict=str(lexicon), loglevel="FATAL"
            )

    def hear(self, wave: npt.NDArray[np.float32], rate: int) -> str:
        """Words of a clip: [samples] in ±1 → text, empty when nothing was recognised."""
        import soxr

        # It was trained on recordings that begin and end in silence.
        quiet = np.zeros(HEARS_AT // 5, np.float32)
        samples = np.concatenate([quiet, soxr.resample(np.asarray(wave, np.float32), rate, HEARS_AT), quiet])
        noise = np.random.default_rng(0).standard_normal(len(samples)) * 3e-4  # digital silence confuses its features
        pcm = np.clip((samples + noise) * 32767, -32768, 32767).astype(np.int16)
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return "" if hypothesis is None else str(hypothesis.hypstr)


def uniform_arpa(words: Sequence[str]) -> str:
    """A unigram language model in ARPA format in which all words and the end are equally likely."""
    each = -log10(len(words) + 1)
    lines = ["-99 <s>", f"{each:.5f} </s>", *(f"{each:.5f} {word}" for word in words)]
    return "\n".join(["\\data\\", f"ngram 1={len(lines)}", "", "\\1-grams:", *lines, "", "\\end\\", ""])


def _pronunciations(words: Sequence[str], dictionary: Path) -> str:
    wanted, found = set(words), []
    for line in dictionary.read_text().splitlines():
        # Further pronunciations are listed as "word(2)".
        if line.split(" ", 1)[0].split("(", 1)[0] in wanted:
            found.append(line)
    listed = {line.split(" ", 1)[0] for line in found}
    found += [f"{word} {UNLISTED[word]}" for word in words if word not in listed]
    return "\n".join(found) + "\n"
