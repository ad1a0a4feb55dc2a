"""omni-edge bench: what it prints and what it refuses; how fast anything is, is no matter of tests."""

from __future__ import annotations

import importlib.util
import json
import shutil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.apps.bench import peers, workload
from omni_edge.apps.bench.child import Child
from omni_edge.apps.bench.memory import peak_rss
from omni_edge.apps.bench.reply import Spoken, planned, underruns_at_once
from omni_edge.apps.bench.result import Against, Result, Stage, Total
from omni_edge.apps.bench.table import against_cells, number, print_tables
from omni_edge.models.bundle import open_bundle, write_manifest
from omni_edge.models.errors import DeviceError
from omni_edge.runtime.options import decide
from omni_edge.runtime.playout import Expected

STAGES = ["audio_encoder", "vision_encoder", "thinker_prefill", "thinker_decode", "talker", "flow", "vocoder"]
QUICK = ("--tokens", "4", "--codes", "30", "--repeats", "1")


@pytest.fixture
def quick(monkeypatch):
    """Little of everything: the tiny model's vocoder is as slow as that of nano."""
    for name, value in {"PREFILL": 20, "STEPS": 3, "SPOKEN_CODES": 24, "SIDE": 56, "QUESTION_S": 1.0}.items():
        monkeypatch.setattr(workload, name, value)
    for module in ("alone", "peers"):
        target = importlib.import_module(f"omni_edge.apps.bench.{module}")
        monkeypatch.setattr(target, "STEPS", 3)
    monkeypatch.setattr(importlib.import_module("omni_edge.apps.bench.alone"), "SPOKEN_CODES", 24)


def test_one_object_with_everything(inside, bundle, quick):
    result = inside("bench", bundle, "--json", *QUICK)
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert list(found["stages"]) == STAGES
    for stage in found["stages"].values():
        assert stage["rows_per_s"] == pytest.approx(stage["rows"] / stage["seconds"])
        assert stage["rtf"] > 0
        assert stage["threads"] >= 1
    total = found["total"]
    assert (total["tokens"], total["codes"]) == (4, 30)
    assert total["rtf"] == pytest.approx(total["seconds"] / total["audio_s"])
    assert 0 < found["first_token_s"] < found["first_code_s"] < found["first_audio_s"] <= found["playback_start_s"]
    assert found["underruns"] >= 0
    assert found["notice"] == "" or found["notice"].startswith("this machine makes 0")
    assert found["peak_rss_mb"] > 10
    assert found["against"] is None


def test_lines_for_a_pipe(inside, bundle, quick):
    result = inside("bench", bundle, *QUICK)
    assert result.code == 0, result.err
    lines = [line.split("\t") for line in result.out.splitlines()]
    assert [line[0] for line in lines[1 : 1 + len(STAGES)]] == [
        "audio encoder", "vision encoder", "thinker, prefill", "thinker, decode", "talker", "flow", "vocoder",
    ]  # fmt: skip
    assert {len(line) for line in lines[: 1 + len(STAGES)]} == {6}
    assert ["spoken reply", "4 tokens, 30 codes: 0.6 s of speech"] in lines


def test_a_length_is_forced_by_sampling_alone(bundle):
    manifest = open_bundle(bundle).manifest
    work = workload.fitted(open_bundle(bundle), 7, 9, 1)
    plan = decide(work.options(manifest), manifest)
    assert set(manifest.thinker_sampling.stop) <= set(plan.text.suppress)
    assert set(manifest.talker_sampling.stop) <= set(plan.codes.suppress)
    assert (plan.text.max_tokens, plan.codes.max_tokens) == (7, 9)
    assert plan.codes.temperature == manifest.talker_sampling.temperature


def test_without_a_wish_there_are_as_many_codes_as_fit(bundle):
    opened = open_bundle(bundle)
    most = opened.manifest.talker.context // 2
    assert workload.fitted(opened, 4, None, 1).codes == 60
    assert workload.fitted(opened, opened.manifest.thinker.context // 2, None, 1).codes <= most


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--codes", "9999999"), "codes are more than"),
        (("--tokens", "9999999"), "tokens are more than"),
        (("--against", "transformers", "--checkpoint", "nowhere/at-all"), "is not on this machine"),
        (("--against", "transformers", "--checkpoint", "nano"), "built in without"),
        (("--engine", "llama"), "for llama.cpp"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(inside, bundle, arguments, words):
    assert words in inside("bench", bundle, *arguments).complaint


def test_an_unknown_peer(inside, bundle):
    result = inside("bench", bundle, "--against", "mnn")
    assert result.code == 2
    assert "transformers" in result.err
    assert "llama.cpp" in result.err


@pytest.mark.parametrize(
    ("peer", "package", "extra"), [("llama.cpp", "llama_cpp", "llama"), ("transformers", "torch", "export")]
)
def test_a_peer_that_is_not_installed(inside, bundle, monkeypatch, peer, package, extra):
    found = importlib.util.find_spec
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == package else found(name))
    assert f"omni-edge[{extra}]" in inside("bench", bundle, "--against", peer).complaint


def test_a_bundle_without_speech(inside, bundle, tmp_path):
    folder = tmp_path / "mute"
    shutil.copytree(bundle, folder)
    manifest = open_bundle(folder).manifest
    networks = {name: value for name, value in manifest.subnetworks.items() if name not in ("talker", "flow")}
    write_manifest(folder, msgspec.structs.replace(manifest, subnetworks=networks))
    assert "has no talker and no flow" in inside("bench", folder).complaint


@pytest.mark.slow
@pytest.mark.torch
def test_the_reference_makes_the_same_reply(inside, bundle, tiny, quick):
    result = inside("bench", bundle, "--against", "transformers", "--checkpoint", tiny.checkpoint(), "--json", *QUICK)
    assert result.code == 0, result.err
    against = json.loads(result.out)["against"]
    assert against["ratio"]["reply"] == pytest.approx(against["own"]["reply"] / against["other"]["reply"])


def test_a_child_that_ends_is_an_error_in_its_own_words():
    with pytest.raises(DeviceError, match=r"a peer cannot be measured: .*No module named"):
        Child("omni_edge.no_such_module", "a peer", {})


def test_ratios_are_of_neighbours():
    class Other:
        name, precision, unit = "llama.cpp", "q4_0", {"talker": "codes/s"}

    # The machine was busy in the second round: both are slow in it.
    ours, theirs = [{"talker": value} for value in (20, 2, 22)], [{"talker": value} for value in (10, 1, 10)]
    against = peers.compared(Other(), ours, theirs)
    assert against.ratio == {"talker": 2.0}
    assert list(against_cells(against)) == [("talker", "20.00 codes/s", "10.00 codes/s", "2.00 x")]
    assert isinstance(against, Against)


arrivals = st.lists(st.tuples(st.integers(1, 5000), st.floats(0.01, 2)), min_size=1, max_size=20)


@given(arrivals)
def test_waiting_for_the_planner_never_makes_more_gaps_than_starting_at_once(waits):
    times, now = [], 0.0
    for size, wait in waits:
        now += wait
        times.append((size, now))
    reply = Spoken(None, now, 0.0, 0, 0, tuple(times))  # pyright: ignore
    total = sum(size for size, _ in waits)
    plan = planned(reply, 1000, Expected(1.0, (500, 1000), total))
    assert plan.underruns <= underruns_at_once(reply, 1000)


@given(st.floats(1e-4, 1e5))
def test_numbers_keep_two_figures_and_no_exponent(value):
    text = number(value)
    assert "e" not in text or value < 1e-4
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.06)


def test_memory_has_a_peak():
    held = bytearray(80_000_000)
    peak = peak_rss()
    assert peak is None or peak > len(held)


def test_the_tables_fit_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    stage = Stage(
        engine="onnx", precision="int8-dynamic", threads=2, rows=512, unit="frames", seconds=12.34, rows_per_s=12345,
        rtf=0.0123,
    )  # fmt: skip
    total = Total(
        seconds=1, audio_s=2, rtf=0.5, cpu_s=2, tokens=60, codes=900, thinker_s=1, talker_s=1, flow_s=1, vocoder_s=1
    )
    against = Against(
        peer="llama.cpp", precision="q4_0", unit={"talker": "codes/s"}, own={"talker": 90.0}, other={"talker": 60.0},
        ratio={"talker": 1.5},
    )  # fmt: skip
    result = Result(
        model="3b", machine="a processor", repeats=3, seed=1, stages=dict.fromkeys(STAGES, stage), total=total,
        first_token_s=1, first_code_s=2, first_audio_s=3, playback_start_s=4, notice="too slow", underruns=0,
        underruns_at_once=1, peak_rss_mb=None, against=against,
    )  # fmt: skip
    print_tables(result)
    out = capsys.readouterr().out
    assert "onnx int8-dynamic" in out
    assert "12,345 frames/s" in out
    assert "1.50 x" in out
    assert "too slow" in out
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) < 30  # nothing is broken in two but the longest facts
