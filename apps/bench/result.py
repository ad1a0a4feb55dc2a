"""What a benchmark comes to; `omni-edge bench --json` prints it as it stands here."""

from __future__ import annotations

import msgspec


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A stage alone on the machine; medians."""

    engine: str
    precision: str
    threads: int
    """Of one operator."""
    rows: int
    """How many were timed."""
    unit: str
    """What a row is."""
    seconds: float
    rows_per_s: float
    rtf: float
    """Seconds of work for a second of sound: heard by audio encoder and prefill, seen by the vision encoder, spoken by
    the others. Of thinker_decode and talker it is that of this workload's text and speech."""


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """The whole spoken reply with all stages at once, from the end of the input on; medians."""

    seconds: float
    audio_s: float
    rtf: float
    """seconds / audio_s."""
    cpu_s: float
    """Of all cores together: what the reply would take on one core, were nothing else to wait for."""
    tokens: int
    codes: int
    thinker_s: float
    talker_s: float
    flow_s: float
    vocoder_s: float
    """How long each was at work, side by side with the others."""


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """Another program on the same weights, measured in turns with this one."""

    peer: str
    precision: str
    unit: dict[str, str]
    own: dict[str, float]
    other: dict[str, float]
    ratio: dict[str, float]
    """own / other: above 1 is faster than the peer."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Times in seconds."""

    model: str
    machine: str
    repeats: int
    seed: int
    stages: dict[str, Stage]
    total: Total
    first_token_s: float
    first_code_s: float
    first_audio_s: float
    """From the end of the input, a sound that is then encoded and read, to the first of each."""
    playback_start_s: float
    """From there to when the loudspeaker should start, as the playout planner has it."""
    notice: str
    """What the planner would tell the listener of a machine slower than speech; empty for others."""
    underruns: int
    """Gaps in the worst repeat when it starts then."""
    underruns_at_once: int
    """Gaps in the worst repeat when it starts with the first sound."""
    peak_rss_mb: float | None
    """Largest resident memory of this process, in millions of bytes; none where the system does not tell."""
    against: Against | None = None
