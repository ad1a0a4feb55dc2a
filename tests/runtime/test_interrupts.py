"""An interrupt at any run of a decoder leaves caches from which the conversation goes on as if it had not been."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest

from omni_edge.runtime.decoder import OnnxDecoder
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Image
from omni_edge.runtime.session import Session

PICTURE = Image(np.random.default_rng(1).integers(0, 256, (84, 112, 3), np.uint8))


@pytest.fixture(scope="module")
def spare(bundle) -> Any:
    """Stages to compare with; each test's own session has others."""
    return load_stages(bundle)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("run", [1, 2, 4, 6, 7, 8, 12])
def test_an_interrupt_at_any_run(run, after, stages, spare, ask, monkeypatch):
    session = Session(stages)
    ask(session, "Hello", PICTURE)
    extend, runs = OnnxDecoder.extend, count(1)

    def interrupted(decoder: OnnxDecoder, *arguments: Any) -> Any:
        mine = next(runs)  # thinker and talker run at once
        if mine == run and not after:
            raise KeyboardInterrupt
        result = extend(decoder, *arguments)
        if mine == run:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(OnnxDecoder, "extend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(session, "Tell me more")
    monkeypatch.undo()
    assert [message.role for message in session.history] == ["system", *["user", "assistant"] * (1 + (run > 1))]
    again = ask(session, "Go on")
    expected = ask(Session(spare, session.history[:-2]), "Go on")
    assert (again.ids, again.codes) == (expected.ids, expected.codes)
    # Logits are nearly the same when a few rows of a cache are wrong; the rows themselves are not.
    one, two = stages.thinker.context, spare.thinker.context
    assert (one.ids == two.ids).all()
    assert np.abs(one.talker_rows - two.talker_rows).max() < 1e-4
