import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from omni_edge.models.nano.train.vocoder import torch_mel  # noqa: E402
from omni_edge.models.nano.train.voices import (  # noqa: E402
    COND,
    FLOOR,
    HOP,
    RATE,
    REF_FRAMES,
    SPEAKERS,
    UNIT,
    VoiceCache,
    cond_vector,
    log_mel,
    mel_bank,
    say,
    voices_record,
)
from omni_edge.models.nano.world.flite import flite as shared_flite  # noqa: E402
from omni_edge.models.nano.world.spoken import SynthesiserMissing  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def flite():
    try:
        return shared_flite()
    except SynthesiserMissing as error:
        pytest.skip(str(error))


def tone(hertz, seconds=0.5):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def test_a_tone_sounds_in_its_own_mel_band_alone():
    mel = log_mel(tone(1000.0))
    band = int(mel_bank()[round(1000 / RATE * 1024)].argmax())
    assert mel.shape == (50, 80)
    assert (mel[5:-5].argmax(1) == band).all()
    assert mel[5:-5, -1].max() < mel[5:-5, band].min() - 8


def test_silence_lies_at_the_floor():
    assert (log_mel(np.zeros(10 * HOP, np.float32)) == FLOOR).all()


def test_the_mel_for_gradients_is_the_same_mel():
    wave = tone(440.0) + 0.02 * np.random.default_rng(0).standard_normal(RATE // 2).astype(np.float32)
    made = torch_mel(torch.from_numpy(wave)[None])[0].numpy()
    np.testing.assert_allclose(made, log_mel(wave), atol=2e-3)


def test_speakers_have_fixed_vectors_that_differ():
    one, two = cond_vector(0), cond_vector(1)
    assert one.shape == (COND,)
    assert (one == cond_vector(0)).all()
    assert np.abs(one - two).max() > 0.5


@pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda speaker: speaker.name)
def test_a_sentence_is_cut_to_whole_codes_and_its_words_lie_inside(flite, speaker):
    wave, words, phones = say(flite, "two red squares", speaker)
    assert len(wave) % UNIT == 0
    assert 0.6 < len(wave) / RATE < 2.5
    assert [word for word, _, _ in words] == ["two", "red", "squares"]
    times = [time for _, start, end in words for time in (start, end)]
    assert times == sorted(times)
    assert 0.0 <= times[0] <= 0.15
    assert times[-1] <= len(wave) / RATE + 1e-3
    assert "pau" not in [name for name, _, _ in phones[1:-1]]


def test_the_cache_goes_on_after_a_run_that_was_killed(flite, tmp_path):
    cache = VoiceCache(SPEAKERS[0], tmp_path)
    assert cache.extend(["a red circle", "a red circle", "seven"], flite) == 2
    pcm = tmp_path / "slt.pcm"
    pcm.write_bytes(pcm.read_bytes() + b"half an utterance")
    again = VoiceCache(SPEAKERS[0], tmp_path)
    assert again.extend(["seven", "the blue square"], flite) == 1
    assert again.samples == sum(utterance.samples for utterance in again.utterances)
    assert pcm.stat().st_size == 2 * again.samples
    last = again.utterances[-1]
    wave = again.wave()[last.start : last.start + last.samples].astype(np.float32) / 32768
    # 16-bit samples move the quietest bands a little.
    assert np.abs(again.mel()[last.start // HOP :] - log_mel(wave)).mean() < 0.02


def test_the_record_is_what_spk_dict_holds(flite, tmp_path):
    for speaker in SPEAKERS:
        VoiceCache(speaker, tmp_path).extend(["the big red circle is above the small blue square"], flite)
    record = voices_record({"slt": 5, "rms": 6}, tmp_path)
    assert [entry["bos_token"] for entry in record.values()] == [5, 6]
    assert record["slt"]["cond"].shape == (1, COND)
    assert record["rms"]["ref_mel"].shape == (1, REF_FRAMES, 80)
    torch.save(record, tmp_path / "spk_dict.pt")
    assert torch.load(tmp_path / "spk_dict.pt", weights_only=True).keys() == {"slt", "rms"}
