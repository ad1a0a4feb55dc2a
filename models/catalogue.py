"""The models that omni-edge knows by a short name, and what may be done with each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """One row of the catalogue."""

    short: str
    """What the user types."""
    checkpoint: str
    """Hugging Face id of the checkpoint; empty for the model that ships in the package."""
    licence: str
    notice: str
    """Printed by every command that touches the model, when not empty."""
    download_bytes: int
    """Approximate size of the checkpoint."""

    @property
    def built_in(self) -> bool:
        """Whether the model ships in the package, so that nothing is downloaded or removed."""
        return not self.checkpoint


CATALOGUE: tuple[KnownModel, ...] = (
    KnownModel(
        short="nano",
        checkpoint="",
        licence="apache-2.0",
        notice="",
        download_bytes=0,
    ),
    KnownModel(
        short="3b",
        checkpoint="Qwen/Qwen2.5-Omni-3B",
        licence="Qwen Research License",
        notice=(
            "Qwen2.5-Omni-3B is under the Qwen Research License: research and evaluation only, "
            "no commercial use; read LICENSE in the checkpoint. The 7B is under apache-2.0."
        ),
        download_bytes=12_000_000_000,
    ),
    KnownModel(
        short="7b",
        checkpoint="Qwen/Qwen2.5-Omni-7B",
        licence="apache-2.0",
        notice="",
        download_bytes=22_400_000_000,
    ),
)


def find(name: str) -> KnownModel | None:
    """The row with this short name or Hugging Face id, in any case of letters; None if there is none."""
    wanted = name.casefold()
    for model in CATALOGUE:
        if wanted and wanted in (model.short.casefold(), model.checkpoint.casefold()):
            return model
    return None
