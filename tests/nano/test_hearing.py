from itertools import islice
from random import Random

import numpy as np
import pytest

soxr = pytest.importorskip("soxr")

from omni_edge.models.nano.train import sounds  # noqa: E402
from omni_edge.models.nano.world import hearing, phones  # noqa: E402
from omni_edge.models.nano.world.espeak import espeak  # noqa: E402
from omni_edge.models.nano.world.flite import flite  # noqa: E402
from omni_edge.models.nano.world.spoken import Spoken, SynthesiserMissing  # noqa: E402
from omni_edge.models.nano.world.words_wrong import word_error_rate, word_errors  # noqa: E402


def tone(seconds=1.0, rate=22050):
    """Silence, then two phones of half the length each."""
    times = np.arange(int(seconds * rate)) / rate
    quiet = np.zeros(rate // 4, np.float32)
    samples = np.concatenate([quiet, 0.5 * np.sin(2 * np.pi * 300 * times).astype(np.float32)])
    return Spoken(samples, rate, (("_", 0.0), ("s", 0.25), ("i:", 0.25 + seconds / 2)))


@pytest.mark.parametrize("seed", range(5))
def test_labels_follow_the_sound_through_trimming_and_speed(seed):
    sound = hearing.as_heard(tone(), "tone", Random(seed), hearing.Rough())
    frames = -(-sound.samples.size // 160)
    assert len(sound.labels) == (frames - 1) // 2 + 1
    first, second = (np.flatnonzero(sound.labels == phones.label(name)) for name in ("s", "iy"))
    assert abs(len(first) - 25) <= 6
    assert first.max() < second.min()
    assert np.abs(sound.samples).max() <= 1.5


def test_shards_read_back(tmp_path):
    said = [
        ("a", hearing.as_heard(tone(), "x", Random(0), hearing.CLEAN)),
        ("b c", hearing.as_heard(tone(0.5), "y", Random(1), hearing.CLEAN)),
    ]
    written = sounds.collect(iter(said), 2)
    for name in ("train-0.npz", "train-1.npz"):
        sounds.save(written, tmp_path / name)
    read = sounds.load(sorted(tmp_path.glob("*.npz")))
    assert read.texts == ("a", "b c", "a", "b c")
    assert read.voices == ("x", "y", "x", "y")
    for index in range(4):
        assert np.array_equal(read.mel_of(index), written.mel_of(index % 2))
        assert np.array_equal(read.labels_of(index), written.labels_of(index % 2))
        assert len(read.labels_of(index)) == (len(read.mel_of(index)) - 1) // 2 + 1


def test_every_flite_phone_has_its_own_label():
    assert len({phones.label(name) for name in phones.PHONES}) == len(phones.PHONES)


def test_voices_kept_out_are_not_in_training():
    rng = Random(0)
    names = {"rms", "slt"} | {f"{accent}+{variant}" for accent in hearing.ACCENTS for variant in hearing.VARIANTS}
    try:
        for _ in range(10):
            _, voice = hearing.speak_seen("hello", rng)
            assert voice in names
            assert voice not in hearing.HELD_OUT
    except SynthesiserMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(
    "speak", [lambda: espeak().speak("two", "en-us", 160, 50, 50), lambda: flite().speak("two", "rms", 1.0)]
)
def test_synthesisers_tell_their_phones(speak):
    try:
        spoken = speak()
    except SynthesiserMissing as missing:
        pytest.skip(str(missing))
    heard = [phones.PHONES[phones.label(name)] for name, _ in spoken.phones]
    assert [name for name in heard if name != "_"] == ["t", "uw"]
    starts = [start for _, start in spoken.phones]
    assert starts == sorted(starts)
    assert starts[-1] < spoken.samples.size / spoken.rate


def test_questions_of_the_halves_differ():
    train, test = (set(islice(sounds.questions(split, 0, 1), 2000)) for split in ("train", "test"))
    repeats = [text for text in test if text.startswith(("say", "write")) and len(text.split()) > 3]
    assert repeats
    assert not train & set(repeats)


def test_word_errors():
    assert word_errors("a big red circle", "a red circle") == (1, 4)
    assert word_errors("two", "two two") == (1, 1)
    assert word_error_rate([("a b", "a b"), ("c d", "")]) == 0.5
