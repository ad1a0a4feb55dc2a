"""What a caller may ask of one response, checked against what the model can do."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

import msgspec

from ..models.errors import RequestError
from ..models.manifest import Flow, Manifest, Sampling, SolverName
from .solver import FIRST_SHARE, LOOKAHEAD, Solver, own_solver


@dataclass(frozen=True)
class Options:
    """Wishes for one response; None takes the model's own value."""

    speech: bool = True
    """Whether the answer is spoken as well."""
    voice: str | None = None
    max_tokens: int | None = None
    """Longest text, in tokens."""
    max_codes: int | None = None
    """Longest speech, in codes (50 a second for the published models)."""
    greedy: bool = False
    """Take the likeliest token everywhere, text and speech."""
    text_sampling: Sampling | None = None
    code_sampling: Sampling | None = None
    solver: SolverName | None = None
    flow_steps: int | None = None
    """Time points of the flow's solver, as the reference's num_steps: N points are N-1 intervals."""
    guidance: float | None = None
    """Strength of the flow's guidance; 0 halves its cost."""
    guided_until: float | None = None
    """The flow's time, 0 to 1, until which it is guided: guidance early on costs less than throughout."""
    lookahead: int | None = None
    """Blocks of codes (12, a quarter of a second, for the published models) that the flow waits for beyond those it
    makes sound of: more are later and closer to what the whole speech at once would be. None waits for one, and before
    the first sound for a third of one."""
    seed: int | None = None
    """Of everything random; None draws one, which the statistics report."""


@dataclass(frozen=True)
class Plan:
    """Options with every value decided."""

    speech: bool
    voice: str
    text: Sampling
    codes: Sampling
    solver: Solver
    seed: int


def decide(options: Options, manifest: Manifest) -> Plan:
    """Fill in the model's values.

    Raises:
        RequestError: unknown voice, or a number that cannot be.
    """
    voices = manifest.voices
    voice = voices.default if options.voice is None else options.voice
    if voice not in voices.names:
        raise RequestError(f"there is no voice {voice!r} in {manifest.name}; it has {', '.join(voices.names)}")
    solver = _solver(options, manifest.flow)
    text = _sampling(options.text_sampling, manifest.thinker_sampling, options.max_tokens, options.greedy, "tokens")
    codes = _sampling(options.code_sampling, manifest.talker_sampling, options.max_codes, options.greedy, "codes")
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    if seed < 0:
        raise RequestError(f"seed {seed} is negative; use 0 or more")
    return Plan(options.speech, voice, text, codes, solver, seed)


def _solver(options: Options, settings: Flow) -> Solver:
    own = own_solver(settings)
    solver = Solver(
        options.solver or own.name,
        own.steps if options.flow_steps is None else options.flow_steps,
        own.guidance if options.guidance is None else options.guidance,
        LOOKAHEAD if options.lookahead is None else options.lookahead,
        max(1, settings.block // settings.repeats // FIRST_SHARE) if options.lookahead is None else None,
        own.guided_until if options.guided_until is None else options.guided_until,
    )
    if not 0 <= solver.guidance <= 10:
        raise RequestError(f"guidance {solver.guidance:g} is out of range; use 0 (off) to 10")
    if not 0 <= solver.guided_until <= 1:
        raise RequestError(f"guidance until {solver.guided_until:g} is out of range; use 0 (off) to 1 (throughout)")
    if solver.lookahead < 1:
        raise RequestError(f"a look-ahead of {solver.lookahead} blocks cannot be; use 1 or more")
    return solver


def fit(plan: Plan, manifest: Manifest, used: int) -> Plan:
    """Shorten the longest text and speech to what the model's contexts leave.

    Args:
        plan: decided.
        manifest: of the model.
        used: rows of the prompt, or the position after its last one if that is higher (clips count in time).

    Raises:
        RequestError: nothing is left.
    """
    # The talker also reads the voice and the reply's first token before its first code.
    most = min(manifest.thinker.context, manifest.talker.context)
    left = {"text": manifest.thinker.context - used, "codes": manifest.talker.context - used - 2}
    if min(left.values()) < 1:
        raise RequestError(
            f"the prompt takes {used} positions; this model has {most}. "
            "Shorten the text or the media (--max-pixels for pictures), or start a new conversation"
        )
    text, codes = (
        msgspec.structs.replace(sampling, max_tokens=min(sampling.max_tokens, left[what]))
        for what, sampling in (("text", plan.text), ("codes", plan.codes))
    )
    return replace(plan, text=text, codes=codes)


def _sampling(wish: Sampling | None, own: Sampling, limit: int | None, greedy: bool, what: str) -> Sampling:
    """The wish, or the model's own way; what ends a reply is the model's unless the wish says otherwise."""
    sampling = own
    if wish is not None:
        sampling = msgspec.structs.replace(wish, stop=wish.stop or own.stop, suppress=wish.suppress or own.suppress)
    if limit is not None:
        if limit < 1:
            raise RequestError(f"at most {limit} {what} cannot be; use 1 or more")
        sampling = msgspec.structs.replace(sampling, max_tokens=limit)
    if greedy:
        sampling = msgspec.structs.replace(sampling, temperature=0.0)
    return sampling
