"""Logits to a token: penalty, suppression, temperature, top-k, top-p, in the reference's order (FACTS §5)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Sampling

FIRST_ORDERED = 256
"""Ids that are put in order at first where top-k is off; the likeliest ones nearly always hold enough."""


class Sampler:
    """Draws tokens for one reply. It remembers which ids occurred, for the repetition penalty.

    Args:
        sampling: how to draw; temperature 0 takes the likeliest.
        vocab: number of logits.
        rng: source of randomness; not touched by greedy sampling.
        seen: ids that count as having occurred (the prompt).
    """

    def __init__(self, sampling: Sampling, vocab: int, rng: np.random.Generator, seen: Iterable[int] = ()) -> None:
        self.sampling = sampling
        self._rng = rng
        self._seen = np.zeros(vocab, np.bool_)
        self._seen[[token for token in seen if 0 <= token < vocab]] = True
        self._suppressed = list(sampling.suppress)

    def pick(self, logits: NDArray[np.float32]) -> int:
        """One token id.

        Args:
            logits: [vocab], left as they are.
        """
        scores = logits.astype(np.float32, copy=True)
        penalty = self.sampling.repetition_penalty
        if penalty != 1.0:
            hit = scores[self._seen]
            scores[self._seen] = np.where(hit < 0, hit * penalty, hit / penalty)
        scores[self._suppressed] = -np.inf
        token = int(scores.argmax()) if self.sampling.temperature == 0 else self._draw(scores)
        self._seen[token] = True
        return token

    def _draw(self, scores: NDArray[np.float32]) -> int:
        """From the likeliest ids, likeliest first; only as many are put in order as the draw can reach."""
        scores /= self.sampling.temperature
        top_k, top_p = self.sampling.top_k, self.sampling.top_p
        number = self._rng.random()
        if 0 < top_k < scores.size:
            ordered, weights = _likeliest(scores, top_k)
            weights /= weights.sum()
        else:
            total = np.exp(scores - scores.max(), dtype=np.float64).sum()
            count, reached = FIRST_ORDERED, top_p if top_p < 1.0 else number
            ordered, weights = _likeliest(scores, count)
            while count < scores.size and weights.sum() / total <= reached:
                count *= 8
                ordered, weights = _likeliest(scores, count)
            weights /= total
        if top_p < 1.0:
            # A token stays while those before it hold less than top_p; the first always does.
            above = np.cumsum(weights) - weights
            kept = max(1, int(np.searchsorted(above, top_p)))
            weights = weights[:kept] / weights[:kept].sum()
        shares = np.cumsum(weights)
        # The sum may round to just under 1; past it lie only ids of weight 0, the suppressed ones among them.
        below = min(number, np.nextafter(shares[-1], 0))
        return int(ordered[np.searchsorted(shares, below, side="right")])


def _likeliest(scores: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids with the `count` largest scores in falling order, and exp(score - largest).

    As the reference does, every score equal to the last one stays; equal ones are in the order of their ids.
    """
    if count < scores.size:
        ids = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    else:
        ids = np.arange(scores.size)
    ids = ids[np.argsort(-scores[ids], kind="stable")]
    return ids, np.exp(scores[ids] - scores[ids[0]], dtype=np.float64)
