"""What is said where there is no device, or no file."""

from __future__ import annotations

import pytest

from omni_edge.models.errors import DeviceError
from omni_edge.runtime.live.sound_devices import choose_device


@pytest.mark.parametrize("kind", ["microphone", "loudspeaker"])
def test_without_a_device_a_name_may_have_been_meant_as_a_path(kind) -> None:
    with pytest.raises(DeviceError, match=f"no {kind} here. Plug one in$"):
        choose_device([], None, kind)
    with pytest.raises(DeviceError, match=f"no file 'question.wav', and no {kind} here. Check the path"):
        choose_device([], "question.wav", kind)
