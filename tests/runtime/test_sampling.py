"""Drawing a token equals transformers' logits processors, ties included, and repeats with the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.models.manifest import Sampling
from omni_edge.runtime import sampling as module
from omni_edge.runtime.sampling import Sampler


class Dial:
    """A source of randomness that says what it is told."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def settings(**values: Any) -> Sampling:
    return Sampling(max_tokens=9, **values)


def pick(logits: np.ndarray, sampling: Sampling, seen: list[int], dial: float = 0.0) -> int:
    return Sampler(sampling, logits.size, Dial(dial), seen).pick(logits)  # type: ignore[arg-type]


@st.composite
def cases(draw: Callable[..., Any]) -> tuple[np.ndarray, list[int], list[int]]:
    """Logits with many ties, ids that occurred, ids that are suppressed (never all)."""
    size = draw(st.integers(3, 30))
    steps = draw(st.lists(st.integers(-6, 6), min_size=size, max_size=size))
    ids = st.integers(0, size - 1)
    suppressed = draw(st.lists(ids, max_size=size - 1, unique=True))
    return np.array(steps, np.float32) / 2, draw(st.lists(ids, max_size=6)), suppressed


def processed(logits: np.ndarray, seen: list[int], sampling: Sampling) -> np.ndarray:
    """Scores as transformers' processors and warpers leave them."""
    torch = pytest.importorskip("torch")
    import transformers.generation.logits_process as reference

    chain: list[Any] = []
    if sampling.repetition_penalty != 1.0 and seen:
        chain.append(reference.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.suppress:
        chain.append(reference.SuppressTokensLogitsProcessor(list(sampling.suppress)))
    if sampling.temperature:
        chain.append(reference.TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            chain.append(reference.TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            chain.append(reference.TopPLogitsWarper(sampling.top_p))
    ids = torch.tensor([seen], dtype=torch.long)
    scores = torch.from_numpy(logits.copy())[None]
    for step in chain:
        scores = step(ids, scores)
    return scores[0].numpy()


@pytest.mark.torch
@given(cases(), st.sampled_from([1.0, 1.05, 1.7]))
def test_greedy_is_the_references_argmax(case, penalty):
    logits, seen, suppressed = case
    sampling = settings(repetition_penalty=penalty, suppress=tuple(suppressed))
    assert pick(logits, sampling, seen) == int(processed(logits, seen, sampling).argmax())


@pytest.mark.torch
@given(
    cases(),
    st.sampled_from([1.0, 1.05]),
    st.sampled_from([0.3, 0.9, 1.0, 2.0]),
    st.sampled_from([0, 1, 2, 5, 100]),
    st.sampled_from([0.05, 0.31, 0.8, 0.97, 1.0]),
)
def test_every_token_has_the_references_probability(case, penalty, temperature, top_k, top_p):
    logits, seen, suppressed = case
    sampling = settings(
        repetition_penalty=penalty, suppress=tuple(suppressed), temperature=temperature, top_k=top_k, top_p=top_p
    )
    without = processed(logits, seen, settings(**{**_values(sampling), "top_p": 1.0}))
    ordered = np.sort(np.exp(without - without.max()).astype(np.float64))
    tails = np.cumsum(ordered / ordered.sum())
    if np.abs(tails - (1 - top_p)).min() < 1e-5:
        return  # the last token of the nucleus hangs on the rounding of one sum
    scores = processed(logits, seen, sampling)
    kept = np.sort(scores[np.isfinite(scores)].astype(np.float64))[::-1]
    weights = np.exp(kept - kept[0])
    weights /= weights.sum()
    # A dial set to the middle of each token's share brings up a token of that score; ties have no order.
    middles = np.cumsum(weights) - weights / 2
    final = processed(logits, seen, settings(**{**_values(sampling), "top_p": 1.0}))
    for middle, score in zip(middles, kept, strict=True):
        assert final[pick(logits, sampling, seen, middle)] == pytest.approx(score)


def _values(sampling: Sampling) -> dict[str, Any]:
    return {name: getattr(sampling, name) for name in sampling.__struct_fields__ if name != "max_tokens"}


def by_sorting(scores: np.ndarray, top_k: int, top_p: float, dial: float) -> tuple[int, float]:
    """The token of a dial when the whole vocabulary is put in order, and how near to another token's share it is."""
    ordered = np.argsort(-scores, kind="stable")
    kept = int((scores >= scores[ordered[top_k - 1]]).sum()) if 0 < top_k < scores.size else scores.size
    weights = np.exp((scores - scores.max())[ordered[:kept]].astype(np.float64))
    weights /= weights.sum()
    before = np.cumsum(weights) - weights
    edge = np.abs(before - top_p).min() if top_p < 1 else 1.0
    weights = weights[before < top_p]
    shares = np.cumsum(weights / weights.sum())
    place = min(int(np.searchsorted(shares, dial, side="right")), len(shares) - 1)
    return int(ordered[place]), min(edge, float(np.abs(shares[:-1] - dial).min(initial=1.0)))


@given(
    st.integers(1, 400),
    st.integers(0, 2**32),
    st.sampled_from([0.3, 2.0, 20.0]),
    st.sampled_from([0, 1, 3, 50]),
    st.sampled_from([0.3, 0.9, 1.0]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 9),
)
def test_ordering_a_part_draws_what_ordering_all_draws(size, seed, spread, top_k, top_p, dial, first):
    rng = np.random.default_rng(seed)
    # Halves, so that many are equal.
    logits = (np.round(rng.standard_normal(size) * 2 * spread) / 2).astype(np.float32)
    expected, edge = by_sorting(logits, top_k, top_p, dial)
    if edge < 1e-12:
        return  # sums in another order may round to the other side
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FIRST_ORDERED", first)
        assert pick(logits, settings(temperature=1.0, top_k=top_k, top_p=top_p), [], dial) == expected


@given(cases(), st.sampled_from([0, 2]), st.sampled_from([0.5, 1.0]))
def test_the_largest_random_number_still_brings_a_possible_token(case, top_k, top_p):
    logits, seen, suppressed = case
    sampling = settings(temperature=1.0, suppress=tuple(suppressed), top_k=top_k, top_p=top_p)
    assert pick(logits, sampling, seen, np.nextafter(1.0, 0.0)) not in suppressed


@given(cases(), st.integers(0, 2**32))
def test_the_same_seed_draws_the_same_tokens(case, seed):
    logits, seen, _ = case
    sampling = settings(temperature=1.5, repetition_penalty=1.2, top_k=8, top_p=0.9)
    first, second = (Sampler(sampling, logits.size, np.random.default_rng(seed), seen) for _ in range(2))
    assert [first.pick(logits) for _ in range(8)] == [second.pick(logits) for _ in range(8)]


def test_logits_are_left_alone_and_ids_outside_the_vocabulary_do_not_count():
    logits = np.array([1.0, 3.0, 2.0], np.float32)
    before = logits.copy()
    assert pick(logits, settings(temperature=0.7, repetition_penalty=2.0, suppress=(0,)), [7, -1, 275], 0.0) == 1
    assert (logits == before).all()


def test_a_drawn_token_counts_as_having_occurred():
    logits = np.array([1.0, 0.9, -5.0], np.float32)
    sampler = Sampler(settings(repetition_penalty=2.0), 3, np.random.default_rng(0))
    assert [sampler.pick(logits) for _ in range(3)] == [0, 1, 0]


def test_shares_are_those_of_softmax():
    logits = np.log(np.array([0.1, 0.6, 0.3], np.float32))
    sampler = Sampler(settings(temperature=1.0), 3, np.random.default_rng(0))
    counts = np.bincount([sampler.pick(logits) for _ in range(4000)], minlength=3) / 4000
    assert np.abs(counts - [0.1, 0.6, 0.3]).max() < 0.03
