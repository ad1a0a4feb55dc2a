from random import Random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from omni_edge.models.nano.train import learner, thinker  # noqa: E402
from omni_edge.models.nano.train.examples import Speech, example  # noqa: E402
from omni_edge.models.nano.train.muon import orthogonal  # noqa: E402
from omni_edge.models.nano.train.sounds import MEL_LOW, MEL_STEP, Sounds  # noqa: E402
from omni_edge.models.nano.world.grammar import Item, Turn, items  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def pupil():
    made = learner.Learner(seed=0)
    made.thinker.eval()
    return made


@pytest.fixture(scope="module")
def speech():
    """Two sounds of noise: over and under two seconds."""
    generator = np.random.default_rng(0)
    lengths = (237, 90)
    mel = generator.integers(60, 200, (sum(lengths), 128), np.uint8)
    positions = np.cumsum([0, *((length - 1) // 2 + 1 for length in lengths)])
    labels = generator.integers(0, 40, positions[-1], np.uint8)
    texts = ("what do you see", "what colour at the beep")
    return Speech(Sounds(mel, np.cumsum([0, *lengths]), labels, positions, texts, ("a", "b")), "train")


def reference(pupil, one):
    """Logits of the real class at the asked places."""
    inputs = {"input_ids": torch.from_numpy(one.ids)[None]}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if one.mels:
        longest = max(map(len, one.mels))
        inputs["input_features"] = torch.zeros(len(one.mels), 128, longest)
        inputs["feature_attention_mask"] = torch.zeros(len(one.mels), longest, dtype=torch.long)
        for row, mel in enumerate(one.mels):
            values = torch.from_numpy(mel).float() * MEL_STEP + MEL_LOW
            inputs["input_features"][row, :, : len(mel)] = values.T
            inputs["feature_attention_mask"][row, : len(mel)] = 1
    if one.seen is not None:
        patches, steps = torch.from_numpy(one.seen.patches).flatten(0, 1), len(one.seen.patches)
        grid = torch.tensor([[steps, 8, 8]])
        if steps == 1:
            inputs |= {"pixel_values": patches, "image_grid_thw": grid}
        else:
            inputs |= {
                "pixel_values_videos": patches,
                "video_grid_thw": grid,
                "video_second_per_grid": torch.tensor([1.0]),
                "use_audio_in_video": one.seen.beep is not None,
            }
    return pupil.thinker(**inputs).logits[0][torch.from_numpy(one.asked)]


def cases(speech):
    rng = Random(0)
    see = (item for item in items("train", 0, 1, "see") if item.turns[0].user == "what do you see")
    beep = (item for item in items("train", 0, 1, "watch") if item.turns[0].scene.beep is not None)
    motion = (item for item in items("train", 0, 1, "watch") if item.turns[0].scene.beep is None)
    yield "typed picture", example(next(see), rng, None, 0)
    yield "spoken picture", example(next(see), rng, speech, 1)
    yield "beep", example(next(beep), rng, speech, 1)
    yield "motion", example(next(motion), rng, None, 0)
    yield "memory", example(next(items("train", 0, 1, "remember")), rng, None, 0)


@torch.no_grad()
def test_batched_forward_equals_the_real_class(pupil, speech):
    named = list(cases(speech))
    batch = [one for _, one in named]
    logits = pupil.answers(batch, pupil.media(batch))[0].split([int(one.asked.sum()) for one in batch])
    for (name, one), mine in zip(named, logits, strict=True):
        torch.testing.assert_close(mine, reference(pupil, one), atol=3e-5, rtol=0, msg=name)


@torch.no_grad()
def test_scored_answers_are_those_it_would_write(pupil):
    text = pupil.write(example(Item("chat", (Turn("hello", "hello"),), ""), Random(0), None, 0))
    one = example(Item("chat", (Turn("hello", text),), ""), Random(0), None, 0)
    assert pupil.write(one) == text


def test_every_part_learns(pupil, speech):
    parts = pupil.losses([one for _, one in cases(speech)], Random(0), hearing_learns=True)
    (parts["answer"] + parts["phone"] + parts["label"]).backward()
    still = {name for name, value in pupil.named_parameters() if value.grad is None}
    pupil.thinker.zero_grad()
    assert still == {
        "model.audio_tower.audio_bos_eos_token.weight",
        "phone_head.letters.weight",
        "phone_head.letters.bias",
    }


def test_weights_fit_the_repository():
    count = sum(value.numel() for value in thinker.new_thinker(0).parameters())
    assert count < 4_000_000


def test_muon_makes_steps_of_equal_size():
    steps = orthogonal(torch.randn(2, 40, 24, generator=torch.Generator().manual_seed(0)))
    sizes = torch.linalg.svdvals(steps)
    assert sizes.min() > 0.5
    assert sizes.max() < 1.5
