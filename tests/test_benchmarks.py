"""The pages that the benchmarks of precisions and of solvers write; what they measure is tested where it lives."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.own_values import OwnValues
from omni_edge.export.precisions import BY_NAME, ONNX, choose
from omni_edge.export.subnetworks import EXPORTS
from omni_edge.models.errors import RequestError
from omni_edge.models.manifest import SUBNETWORKS

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[1]


@pytest.fixture
def load(monkeypatch):
    """Modules of the folder, which is no part of the package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def rows(load):
    page = load("page")

    def row(subnetwork, engine, precision, calibrated, size):
        return page.Row(
            subnetwork=subnetwork,
            engine=engine,
            precision=precision,
            calibrated=calibrated,
            bytes=size,
            bits_per_weight=4.5,
            size_of_error=1e-3 / size,
            error="KL 0.1 nats",
            metrics={},
            speeds=(page.Speed("steps/s", 1234.5, 1.5),),
        )

    names = ("audio_encoder", "vision_encoder", "flow", "vocoder")
    return [
        row("thinker", "onnx", "int4", True, 900),
        row("thinker", "llama", "q4_0", False, 800),
        row("talker", "onnx", "int8", False, 3000),
        *(row(name, "onnx", "fp32", False, 4000) for name in names),
    ]


def test_a_row_of_the_table_a_graph(load, rows):
    text = load("page").markdown(rows, {"processor": "a fast one"})
    lines = text.splitlines()
    assert "- processor: a fast one" in lines
    assert "| thinker | ONNX | int4, calibrated | 900 B | 4.50 | KL 0.1 nats | 1,234 steps/s (1.50×) |" in lines
    assert sum(line.startswith("| ") for line in lines) == 1 + len(rows)


def test_the_picture_has_a_point_a_graph_that_is_rounded(load, rows):
    drawn = ElementTree.fromstring(load("page").picture(rows))
    assert (
        sum(each.tag.endswith("circle") for each in drawn.iter()) == sum(row.precision != "fp32" for row in rows) == 3
    )
    said = {each.text for each in drawn.iter() if each.tag.endswith("text")}
    assert set(BY_NAME) >= load("page").NAMED
    assert {"int4 +", "q4_0", "thinker, GGUF: KL divergence in nats"} <= said


def test_every_precision_is_measured_wherever_it_makes_a_graph_of_its_own(load):
    bundles = load("bundles")
    rows = [(name, each.kind, each.calibrated) for each in bundles.ROUNDS for name in each.subnetworks]
    assert len(rows) == len(set(rows))
    assert len({each.name for each in bundles.ROUNDS}) == len(bundles.ROUNDS)
    measured = {(name, kind) for name, kind, _ in rows}
    assert {(name, bundles.same_as(name, kind)) for name, kind in exportable()} == measured
    assert {("thinker", kind, True) for kind in bundles.FITTED} < set(rows)


def exportable():
    """All that `--precision SUBNETWORK=KIND` takes."""
    for name in SUBNETWORKS:
        for kind in BY_NAME:
            with contextlib.suppress(RequestError):
                yield name, choose([f"{name}={kind}"])[name][0].name


@pytest.mark.slow
def test_what_is_not_measured_is_the_same_as_what_is(load, tmp_path):
    bundles, checkpoint = load("bundles"), Checkpoint(ROOT / "models" / "nano" / "checkpoint")

    def graph(kind):
        files = EXPORTS["flow"](checkpoint, tmp_path, BY_NAME[kind].rounding, lambda _: None).files
        return [(tmp_path / file).read_bytes() for file in files]

    others = [kind for kind in (each.name for each in ONNX) if bundles.same_as("flow", kind) != kind]
    assert others == ["int4-128+int8"]
    for kind in others:
        assert graph(kind) == graph(bundles.same_as("flow", kind))


def test_facts_name_no_place(load):
    found = load("page").facts(ROOT / "models" / "nano" / "checkpoint", 20, 9, 0)
    assert found["checkpoint"] == "nano"
    assert str(Path.home()) not in str(found)
    assert "onnxruntime" in found["versions"]


@pytest.fixture
def solver_rows(load):
    page = load("solver_page")

    def row(name, rows, distance, *, own=False):
        solver, points, guidance = name.split("-")
        some = page.Rate(0.1, 0.01)
        return page.Row(
            name=name,
            solver=solver,
            points=int(points),
            guidance=guidance,
            evaluations=rows,
            rows=rows,
            judged=some,
            judged_more=page.Rate(-0.002, 0.004),
            own=some,
            own_more=page.Rate(0.0, 0.01),
            mel_distance=distance,
            is_default=own,
            seconds=0.123,
        )

    return [row("euler-5-off", 4, 0.2, own=True), row("midpoint-3-early", 6, 0.1), row("rk4-10-on", 72, 0.0)]


def test_the_table_of_solvers_has_a_row_a_setting(load, solver_rows):
    page, off = load("solver_page"), load("lookahead").Off(1, 0.01, 0.5, 0.02)
    lines = page.markdown(page.Page({}, solver_rows, [page.Yardstick("x", 0.3)], {"ships": [off]}))
    table = [line for line in lines.splitlines() if line.startswith(("| euler", "| **euler", "| midpoint", "| rk4"))]
    assert table[0].startswith("| **euler**, default | 5 | off | 4 | 4 | 10.0 ± 1.0 % | -0.2 ± 0.4 % |")
    assert len(table) == 3
    assert "| ships | 1 | 0.0100 | 0.500 | 0.0200 |" in lines


def test_the_default_is_the_cheapest_that_is_clear_and_near(load, solver_rows):
    page = load("solver_page")
    ours, early, reference = solver_rows
    exact = msgspec.structs.replace(ours, evaluations=36, rows=36, mel_distance=0.18)
    assert page.choose([ours, early, reference, exact]) == ours
    unclear = msgspec.structs.replace(ours, judged_more=page.Rate(0.02, 0.01))
    assert page.choose([unclear, early, reference, exact]) == early
    far = msgspec.structs.replace(ours, mel_distance=0.22)
    assert page.choose([far, exact, reference]) == exact


def test_exports_are_solved_as_the_measurements_say(load):
    """The page in the repository and the default of new bundles are one choice."""
    measured = msgspec.json.decode((ROOT / "benchmarks" / "solvers.json").read_bytes(), type=load("solver_page").Page)
    chosen = load("solver_page").choose(measured.rows)
    values = OwnValues()
    found = (values.solver, values.steps, values.guidance > 0)
    assert found == (chosen.solver, chosen.points, chosen.guidance != "off")


def test_the_picture_of_solvers_leaves_the_reference_out_of_its_distances(load, solver_rows):
    drawn = ElementTree.fromstring(load("solver_page").picture(solver_rows))
    named = [each for each in drawn.iter() if each.tag.endswith("text")]
    assert [sum(each.text == label for each in named) for label in ("E4", "M6e", "R72g")] == [2, 2, 1]
    assert {each.text for each in named if each.get("class") == "marked"} == {"E4"}


def test_the_standard_error_is_that_of_repeated_draws(load):
    """Of a ratio of sums, against what drawing sentences anew comes to."""
    page, rng = load("solver_page"), np.random.default_rng(0)
    words = rng.integers(1, 9, 20_000)
    wrong = rng.binomial(words, 0.2)
    draws = rng.integers(0, len(words), (2000, 100))
    spread = np.std(wrong[draws].sum(1) / words[draws].sum(1))
    found = np.mean([page.rate(wrong[draw], words[draw]).error for draw in draws[:200]])
    assert found == pytest.approx(spread, rel=0.06)
    assert page.rate(wrong, words).value == pytest.approx(wrong.sum() / words.sum())


def test_a_difference_is_of_the_same_sentences(load):
    page = load("solver_page")
    same = page.difference([1, 0, 2], [1, 0, 2], [4, 4, 4])
    assert (same.value, same.error) == (0.0, 0.0)
    assert page.difference([2, 1, 3], [1, 0, 2], [4, 4, 4]).value == pytest.approx(0.25)


def test_every_way_of_solving_is_measured_once(load):
    solvers = load("solvers")
    found = solvers.settings()
    assert len({solvers.name_of(each) for each in found}) == len(found)
    assert solvers.REFERENCE in found
    counts = {solvers.name_of(each): solvers.evaluations(each, -1.0) for each in found}
    assert counts["rk4-10-on"] == (36, 36)
    assert counts["euler-5-off"] == (4, 0)
    assert counts["midpoint-5-early"] == (8, 4)


def test_a_long_reply_that_grows_is_seen(load):
    reply = load("reply")
    steady = reply.Course(
        [float(n) for n in range(1, 41)], [0.5 * n for n in range(1, 41)], [9_000_000, *[10_000_000] * 39]
    )
    assert steady.summary()["growth_mb"] == 0
    assert steady.summary()["last_over_first"] == 1
    assert steady.summary()["cost_first_tenth"] == 0.5
    grown = reply.Course(steady.speech_s, [0.01 * n * n for n in range(1, 41)], [n * 1_000_000 for n in range(1, 41)])
    assert grown.summary()["growth_mb"] == 35
    assert grown.summary()["last_over_first"] > 5
    assert [minute for minute, _ in grown.costs()] == [n / 60 for n in range(2, 41)]


def test_the_picture_of_long_replies_has_a_dot_a_sample(load):
    reply = load("reply")
    course = reply.Course([60.0, 120.0, 180.0], [1.0, 2.0, 3.0], [10**8] * 3)
    drawn = ElementTree.fromstring(reply.picture({"whole reply": course}))
    # Three of memory, two of cost, and the name's own in either.
    assert sum(each.tag.endswith("circle") for each in drawn.iter()) == 3 + 2 + 2


def test_the_readme_says_what_was_measured_last(load):
    readme = load("readme")
    table = readme.table(read(readme, ROOT / "benchmarks" / "precisions.json"))
    assert table.count("\n") > 12
    assert f"{readme.FIRST}{table}{readme.LAST}" in (ROOT / "README.md").read_text(encoding="utf-8")


def read(readme, path):
    return msgspec.json.decode(path.read_bytes(), type=readme.Measured)


def test_lines_of_the_readme_are_replaced_and_nothing_else_is(load, rows, tmp_path):
    readme, path = load("readme"), tmp_path / "README.md"
    path.write_text(f"before\n{readme.FIRST}old\n{readme.LAST}after\n")
    about = {"checkpoint": "nano", "processor": "Abacus", "cores": "2", "threads": "1"}
    readme.put(readme.Measured(about, rows), path)
    text = path.read_text()
    assert text.startswith(f"before\n{readme.FIRST}nano, Abacus, 2 cores")
    assert text.endswith(f"{readme.LAST}after\n")
    assert "old" not in text
    kinds = [line.split(" | ")[2] for line in text.splitlines() if line.startswith("| ")][1:]
    assert kinds == ["int8", *["fp32"] * 4]
