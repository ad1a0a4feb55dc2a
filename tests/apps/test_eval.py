"""`omni-edge eval`: the suite, its control, and what it says when something is missing."""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
from itertools import islice
from random import Random

import numpy as np
import pytest

from omni_edge.apps.suite import asking, page, plots, skills
from omni_edge.models.manifest import Clock
from omni_edge.models.nano.world import espeak, flite
from omni_edge.models.nano.world.grammar import Clip, Item, Turn
from omni_edge.models.nano.world.spoken import SynthesiserMissing
from omni_edge.models.store import NANO
from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.clip import read_clip
from omni_edge.runtime.positions import AudioSize, Span, VideoWithAudioSize, interleaving, mrope

CLOCK = Clock(ids_per_second=25, seconds_per_chunk=2.0)


@pytest.fixture(scope="module")
def nano():
    load = importlib.import_module("omni_edge.runtime.loading").load
    return load("nano")


@pytest.fixture
def synthesisers():
    try:
        espeak.espeak()
        flite.flite()
    except SynthesiserMissing as error:
        pytest.skip(str(error))


def test_one_json_object_with_a_figure_a_line(inside):
    result = inside("eval", "--limit", "3", "--only", "see_typed", "--no-speech", "--json")
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report.keys() == {"see_typed"}
    assert report["see_typed"].keys() == {"metric", "value", "items"}
    assert report["see_typed"]["metric"] == "accuracy"
    assert report["see_typed"]["items"] == 3


def test_the_table_names_what_is_wanted(inside):
    result = inside("eval", "--limit", "2", "--only", "know_typed", "--no-speech")
    assert "know_typed" in result.out
    assert "≥ 97.0 %" in result.out


@pytest.mark.slow
def test_every_line_is_measured(inside, synthesisers):
    pytest.importorskip("pocketsphinx")
    result = inside("eval", "--limit", "2", "--only", "speech", "--json")
    report = json.loads(result.out)
    names = "heard_by_nano judged judged_slt teacher teacher_rms over_teacher ends real_time_factor"
    assert {f"speech_{name}" for name in names.split()} <= set(report)
    assert report["speech_judged"]["items"] == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "taste"), "no line of the suite begins with 'taste'"),
        (("--model", "no/such/folder"), "no/such/folder"),
    ],
)
def test_what_cannot_be_measured_is_told(inside, arguments, says):
    assert says in inside("eval", *arguments).complaint


@pytest.mark.torch
@pytest.mark.parametrize("line", ["beep_typed", "beep_shuffled"])
def test_lines_that_llama_cpp_cannot_read_are_left_out_with_a_notice(inside, with_llama, tmp_path, line):
    """Neither a clip's sound among its pictures nor shuffled sound is in an order that llama.cpp can follow."""
    pytest.importorskip("llama_cpp")
    pytest.importorskip("torch")
    with_llama(NANO, NANO.parent / "checkpoint", tmp_path / "both", ("thinker",))
    asked = ("eval", "--model", tmp_path / "both", "--only", line, "--limit", "1", "--no-speech", "--json")
    result = inside(*asked, "--engine", "llama")
    assert json.loads(result.out) == {}
    assert f"notice: {line} is left out: llama.cpp cannot follow a clip" in result.err
    assert json.loads(inside(*asked).out).keys() == {line}


def test_a_missing_synthesiser_is_told(inside, monkeypatch):
    def missing(name, *_, **__):
        raise OSError(name)

    espeak.espeak.cache_clear()
    flite.flite.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert "apt-get install" in inside("eval", "--only", "see_spoken", "--limit", "1").complaint


def test_a_missing_recogniser_is_told(inside, synthesisers, monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    complaint = inside("eval", "--only", "speech", "--limit", "1").complaint
    assert "pip install 'omni-edge[judge]'" in complaint


def test_the_control_shuffles_the_sound_of_clips_and_nothing_else():
    size = VideoWithAudioSize((3, 8, 8), 1.0, 75)
    span = Span(3, size)
    question = Span(3 + 125 + 6, AudioSize(20))
    given = (200, (span, question), CLOCK, 2)
    places = skills.ShuffledPlaces(7)
    before, after = mrope(*given).rows, places(*given).rows
    np.testing.assert_array_equal(after, places(*given).rows)
    places.another()
    assert not np.array_equal(after, places(*given).rows)
    heard = 4 + np.flatnonzero(~interleaving(size, CLOCK, 2))
    others = np.setdiff1d(np.arange(200), heard)
    assert np.array_equal(before[:, others], after[:, others])
    assert np.array_equal(np.sort(before[:, heard]), np.sort(after[:, heard]))
    moved = np.abs(before[0, heard] - after[0, heard])
    assert (moved > 25).mean() > 0.2


def test_a_clip_file_is_read_back_as_it_was(nano):
    frames = np.random.default_rng(0).integers(0, 256, (6, 112, 112, 3), np.uint8)
    sound = (0.3 * np.sin(np.arange(48000) * 0.1)).astype(np.float32)
    data = asking.clip_file(frames, sound)
    clip = read_clip(data, nano.manifest.vision)
    assert clip.frames.shape == frames.shape
    assert np.abs(clip.frames.astype(int) - frames).max() <= 1
    heard = read_audio(data, 16000, 30).samples
    assert len(heard) == 48000
    assert np.abs(heard - sound).max() < 1e-3


def test_motion_and_beeps_are_told_apart():
    for skill, beeps in (("motion", False), ("beep", True)):
        for item in islice(skills.test_items(skill, 0), 5):
            assert isinstance(item.turns[-1].scene, Clip)
            assert (item.turns[-1].scene.beep is not None) == beeps


def test_a_conversation_counts_by_its_last_answer(nano):
    right = Item("chat", (Turn("hello", "hello"), Turn("who are you", "my name is nano")), "")
    assert asking.converse(nano, right, Random(0), None) in (True, False)
    assert len(nano.history) == 4


def test_plots_show_where_it_is_loud():
    samples = np.concatenate([np.zeros(12000), 0.5 * np.sin(np.arange(12000) * 0.4)]).astype(np.float32)
    picture = np.asarray(plots.sound_picture(samples, 24000)).astype(int)
    left, right = np.split(picture[:, : picture.shape[1] // 2 * 2], 2, axis=1)
    assert right.mean() < left.mean() - 5


@pytest.mark.slow
def test_a_page_of_pictures_and_sounds(synthesisers, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "SHOWN", (("see", 1), ("beep", 1), ("hear", 2)))
    monkeypatch.setattr(sys, "argv", ["page", str(tmp_path / "page")])
    page.main()
    text = (tmp_path / "page" / "README.md").read_text()
    for name in ("see-0.png", "beep-0.png", "hear-1-said.flac"):
        assert name in text
        assert (tmp_path / "page" / name).stat().st_size > 300
