"""What each way to solve the flow costs, and how its speech sounds, measured on nano.

    python -m benchmarks.solvers [--shape BUNDLE]

The same codes are made sound by every solver, number of time points and kind of guidance. Writes solvers.md,
solvers.json and solvers.svg beside this file. What was heard is kept under build/solvers, so that a run which was
interrupted goes on; only the times are taken anew. Needs the dev and judge extras.
"""

from __future__ import annotations

import argparse
import time
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from omni_edge.export.own_values import OwnValues
from omni_edge.models.bundle import Bundle, open_bundle
from omni_edge.models.manifest import SolverName
from omni_edge.models.schedule import solver_times, time_points
from omni_edge.models.store import resolve
from omni_edge.quant.measures import mel_distance
from omni_edge.runtime.engine import open_session
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.solver import Solver

from .interleaved import medians
from .lookahead import Off, off
from .page import facts
from .solver_page import Page, Row, Yardstick, difference, markdown, picture, rate
from .solver_work import Heard, Hearing, Mels, Work

HERE = Path(__file__).parent
CHECKPOINT = HERE.parent / "models" / "nano" / "checkpoint"
STRENGTH, EARLY = 0.5, 0.25
"""Of guidance, and the time until which it is given where that is early on only."""
SETTINGS: dict[SolverName, dict[str, tuple[int, ...]]] = {
    "euler": {"off": (2, 3, 4, 5), "on": (3, 5)},
    "midpoint": {"off": (3,), "early": (5,), "on": (5,)},
    "rk4": {"off": (2, 3, 10), "on": (10,)},
}
"""Time points, by solver and guidance."""
POINTS: dict[SolverName, tuple[int, ...]] = {
    name: tuple(sorted({points for counts in kinds.values() for points in counts})) for name, kinds in SETTINGS.items()
}
REFERENCE = Solver("rk4", 10, STRENGTH)
"""As the reference class has it (FACTS §6.2)."""
LOOKAHEADS = (1, 2, 3)
FRAMES = 192
"""Of the speech that is timed: eight blocks of the published models."""
FEW = 25
"""Sentences that yardsticks and look-ahead are measured on, the first ones."""


def settings() -> list[Solver]:
    """All that are measured."""
    given = {"off": (0.0, 1.0), "early": (STRENGTH, EARLY), "on": (STRENGTH, 1.0)}
    return [
        Solver(name, points, given[kind][0], guided_until=given[kind][1])
        for name, kinds in SETTINGS.items()
        for kind, counts in kinds.items()
        for points in counts
    ]


def evaluations(solver: Solver, sway: float) -> tuple[int, int]:
    """How many there are, and how many of them are guided."""
    times = len(solver_times(solver.name, solver.steps, sway))
    intervals = solver.steps - 1
    guided = sum(map(solver.is_guided, time_points(solver.steps, sway)[:-1]))
    return times, guided * times // intervals


def main() -> None:
    """Measure, and write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7, help="of the sentences")
    parser.add_argument("--rounds", type=int, default=5, help="times each setting is timed")
    parser.add_argument("--shape", type=Path, help="a bundle of the published models' shape, for times")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the three files")
    given = parser.parse_args()
    bundle = open_bundle(resolve("nano"))
    measure = Measure(bundle, given.sentences, given.seed)
    rows, yardsticks = measure.rows(), measure.yardsticks()
    print("[times]", flush=True)
    seconds = measure.seconds(given.rounds)
    shape = {} if given.shape is None else shape_seconds(open_bundle(given.shape), given.rounds)
    rows = [msgspec.structs.replace(row, seconds=seconds[row.name], shape_seconds=shape.get(row.name)) for row in rows]
    page = Page(
        about={
            **{k: v for k, v in facts(CHECKPOINT, 0, given.rounds, 1).items() if k != "conversations"},
            "sentences": f"{given.sentences}, {measure.words} words, of seed {given.seed}",
        },
        rows=rows,
        yardsticks=yardsticks,
        lookahead=measure.lookahead(),
    )
    (given.out / "solvers.md").write_text(markdown(page), encoding="utf-8")
    (given.out / "solvers.svg").write_text(picture(rows), encoding="utf-8")
    (given.out / "solvers.json").write_bytes(msgspec.json.format(msgspec.json.encode(page), indent=1) + b"\n")


def name_of(solver: Solver) -> str:
    """Of a setting, for files and tables of times."""
    kind = "off" if not solver.guidance else "on" if solver.guided_until == 1 else "early"
    return f"{solver.name}-{solver.steps}-{kind}"


class Measure:
    """All figures of the page.

    Args:
        bundle: nano's.
        count, seed: of sentences.
    """

    def __init__(self, bundle: Bundle, count: int, seed: int) -> None:
        self._work = Work(bundle, CHECKPOINT, POINTS, count, seed, HERE.parent / "build" / "solvers")
        self._hearing = Hearing(self._work, lambda: self._reference)
        self._flow = bundle.manifest.flow
        own = OwnValues()  # of new bundles; nano has its own, for which it was trained
        self._default = Solver(own.solver, own.steps, own.guidance, guided_until=own.guided_until)

    @cached_property
    def _reference(self) -> Mels:
        return self._work.mels(self._work.flow, REFERENCE)

    @property
    def words(self) -> int:
        """That were said."""
        return sum(self._heard(REFERENCE).words)

    def _heard(self, solver: Solver) -> Heard:
        return self._hearing.heard(name_of(solver), lambda: self._work.mels(self._work.flow, solver))

    def rows(self) -> list[Row]:
        """Without times."""
        reference = self._heard(REFERENCE)
        return [self._row(solver, self._heard(solver), reference) for solver in settings()]

    def _row(self, solver: Solver, heard: Heard, reference: Heard) -> Row:
        total, guided = evaluations(solver, self._flow.sway)
        return Row(
            name=name_of(solver),
            solver=solver.name,
            points=solver.steps,
            guidance=name_of(solver).rpartition("-")[2],
            evaluations=total,
            rows=total + guided,
            judged=rate(heard.judged, heard.words),
            judged_more=difference(heard.judged, reference.judged, heard.words),
            own=rate(heard.own, heard.words),
            own_more=difference(heard.own, reference.own, heard.words),
            mel_distance=heard.mel_distance,
            is_default=solver == self._default,
        )

    def yardsticks(self) -> list[Yardstick]:
        """How far mels of the reference's setting lie apart where something else than the solver is changed."""
        work = self._work
        reference = np.concatenate(work.mels(work.flow, REFERENCE, count=FEW))
        others = {
            "another seed of the noise": work.mels(work.flow, REFERENCE, seed=1, count=FEW),
            "the graph in floats": work.mels(work.exact, REFERENCE, count=FEW),
        }
        return [Yardstick(what, mel_distance(reference, np.concatenate(mels))) for what, mels in others.items()]

    def lookahead(self) -> dict[str, list[Off]]:
        """Of the default, on the graph that ships and on the same in floats, by graph."""
        said = [(np.array(each.codes), each.voice) for each in self._work.said[:FEW]]
        graphs = {"ships": self._work.flow, "floats": self._work.exact}
        return {
            name: [off(flow, said, self._default, blocks) for blocks in LOOKAHEADS] for name, flow in graphs.items()
        }

    def seconds(self, rounds: int) -> dict[str, float]:
        """Processor time of one thread for a second of speech, by setting."""
        codes = np.concatenate([each.codes for each in self._work.said])[: FRAMES // self._flow.repeats]
        noise, voice = Noise(0, self._flow.mel_bins), self._work.bundle.manifest.voices.default
        runs = {
            name_of(solver): lambda solver=solver: self._work.flow.mel(codes, voice, noise, solver)
            for solver in settings()
        }
        return {name: taken * 100 / FRAMES for name, taken in medians(runs, rounds, time.process_time).items()}


def shape_seconds(bundle: Bundle, rounds: int) -> dict[str, float]:
    """The same on another bundle: a setting's evaluations times what one takes."""
    flow_settings = bundle.manifest.flow
    flow = Flow(open_session(bundle, "flow", 1), flow_settings, bundle.path(flow_settings.tables))
    codes = np.random.default_rng(0).integers(0, flow_settings.codes, FRAMES // flow_settings.repeats)
    noise, voice = Noise(0, flow_settings.mel_bins), bundle.manifest.voices.default
    runs = {
        kind: lambda solver=solver: flow.mel(codes, voice, noise, solver)
        for kind, solver in (("alone", Solver("euler", 2, 0.0)), ("guided", Solver("euler", 2, STRENGTH)))
    }
    times = {kind: seconds * 100 / FRAMES for kind, seconds in medians(runs, rounds, time.process_time).items()}
    found = {}
    for solver in settings():
        total, guided = evaluations(solver, flow_settings.sway)
        found[name_of(solver)] = (total - guided) * times["alone"] + guided * times["guided"]
    return found


if __name__ == "__main__":
    main()
