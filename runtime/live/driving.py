"""Microphone and camera into a conversation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .conversation import Conversation
from .sources import Camera, Heard, Microphone, Trouble

PATIENCE = 0.1
"""Seconds that one `step` waits for sound at most."""


class Driver:
    """Carries what devices give to a conversation, a step at a time, in whoever's thread calls.

    Args:
        conversation: that hears and sees.
        microphone: whose samples are the clock.
        camera: or None.
    """

    def __init__(self, conversation: Conversation, microphone: Microphone, camera: Camera | None = None) -> None:
        self._conversation = conversation
        self._microphone = microphone
        self._camera = camera
        self.has_camera = self.sees = camera is not None
        """Whether what the camera gives is passed on."""

    def step(self) -> NDArray[np.float32]:
        """Pass on what is new; waits for it, but not long. Returns what counts as said by the user, [n]."""
        came = self._microphone.read(PATIENCE)
        self.look()
        pieces = [np.zeros(0, np.float32)]
        for event in came:
            if isinstance(event, Heard):
                pieces.append(event.samples)
            else:
                self._conversation.trouble(event)
        return self._conversation.hear(np.concatenate(pieces))

    def look(self) -> None:
        """Pass on what the camera has; `step` does this before it passes on sound."""
        for event in self._camera.read() if self._camera is not None else []:
            if isinstance(event, Trouble):
                self._conversation.trouble(event)
            elif self.sees:
                self._conversation.see(event)
