"""One tiny bundle, loaded once; sessions on it share caches, as turns of one conversation do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from omni_edge.models.bundle import Bundle, open_bundle
from omni_edge.runtime.events import Done
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Part
from omni_edge.runtime.options import Options
from omni_edge.runtime.session import Session
from omni_edge.runtime.stages import Stages


@pytest.fixture(scope="session")
def bundle(tiny: Any) -> Bundle:
    return open_bundle(tiny.bundle("like-3b"))


@pytest.fixture(scope="session")
def stages(bundle: Bundle) -> Stages:
    return load_stages(bundle)


@pytest.fixture
def session(stages: Stages) -> Iterator[Session]:
    return Session(stages)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def quick(**wishes: Any) -> Options:
    """Few tokens, few codes, one evaluation of the flow, nothing random."""
    return Options(**{"greedy": True, "seed": 1, "max_tokens": 6, "max_codes": 8, **CHEAP_FLOW, **wishes})


CHEAP_FLOW: dict[str, Any] = {"solver": "euler", "flow_steps": 2, "guidance": 0.0}


@pytest.fixture
def ask() -> Any:
    """(session, parts..., wishes) -> Done."""

    def asked(session: Session, *parts: Part | str, **wishes: Any) -> Done:
        done = list(session.respond(*parts, options=quick(**wishes)))[-1]
        assert isinstance(done, Done)
        return done

    return asked


@pytest.fixture(scope="session")
def both(tiny: Any, with_llama: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Thinker and talker for both engines."""
    return with_llama(tiny.bundle("odd"), tiny.checkpoint("odd"), tmp_path_factory.mktemp("both") / "bundle")
