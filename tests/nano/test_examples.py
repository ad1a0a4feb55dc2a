from itertools import islice
from random import Random

import numpy as np
import pytest

pytest.importorskip("soxr")

from omni_edge.models.nano.train.examples import Speech, example, examples
from omni_edge.models.nano.train.pieces import SPECIALS, decode
from omni_edge.models.nano.train.sounds import Sounds
from omni_edge.models.nano.world.grammar import SKILLS, Item, Turn, items

TEXTS = ("say red", "say red circles", "what do you see", "hello")


@pytest.fixture(scope="module")
def sounds():
    lengths = (61, 120, 90, 201)
    positions = [(length - 1) // 2 + 1 for length in lengths]
    mel = np.arange(sum(lengths), dtype=np.int64).astype(np.uint8)[:, None].repeat(128, 1)
    labels = np.concatenate([np.arange(count) // 8 for count in positions]).astype(np.uint8)
    return Sounds(mel, np.cumsum([0, *lengths]), labels, np.cumsum([0, *positions]), TEXTS, ("rms", "x", "x", "x"))


@pytest.mark.parametrize("skill", SKILLS)
def test_what_is_asked_is_the_answer_and_its_end(skill, sounds):
    rng = Random(0)
    speech = Speech(sounds, "train")
    for item in islice(items("train", 0, 1, skill), 20):
        one = example(item, rng, speech, 0.5)
        places = np.flatnonzero(one.asked)
        last = one.ids[places[places >= one.prompt - 1] + 1]
        assert last[-1] == SPECIALS["<|im_end|>"]
        assert decode(last[:-1].tolist()) == item.turns[-1].answer
        assert one.positions.shape == (3, len(one.ids))
        assert len(one.asked) == len(one.ids)


def test_each_sound_has_its_placeholders(sounds):
    rng, speech = Random(0), Speech(sounds, "test")
    one = example(Item("chat", (Turn("hello", "hello"),), ""), rng, speech, 1.0)
    assert one.spoken
    assert (one.ids == SPECIALS["<|AUDIO|>"]).sum() == 50
    assert len(one.mels) == len(one.phones) == 1


def test_training_changes_the_tempo_and_labels_keep_up(sounds):
    rng, speech = Random(0), Speech(sounds, "train")
    paces = set()
    for _ in range(20):
        mel, phones = speech.sound(sounds, 3, rng)
        paces.add(len(mel))
        assert len(phones) == (len(mel) - 1) // 2 + 1
        # This sound's frames are numbered, and its labels change every sixteen frames.
        first = int(sounds.mel_of(3)[0, 0])
        frames = (mel[::2, 0].astype(int) - first) % 256
        assert np.abs(frames // 16 - phones.astype(int)).max() <= 1
    assert len(paces) > 10
    mel, phones = Speech(sounds, "test").sound(sounds, 3, rng)
    assert len(mel) == 201


def test_only_sounds_of_its_half_are_used(sounds):
    rng = Random(0)
    repeated = {speech.repeat(rng).turns[0].user for speech in (Speech(sounds, "train"),) for _ in range(30)}
    held_out = {text for text in TEXTS[:2] if Speech(sounds, "test").find(text, rng) is not None}
    assert not repeated & held_out
    assert repeated | held_out == set(TEXTS[:2])


def test_a_moved_beep_is_answered_by_where_its_positions_are(sounds):
    rng, speech = Random(0), Speech(sounds, "train")
    answers = set()
    for item in islice(items("train", 0, 1, "watch"), 60):
        clip = item.turns[-1].scene
        if clip.beep is None:
            continue
        one = example(item, rng, speech, 0.0, moved=True)
        audio, pictures = (np.flatnonzero(one.ids == SPECIALS[name]) for name in ("<|AUDIO|>", "<|VIDEO|>"))
        # The row in the middle of the second in which the encoder hears the beep, and the picture at its position.
        heard = one.positions[0, audio[25 * clip.beep + 12]]
        starts = np.unique(one.positions[0, pictures])
        step = int(np.searchsorted(starts, heard, side="right")) - 1
        assert one.turn.answer == clip.steps[step].colour
        answers.add(step == clip.beep)
    assert answers == {True, False}


def test_a_bare_sound_goes_with_a_typed_verb(sounds):
    speech = Speech(sounds, "train", sounds)
    one = speech.bare_example(Random(1))
    assert one.skill == "hear"
    assert len(one.mels) == 1
    typed = decode([token for token in one.ids[: one.prompt].tolist() if token != SPECIALS["<|AUDIO|>"]])
    assert "say" in typed or "write" in typed
    assert one.turn.answer in sounds.texts


def test_the_mixture_holds_every_skill(sounds):
    mixture = list(islice(examples("train", 0, 1, Speech(sounds, "train")), 400))
    assert {one.skill for one in mixture} == set(SKILLS)
    assert {one.spoken for one in mixture} == {True, False}
