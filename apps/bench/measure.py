"""All timings in turns, and what they come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ...models.manifest import EngineName
from ...runtime.engine import EngineChoice, choose_engines
from ...runtime.options import decide
from ...runtime.playout import Expected
from ...runtime.session import Session
from ...runtime.stages import Stages
from ...runtime.threads import threads_of
from ..progress import Tick
from .alone import Alone, Timed, Timing
from .memory import peak_rss
from .peers import Peer, compared
from .reply import Spoken, planned, spoken, underruns_at_once
from .result import Against, Result, Stage, Total
from .workload import Workload


@dataclass(frozen=True)
class Setup:
    """How it is measured.

    Args:
        work: what is timed.
        repeats: rounds that count; one more before them warms up.
        engine: of thinker and talker.
        threads: of one operator, as they were loaded; 0 is as `threads_of` has it.
        machine: in words.
    """

    work: Workload
    repeats: int
    engine: EngineChoice
    threads: int
    machine: str


def measured(stages: Stages, setup: Setup, peer: Peer | None, tick: Tick) -> Result:
    """Time each stage alone, a whole reply and the peer, in turns, so that a busy moment hits all of them alike.

    Args:
        stages: loaded; their caches are void afterwards.
        setup: see there.
        peer: ready, or None.
        tick: told of each timing.
    """
    session = Session(stages)
    timings = Alone(stages, setup.work).timings()
    found: dict[str, list[Timed]] = defaultdict(list)
    replies: list[Spoken] = []
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    steps: dict[str, Callable[[], object]] = {
        **{name: lambda name=name: found[name].append(timings[name].measure()) for name in timings},
        "reply": lambda: replies.append(spoken(session, setup.work, setup.work.question(session.manifest))),
    }
    if peer is not None:
        steps["reply, as the peer is asked"] = lambda: ours.append(peer.own(session, found))
        steps[peer.name] = lambda: theirs.append(peer.measure())
    total = (setup.repeats + 1) * len(steps)
    for index in range(total):
        name = list(steps)[index % len(steps)]
        tick(name, index, total)
        steps[name]()
    counted = {name: values[1:] for name, values in found.items()}
    against = None if peer is None else compared(peer, ours[1:], theirs[1:])
    return _result(stages, setup, timings, counted, replies[1:], against)


def _result(
    stages: Stages,
    setup: Setup,
    timings: Mapping[str, Timing],
    found: Mapping[str, Sequence[Timed]],
    replies: Sequence[Spoken],
    against: Against | None,
) -> Result:
    manifest, rate = stages.bundle.manifest, stages.bundle.manifest.vocoder.rate
    engines: dict[str, EngineName] = {**choose_engines(stages.bundle, setup.engine).of}

    def stage(timing: Timing, each: Sequence[Timed]) -> Stage:
        engine = engines.get(timing.subnetwork, "onnx")
        graph = manifest.subnetworks[timing.subnetwork].on(engine)
        assert graph is not None
        seconds, rows = median(one.seconds for one in each), each[0].rows
        return Stage(
            engine=engine,
            precision=graph.precision,
            threads=threads_of(setup.threads),
            rows=rows,
            unit=timing.unit,
            seconds=seconds,
            rows_per_s=rows / seconds,
            rtf=seconds / each[0].sound_s,
        )

    expected = Expected(
        speed=median(reply.speed for reply in replies),
        pieces=stages.speech.pieces(decide(setup.work.options(manifest), manifest).solver),
        longest=round(replies[0].stats.audio_s * rate),
    )
    plans = [planned(reply, rate, expected) for reply in replies]
    peak = peak_rss()
    return Result(
        model=manifest.name,
        machine=setup.machine,
        repeats=setup.repeats,
        seed=setup.work.seed,
        stages={name: stage(timing, found[name]) for name, timing in timings.items()},
        total=_total(replies),
        first_token_s=median(reply.stats.first_text_s for reply in replies),
        first_code_s=median(reply.stats.first_code_s for reply in replies),
        first_audio_s=median(reply.arrivals[0][1] for reply in replies),
        playback_start_s=median(plan.start_at() for plan in plans),
        notice=plans[-1].notice(),
        underruns=max(plan.underruns for plan in plans),
        underruns_at_once=max(underruns_at_once(reply, rate) for reply in replies),
        peak_rss_mb=None if peak is None else round(peak / 1e6, 1),
        against=against,
    )


def _total(replies: Sequence[Spoken]) -> Total:
    seconds, audio_s = median(reply.seconds for reply in replies), replies[0].stats.audio_s
    return Total(
        seconds=seconds,
        audio_s=audio_s,
        rtf=seconds / audio_s,
        cpu_s=median(reply.cpu_s for reply in replies),
        tokens=replies[0].tokens,
        codes=replies[0].codes,
        thinker_s=median(reply.stats.text_s for reply in replies),
        talker_s=median(reply.stats.talker_s for reply in replies),
        flow_s=median(reply.stats.flow_s for reply in replies),
        vocoder_s=median(reply.stats.vocoder_s for reply in replies),
    )
