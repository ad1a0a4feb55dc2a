"""The page that the benchmark of precisions writes; what it measures is tested where it lives."""

from __future__ import annotations

import importlib
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[1]


@pytest.fixture
def load(monkeypatch):
    """Modules of the folder, which is no part of the package."""
    pytest.importorskip("torch")
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


def test_the_picture_has_a_point_a_graph(load, rows):
    drawn = ElementTree.fromstring(load("page").picture(rows))
    assert sum(each.tag.endswith("circle") for each in drawn.iter()) == len(rows)
    assert {"+", "q4_0", "flow fp32"} <= {each.text for each in drawn.iter() if each.tag.endswith("text")}


def test_every_wish_is_measured_once(load):
    rounds = load("bundles").ROUNDS
    kinds = [(kind, each.calibrated) for each in rounds for kind in each.kinds]
    assert len(kinds) == len(set(kinds))
    assert {("int4-mixed", True), ("int4-mixed", False), ("q4_k_m", True), ("q4_k_m", False), ("f16", False)} < set(
        kinds
    )
    assert len({each.name for each in rounds}) == len(rounds)


def test_facts_name_no_place(load):
    found = load("page").facts(ROOT / "models" / "nano" / "checkpoint", 20, 9, 0)
    assert found["checkpoint"] == "nano"
    assert str(Path.home()) not in str(found)
    assert "onnxruntime" in found["versions"]
