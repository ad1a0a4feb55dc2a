"""The model that ships: sizes, what it answers, and that it is its checkpoint."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from omni_edge.apps.suite.asking import ask, converse
from omni_edge.models.bundle import open_bundle, verify
from omni_edge.models.nano.world.grammar import Item, Turn
from omni_edge.models.store import NANO
from omni_edge.runtime.messages import Audio, Image
from omni_edge.runtime.options import Options

FOLDER = NANO.parent
TEXT = Options(speech=False, greedy=True)


@pytest.fixture(scope="module")
def session():
    return importlib.import_module("omni_edge.runtime.loading").load("nano")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_it_is_small_and_whole():
    assert size(NANO) <= 12_000_000
    assert size(FOLDER / "checkpoint") <= 40_000_000
    bundle = open_bundle(NANO)
    verify(bundle)
    assert bundle.manifest.name == "nano"
    assert {part.graphs[0].precision for part in bundle.manifest.subnetworks.values()} == {"int8", "int8-dynamic"}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("hello", "hello"),
        ("Who are you?", "my name is nano"),
        ("What can you do?", "i can see and hear"),
        ("who is the astronaut", "i don't know that yet"),
        ("say i can see two red circles", "i can see two red circles"),
    ],
)
def test_it_answers(session, asked, answer):
    session.reset()
    assert ask(session, asked, options=TEXT).done.text == answer


def test_it_remembers(session):
    turns = (Turn("my name is anna", "hello anna"), Turn("who are you", ""), Turn("what is my name", "anna"))
    assert converse(session, Item("remember", turns, ""), Random(0), None)


def test_make_run_speaks_a_right_answer_to_a_spoken_question_about_a_picture(session):
    session.reset()
    parts = [Image(FOLDER / "picture.png"), Audio(FOLDER / "question.flac")]
    answer = ask(session, *parts, options=Options(seed=0))
    assert answer.done.text == "a red triangle and a green square"
    seconds = answer.samples.size / answer.done.rate
    assert 1.5 < seconds < 4
    assert 0.02 < np.sqrt(np.mean(answer.samples**2)) < 0.5


@pytest.mark.torch
@pytest.mark.slow
def test_the_bundle_writes_what_transformers_writes_from_the_checkpoint(session):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.Qwen2_5OmniForConditionalGeneration.from_pretrained(
        FOLDER / "checkpoint", dtype=torch.float32
    ).thinker
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(FOLDER / "checkpoint" / "tokenizer.json"))
    for asked in ("what is two plus three", "say the big blue square", "how many red circles", "what is a dragon"):
        prompt = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        written = model.generate(input_ids=ids, max_new_tokens=30, do_sample=False)[0, ids.shape[1] :]
        session.reset()
        answer = ask(session, asked, options=TEXT)
        stop = session.manifest.tokens.eos[0]
        assert [token for token in answer.done.ids if token != stop] == [
            token for token in written.tolist() if token != stop
        ]


def test_its_figures_lie_beside_it():
    figures = json.loads((FOLDER / "page" / "int8.json").read_text())
    assert figures["see_typed"].keys() == {"metric", "value", "items"}
