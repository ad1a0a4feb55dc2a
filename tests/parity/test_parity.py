"""Text, codes, mel and samples equal the reference's, for every kind of input and three kinds of shapes."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from omni_edge.runtime.events import AudioDelta, Done
from omni_edge.runtime.messages import Audio, Image, Part, Text, Tokens, Video, assistant, system, user
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.options import Options
from omni_edge.runtime.reading import Reader
from omni_edge.runtime.solver import Solver

pytestmark = [pytest.mark.torch, pytest.mark.slow]

SHAPES = ("like-3b", "like-7b", "odd")
SEED = 11
MAX_TOKENS, MAX_CODES = 10, 30
WHOLE = 100
"""Blocks of look-ahead that no speech here has: all of it is made sound at once, as the reference does."""
REFERENCE = Solver("rk4", 10, 0.5, lookahead=WHOLE)
OPTIONS = Options(
    greedy=True,
    seed=SEED,
    max_tokens=MAX_TOKENS,
    max_codes=MAX_CODES,
    solver=REFERENCE.name,
    flow_steps=REFERENCE.steps,
    guidance=REFERENCE.guidance,
    lookahead=WHOLE,
)


def tone(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(int(16000 * seconds)) / 16000
    return (0.3 * np.sin(2 * np.pi * 300 * time * (1 + time)) + 0.05 * rng.standard_normal(time.size)).astype(
        np.float32
    )


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds at 10 frames a second, with sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 112, 84, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000)
        sound.layout = "mono"
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(np.roll(picture(84, 112, 5), 3 * index, axis=1), format="rgb24")
            container.mux(video.encode(frame))
        samples = (tone(4.3, 6) * 32767).astype(np.int16)[None]
        audio = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        audio.rate = 16000
        container.mux(sound.encode(audio))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    return path


def parts(case: str, clip: Path) -> tuple[Part, ...]:
    return {
        "text": (Text("What do you know?"),),
        "audio": (Audio(tone(3.37, 1)), Text("What was that?")),
        "image": (Image(picture(90, 130, 2)), Text("And this?")),
        "two images": (Image(picture(60, 200, 3)), Text("and"), Image(picture(140, 70, 4)), Text("differ?")),
        "silent video": (Video(clip), Text("Which way?")),
        "video with audio": (Text("Look:"), Video(clip, use_audio=True), Text("What was said?")),
        "everything": (Image(picture(56, 56, 8)), Audio(tone(0.5, 9)), Video(clip), Text("?")),
    }[case]


CASES = ("text", "audio", "image", "two images", "silent video", "video with audio", "everything")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_reply_is_the_references(shape, case, pairs, clip, monkeypatch):
    pair = pairs[shape]
    session = pair.session()
    question = parts(case, clip)
    inputs = pair.reference.inputs(pair.stages, [*session.history, user(*question)])
    expected = pair.reference.answer(inputs, MAX_TOKENS, MAX_CODES, monkeypatch)

    events = list(session.respond(*question, options=OPTIONS))
    done = events[-1]
    wav = np.concatenate([event.samples for event in events if isinstance(event, AudioDelta)])

    assert isinstance(done, Done)
    assert list(done.ids) == expected.ids
    assert list(done.codes) == expected.codes
    assert len(set(done.codes)) > 1
    assert done.samples == wav.size == expected.wav.size
    assert np.abs(wav - expected.wav).max() <= 1e-3
    assert np.abs(expected.wav).max() > 0.02  # the comparison means something

    mel = pair.stages.speech._flow.mel(np.array(done.codes), "Chelsie", Noise(SEED, 80), REFERENCE)
    assert np.abs(mel - expected.mel).max() <= 1e-3

    media = [part for part in question if not isinstance(part, Text)]
    for sense in ("audio", "vision"):
        rows = [getattr(pair.stages.perception.rows(part), sense) for part in media]
        if sense in expected.encoded and len([r for r in rows if r is not None]) == 1:
            ours = next(row for row in rows if row is not None)
            assert np.abs(ours - expected.encoded[sense]).max() <= 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_a_second_turn_on_top_of_the_first(shape, pairs, monkeypatch):
    pair = pairs[shape]
    session = pair.session()
    picture_part = Image(picture(70, 100, 12))
    first = list(session.respond(picture_part, "What is it?", options=OPTIONS))[-1]
    heard = Audio(tone(1.1, 13))
    inputs = pair.reference.inputs(pair.stages, [*session.history, user(heard, "Sure?")])
    expected = pair.reference.answer(inputs, MAX_TOKENS, MAX_CODES, monkeypatch)

    events = list(session.respond(heard, "Sure?", options=OPTIONS))
    second = events[-1]
    wav = np.concatenate([event.samples for event in events if isinstance(event, AudioDelta)])
    assert list(second.ids) == expected.ids
    assert list(second.codes) == expected.codes
    assert np.abs(wav - expected.wav).max() <= 1e-3
    # Only what is new was read: at most the end of the first reply, which is never forwarded, and the new turn.
    assert second.stats.prefilled_rows < second.stats.prompt_rows - first.stats.prompt_rows


@pytest.mark.parametrize("shape", SHAPES)
def test_thinker_logits_and_hidden_rows(shape, pairs, clip):
    import torch

    pair = pairs[shape]
    messages = [system("Be brief."), user(*parts("everything", clip)), assistant(Tokens((5, 9, 70), "")), user("And?")]
    inputs = pair.reference.inputs(pair.stages, messages)
    renamed = {key.removeprefix("thinker_"): value for key, value in inputs.items()}
    # Without a mask the reference's forward counts positions in one dimension.
    renamed["attention_mask"] = torch.ones_like(renamed["input_ids"])
    with torch.no_grad():
        out = pair.reference.model.thinker(**renamed, output_hidden_states=True)

    stages = pair.stages
    reader = Reader(stages)
    draft = reader.draft(messages)
    reading = reader._reading(draft, len(draft.prompt.ids))
    rows, marks = reading.rows(0, len(reading.ids)), reading.marks
    reader.read(draft)
    assert np.abs(stages.thinker._logits - out.logits[0, -1].numpy()).max() <= 1e-3
    seen = np.where(marks[:, None] == 0, rows, 0)
    hidden = stages.thinker.context.talker_rows - seen
    assert np.abs(hidden - out.hidden_states[-1][0].numpy()).max() <= 1e-3


@pytest.mark.parametrize("guidance", [0.0, 0.5])
def test_flow_without_guidance_and_with_other_codes(guidance, pairs):
    import torch

    pair = pairs["odd"]
    codes = np.array([3, 50, 119, 7, 0, 12, 99])
    voice = pair.reference.model.speaker_map["Ethan"]
    noise = Noise(2, 80)
    frames = noise.frames(0, 14)
    dit = pair.reference.model.token2wav.code2wav_dit_model
    state = torch.get_rng_state()
    original = torch.randn
    torch.randn = lambda shape, **_: torch.from_numpy(frames.copy())[None]
    try:
        with torch.no_grad():
            expected = dit.sample(
                voice["cond"], voice["ref_mel"], torch.from_numpy(codes)[None], guidance_scale=guidance
            )
    finally:
        torch.randn = original
        torch.set_rng_state(state)
    mel = pair.stages.speech._flow.mel(codes, "Ethan", noise, replace(REFERENCE, guidance=guidance))
    assert np.abs(mel - expected[0].T.numpy()).max() <= 1e-3
