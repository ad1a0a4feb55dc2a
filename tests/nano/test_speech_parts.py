import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import (  # noqa: E402
    Qwen2_5OmniAntiAliasedActivation1d,
    Qwen2_5OmniSnakeBeta,
)

from omni_edge.models.nano.train.codec import Codec  # noqa: E402
from omni_edge.models.nano.train.flow import FlowRecipe, FlowShape, euler, flow_loss, new_flow  # noqa: E402
from omni_edge.models.nano.train.pieces import encode  # noqa: E402
from omni_edge.models.nano.train.prompted import Prompted  # noqa: E402
from omni_edge.models.nano.train.snake import FastActivation, kernel, use_kernel  # noqa: E402
from omni_edge.models.nano.train.talker import TalkerShape, TalkerStudent  # noqa: E402
from omni_edge.models.nano.train.talker_stage import Confusion, TalkerRecipe, talker_losses  # noqa: E402
from omni_edge.models.nano.train.utterances import (  # noqa: E402
    IGNORED,
    SPECIAL_ROWS,
    CodeIds,
    Lesson,
    collate,
    piece_ends,
)
from omni_edge.models.nano.train.vocoder import VocoderShape, new_vocoder, synthesize  # noqa: E402
from omni_edge.models.nano.train.voices import Utterance  # noqa: E402
from omni_edge.models.nano.world.listen import uniform_arpa  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def kernels_in_a_folder_of_their_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OMNI_EDGE_NANO_WORK", str(tmp_path_factory.getbasetemp() / "work"))


@pytest.mark.parametrize(("channels", "length"), [(3, 7), (4, 240), (12, 33)])
def test_the_kernel_is_the_class_forward_and_backward(channels, length):
    if kernel() is None:
        pytest.skip("no C compiler")
    torch.manual_seed(0)
    stock = Qwen2_5OmniAntiAliasedActivation1d(Qwen2_5OmniSnakeBeta(channels))
    torch.nn.init.normal_(stock.act.alpha, std=0.5)
    torch.nn.init.normal_(stock.act.beta, std=0.5)
    hidden = torch.randn(2, channels, length, requires_grad=True)
    weight = torch.randn(2, channels, length)
    found = []
    for module in (stock, FastActivation(stock)):
        output = module(hidden)
        gradients = torch.autograd.grad((output * weight).sum(), (hidden, stock.act.alpha, stock.act.beta))
        found.append((output, *gradients))
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_the_vocoder_sounds_at_once_and_as_the_class_itself():
    model = new_vocoder(VocoderShape(channels=64), seed=0).eval()
    mel = torch.randn(1, 12, 80, generator=torch.Generator().manual_seed(0)) * 2 - 5
    with torch.no_grad():
        wanted = model(mel.transpose(1, 2))
        made = synthesize(model, mel)[0]
        assert made.shape == (12 * 240,)
        assert 0.01 < made.std() < 5
        torch.testing.assert_close(made.clamp(-1, 1), wanted, atol=1e-5, rtol=1e-4)
        if use_kernel(model):
            torch.testing.assert_close(synthesize(model, mel)[0], made, atol=1e-4, rtol=1e-3)


def test_a_new_flow_learns_from_a_batch_and_gives_a_mel():
    shape = FlowShape(codes=12, hidden=32, layers=2, heads=2, code_width=8, look_ahead=(1,), look_back=(0,))
    model = new_flow(shape, seed=0)
    batch = (torch.randn(2, 48, 80), torch.randint(1, 13, (2, 24)), torch.randn(2, 16), torch.randn(2, 48, 80))
    loss = flow_loss(model, batch, FlowRecipe(), seed=0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(value.grad is not None for value in model.proj_out.parameters())
    mel = euler(model, batch[1][:1], batch[2][:1], batch[3][:1], steps=2)
    assert mel.shape == (1, 48, 80)
    assert mel.min() >= -11.0


def test_pieces_share_their_words_time_by_letters():
    text = "a triangle"
    spoken = Utterance(text, 0, 24_000, (("a", 0.1, 0.2), ("triangle", 0.2, 1.0)), ())
    ends = piece_ends(spoken)
    assert len(ends) == len(encode(text))
    assert ends[0] == pytest.approx(0.2)
    assert ends[-1] == pytest.approx(1.0)
    assert (np.diff(ends) > 0).all()
    with pytest.raises(ValueError, match="words"):
        piece_ends(Utterance(text, 0, 24_000, (("a", 0.1, 0.2),), ()))


def lesson():
    pieces = np.array(encode("a red circle"), np.int64)
    codes = np.arange(1, 11, dtype=np.int64)
    sounding = np.minimum(np.arange(10) // 2, len(pieces)).astype(np.int64)
    return Lesson("a red circle", 1, pieces, codes, sounding)


def prompted(width=16, prompt=5, pieces=3, seed=0):
    """A conversation with a clip in it, whose places run ahead of its rows."""
    rows = torch.randn(prompt + pieces, width, generator=torch.Generator().manual_seed(seed))
    places = torch.cat([torch.tensor([0, 1, 9]), torch.arange(10, 10 + prompt - 1)]).expand(3, -1)
    return Prompted(rows[:prompt], rows[prompt:], places)


def test_rows_lie_as_the_class_generates():
    ids, item = CodeIds(12), lesson()
    talk = prompted(pieces=len(item.pieces))
    batch = collate([item], [talk], ids)
    voice, first, end = 5, 6, 6 + len(item.pieces)
    assert torch.equal(batch.thinker[0, :5], talk.prompt)
    assert torch.equal(batch.thinker[0, first:end], talk.reply)
    assert batch.special[0, voice] == SPECIAL_ROWS.index("voice1")
    assert batch.special[0, end] == SPECIAL_ROWS.index("tts_end")
    assert (batch.special[0, end + 1 :] == SPECIAL_ROWS.index("tts_pad")).all()
    assert (batch.special[0, :voice] == -1).all()
    assert batch.codes[0, :8].tolist() == [-1] * 5 + [ids.pad, ids.start, 1]
    assert batch.targets[0].tolist() == [IGNORED] * 6 + [*item.codes.tolist(), ids.end]
    assert batch.positions[0, 0].tolist() == [0, 1, 9, *range(10, 10 + len(batch.codes[0]) - 3)]
    # Nobody is shown a row that has not come yet.
    assert (batch.looks <= torch.arange(batch.looks.shape[1])).all()


def small_talker(layers):
    return TalkerStudent(
        TalkerShape(
            codes=12, embedding=16, hidden=24, layers=layers, heads=2, kv_heads=1, intermediate=32, mrope=(2, 2, 2)
        ),
        seed=0,
    )


def test_the_talker_trains_and_speaks():
    student = small_talker(3)
    talks = [prompted(pieces=len(lesson().pieces)), prompted(prompt=7, pieces=len(lesson().pieces))]
    batch = collate([lesson(), lesson()], talks, student.ids)
    losses = talker_losses(student, batch, batch.codes, TalkerRecipe(guided=(1, 2)))
    (losses["code"] + losses["look"]).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert len(student.speak(talks[0], 0, limit=9)) <= 9


def test_training_and_generation_see_the_same_rows():
    student = small_talker(2).eval()
    item = lesson()
    talk = prompted(pieces=len(item.pieces))
    made = student.speak(talk, 1, limit=8)
    said = Lesson(item.text, 1, item.pieces, made.numpy(), np.zeros(len(made), np.int64))
    batch = collate([said], [talk], student.ids)
    with torch.no_grad():
        logits = student(batch, batch.codes, ())[0][0]
    logits[:, [0, student.ids.start, student.ids.pad, student.ids.mask]] = -1e9
    assert len(made) > 0
    assert logits[6 : 6 + len(made)].argmax(-1).tolist() == made.tolist()


def test_confusion_leaves_special_codes_alone():
    ids = CodeIds(24)
    codes = torch.cat([torch.tensor([-1, -1, ids.pad, ids.start]), torch.arange(1, 25)])[None]
    changed = Confusion(
        Codec(np.random.default_rng(0).standard_normal((24, 160)).astype(np.float32), np.zeros((2, 80), np.float32)),
        ids,
        near=4,
    )(codes, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(changed[0, :4], codes[0, :4])
    assert (changed != codes).any()
    assert ((changed[0, 4:] >= 1) & (changed[0, 4:] <= 24)).all()


def test_all_words_of_the_language_model_are_equally_likely():
    text = uniform_arpa(["red", "blue", "two"])
    assert "ngram 1=5" in text
    chances = {line.split()[0] for line in text.splitlines() if line.endswith((" red", " blue", " two", " </s>"))}
    assert chances == {"-0.60206"}


def test_the_kernel_leaves_the_process_its_small_numbers() -> None:
    kernel()
    assert (np.array([1e-40], np.float32) * np.float32(0.5))[0] > 0
