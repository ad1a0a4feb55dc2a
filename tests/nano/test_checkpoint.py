import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from omni_edge.models.nano.train import checkpoint  # noqa: E402
from omni_edge.models.nano.train.examples import example  # noqa: E402
from omni_edge.models.nano.train.learner import Learner  # noqa: E402
from omni_edge.models.nano.train.prompted import HIDDEN, STREAM, states  # noqa: E402
from omni_edge.models.nano.world.grammar import Item, Turn, items  # noqa: E402

pytestmark = pytest.mark.torch


def typed(skill="see"):
    from random import Random

    return example(next(items("test", 3, 1, skill)), Random(0), None, 0.0)


def test_scaling_leaves_the_logits_and_scales_the_rows():
    learner, one = Learner(0), typed()
    with torch.no_grad():
        before = learner.answers([one], learner.media([one]))[0]
        embeds, hidden = learner.states([one])
        checkpoint.rescale(learner.thinker, STREAM, HIDDEN)
        after = learner.answers([one], learner.media([one]))[0]
        scaled_embeds, scaled_hidden = learner.states([one])
    # The norms' epsilon weighs less on a larger stream.
    torch.testing.assert_close(after, before, atol=5e-3, rtol=1e-2)
    torch.testing.assert_close(scaled_embeds, STREAM * embeds, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(scaled_hidden, HIDDEN * hidden, atol=2e-3, rtol=1e-2)


def test_the_talker_reads_what_the_class_would_hand_over():
    """Embedding (zero for pictures) plus hidden state, of the prompt and of each piece that is spoken."""
    learner, one = Learner(0), typed()
    prompted = states(learner, [one])[0]
    checkpoint.rescale(learner.thinker, STREAM, HIDDEN)
    embeds, hidden = learner.states([one])
    picture = torch.from_numpy(one.ids == checkpoint.SPECIALS["<|IMAGE|>"])
    rows = embeds[0].masked_fill(picture[:, None], 0.0) + hidden[0]
    assert picture.any()
    torch.testing.assert_close(prompted.prompt, rows[: one.prompt], atol=5e-3, rtol=2e-2)
    torch.testing.assert_close(prompted.reply, rows[one.prompt : -2], atol=5e-3, rtol=2e-2)
    assert prompted.positions.shape == (3, one.prompt + 2)
    assert np.array_equal(prompted.positions.numpy(), one.positions[:, : one.prompt + 2])


def test_own_values_are_such_that_the_exporter_takes_them(tmp_path):
    from omni_edge.export.own_values import FILE, read_own_values

    (tmp_path / FILE).write_text(json.dumps(checkpoint.own_values()))
    values = read_own_values(tmp_path)
    assert values.speech_prompt == ""
    assert values.steps in values.schedules[values.solver]


def test_answers_are_spoken_in_conversations_that_end_in_them():
    from random import Random

    from omni_edge.models.nano.train.prompted import Prompter, conversations
    from omni_edge.models.nano.train.utterances import Lesson

    known = {"two": [Item("know", (Turn("what is one plus one", "two"),), "")]}
    assert conversations(0, 1)["two"]
    lesson = Lesson("two", 0, np.zeros(1, np.int64), np.zeros(5, np.int64), np.zeros(5, np.int64))
    lengths = {len(Prompter(Learner(0), None, known)([lesson], Random(seed))[0].prompt) for seed in range(6)}
    assert len(lengths) > 1
