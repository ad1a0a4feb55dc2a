import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import (  # noqa: E402
    Qwen2_5OmniAntiAliasedActivation1d,
    Qwen2_5OmniSnakeBeta,
)

from omni_edge.models.nano.train.flow import FlowRecipe, FlowShape, euler, flow_loss, new_flow  # noqa: E402
from omni_edge.models.nano.train.listen import uniform_arpa  # noqa: E402
from omni_edge.models.nano.train.pieces import SPECIALS, encode  # noqa: E402
from omni_edge.models.nano.train.snake import FastActivation, kernel, use_kernel  # noqa: E402
from omni_edge.models.nano.train.talker import TalkerRecipe, TalkerShape, TalkerStudent, talker_losses  # noqa: E402
from omni_edge.models.nano.train.utterances import IGNORED, CodeIds, Lesson, collate, piece_ends  # noqa: E402
from omni_edge.models.nano.train.vocoder import VocoderShape, new_vocoder, synthesize  # noqa: E402
from omni_edge.models.nano.train.voices import Utterance  # noqa: E402

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


def test_rows_lie_as_the_class_generates():
    ids, item = CodeIds(12), lesson()
    batch = collate([item], ids)
    assert batch.text[0, 0] == SPECIALS["voice1"]
    assert batch.text[0, 1 : 1 + len(item.pieces)].tolist() == item.pieces.tolist()
    assert batch.text[0, 1 + len(item.pieces)] == SPECIALS["tts_end"]
    assert batch.codes[0, :3].tolist() == [ids.pad, ids.start, 1]
    assert batch.targets[0].tolist() == [IGNORED, *item.codes.tolist(), ids.end]
    # Nobody is shown a row that has not come yet.
    rows = torch.arange(batch.looks.shape[1])
    assert (batch.looks <= rows).all()


def test_the_talker_trains_and_speaks():
    shape = TalkerShape(
        codes=12, embedding=16, hidden=24, layers=3, heads=2, kv_heads=1, intermediate=32, mrope=(2, 2, 2)
    )
    student = TalkerStudent(shape, seed=0)
    batch = collate([lesson(), lesson()], student.ids)
    losses = talker_losses(student, batch, batch.codes, TalkerRecipe(guided=(1, 2)))
    (losses["code"] + losses["look"]).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    codes = student.speak([torch.tensor([5, 6]), torch.tensor([7])], [0, 1], limit=9)
    assert len(codes) == 2
    assert all(len(made) <= 9 for made in codes)


def test_training_and_generation_see_the_same_rows():
    student = TalkerStudent(
        TalkerShape(codes=12, embedding=16, hidden=24, layers=2, heads=2, kv_heads=1, mrope=(2, 2, 2)), 0
    )
    student.eval()
    item = lesson()
    made = student.speak([torch.from_numpy(item.pieces)], [1], limit=8)[0]
    said = Lesson(item.text, 1, item.pieces, made.numpy(), np.zeros(len(made), np.int64))
    batch = collate([said], student.ids)
    with torch.no_grad():
        logits = student(batch.text, batch.codes, ())[0][0]
    logits[:, [0, student.ids.start, student.ids.pad, student.ids.mask]] = -1e9
    assert logits[1 : 1 + len(made)].argmax(-1).tolist() == made.tolist()


def test_all_words_of_the_language_model_are_equally_likely():
    text = uniform_arpa(["red", "blue", "two"])
    assert "ngram 1=5" in text
    chances = {line.split()[0] for line in text.splitlines() if line.endswith((" red", " blue", " two", " </s>"))}
    assert chances == {"-0.60206"}


def test_the_kernel_leaves_the_process_its_small_numbers() -> None:
    kernel()
    assert (np.array([1e-40], np.float32) * np.float32(0.5))[0] > 0
