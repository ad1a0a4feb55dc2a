"""What the contexts leave of a wish: each model's own."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.models.errors import RequestError
from omni_edge.models.manifest import Manifest
from omni_edge.models.store import NANO
from omni_edge.runtime.options import Options, decide, fit

MANIFEST = msgspec.json.decode((NANO / "manifest.json").read_bytes(), type=Manifest)
rooms = st.integers(1, 5000)


@given(rooms, rooms, rooms, rooms, rooms)
def test_text_is_bounded_by_the_thinker_and_codes_by_the_talker(thinker, talker, used, tokens, codes):
    manifest = msgspec.structs.replace(
        MANIFEST,
        thinker=msgspec.structs.replace(MANIFEST.thinker, context=thinker),
        talker=msgspec.structs.replace(MANIFEST.talker, context=talker),
    )
    plan = decide(Options(max_tokens=tokens, max_codes=codes), manifest)
    if thinker <= used or talker <= used + 2:
        with pytest.raises(RequestError, match="positions"):
            fit(plan, manifest, used)
        return
    fitted = fit(plan, manifest, used)
    assert fitted.text.max_tokens == min(tokens, thinker - used)
    assert fitted.codes.max_tokens == min(codes, talker - used - 2)
