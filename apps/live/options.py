"""What the user asked of a live conversation."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from ...models.errors import RequestError
from ...runtime.live.settings import EchoMode, Settings
from ...runtime.live.turns import TurnSettings
from ...runtime.options import Options
from ..terminal import on_terminal
from .saving import USER


@dataclass(frozen=True)
class LiveOptions:
    """As given on the command line."""

    mic: str | None
    """File, index or name; None is the default device."""
    speaker: str | None
    """"none", a wav file, index or name; None is the default device, or `out` when a file is the microphone."""
    camera: str | None
    """File, index, name, or "default"; None is no camera."""
    fast: bool
    """Files play as fast as the work allows."""
    push_to_talk: bool
    """Of a file that is the microphone: all of it is one turn."""
    interrupt: bool
    threshold: float | None
    silence: float | None
    pause: float | None
    echo: EchoMode
    save: Path | None
    """Folder for what was said."""
    replay: Path | None
    """Folder of a saved conversation whose user speaks again."""
    out: Path
    as_json: bool

    def check(self, *, asked: bool) -> None:
        """Refuse what cannot be, before a model is loaded.

        Args:
            asked: whether a question was given with the command.

        Raises:
            RequestError: a question and a conversation, or neither and nobody to talk to; two microphones; no saved
                conversation in the folder; a recording that is no wav; numbers that cannot be.
        """
        named = (self.mic, self.speaker, self.camera, self.save, self.replay)
        if asked and any(value is not None for value in named):
            raise RequestError("a live conversation takes no --text, --audio, --image or --video; say and show it live")
        if not asked and self.mic is None and self.replay is None and not on_terminal(sys.stdin):
            raise RequestError(
                "there is nothing to answer; give --text, --audio, --image or --video (omni-edge run -h)"
            )
        if self.replay is not None and self.mic is not None:
            raise RequestError("--replay is heard in place of a microphone; leave --mic out")
        if self.replay is not None and not (self.replay / USER).is_file():
            raise RequestError(f"{self.replay} holds no saved conversation; --save FOLDER makes one")
        if self.loudspeaker == str(self.out) and self.recording is None:
            raise RequestError(f"the answers are written into {self.out}, as a wav; let --out end in .wav")
        self.turns().check()

    @property
    def microphone(self) -> str | None:
        """What is heard."""
        return self.mic if self.replay is None else str(self.replay / USER)

    @property
    def loudspeaker(self) -> str | None:
        """What is spoken through."""
        return str(self.out) if self.speaker is None and self.plays_file else self.speaker

    @property
    def recording(self) -> Path | None:
        """The wav that is the loudspeaker, if one is."""
        named = self.loudspeaker
        return Path(named) if named is not None and named.lower().endswith(".wav") else None

    @property
    def plays_file(self) -> bool:
        """Whether a file is the microphone."""
        return self.microphone is not None and Path(self.microphone).is_file()

    def turns(self) -> TurnSettings:
        """When a turn begins and ends."""
        own = TurnSettings()
        return TurnSettings(
            threshold=own.threshold if self.threshold is None else self.threshold,
            silence=own.silence if self.silence is None else self.silence,
            pause=own.pause if self.pause is None else self.pause,
            push_to_talk=self.push_to_talk,
        )

    def settings(self, options: Options) -> Settings:
        """How the conversation is led; `options` are those of its replies."""
        # A file does not hear the loudspeaker, and what was saved is free of echo.
        echo = "off" if self.replay is not None or (self.plays_file and self.echo == "auto") else self.echo
        return Settings(self.turns(), self.interrupt, echo, options, video=self.camera is not None)
