"""What goes into and comes out of each graph, declared once with optimum's ExporterConfig.

The rows below drive the tracing (which axes are dynamic, what a sample input looks like) and the validation
(samples of other sizes). Sizes of a sample are keyword arguments of `generate_dummy_inputs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from optimum.exporters.base import ExporterConfig
from optimum.utils import DummyInputGenerator
from torch import Tensor

from ..models.windows import window_layout
from .config import OmniConfig

Axes = dict[str, dict[int, str]]
TASK = "feature-extraction"


class _Sample(DummyInputGenerator):
    """Seeded inputs of given sizes; `make` is the table of one graph's inputs."""

    def __init__(self, task: str, normalized_config: OmniConfig, **sizes: int) -> None:
        self.config = normalized_config
        self.generator = torch.Generator().manual_seed(sum(sizes.values()))
        self.values = self.make(**sizes)
        self.SUPPORTED_INPUT_NAMES = tuple(self.values)

    def make(self, **sizes: int) -> dict[str, Tensor]:
        """All inputs of one sample."""
        raise NotImplementedError

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def generate(
        self, input_name: str, framework: str = "pt", int_dtype: str = "int64", float_dtype: str = "fp32"
    ) -> Tensor:
        return self.values[input_name]


class AudioSample(_Sample):
    """Sizes: chunks, frames (of the longest chunk), tail (frames of the last chunk)."""

    def make(self, chunks: int, frames: int, tail: int) -> dict[str, Tensor]:  # pyright: ignore  # noqa: D102
        lengths = torch.full((chunks,), frames)
        lengths[-1] = tail
        return {"mel": self.normal(chunks, self.config.audio.mels, frames), "frames": lengths}


class VisionSample(_Sample):
    """Sizes: grid of patches as time, rows, columns."""

    def make(self, time: int, rows: int, columns: int) -> dict[str, Tensor]:  # pyright: ignore  # noqa: D102
        vision = self.config.vision
        layout = window_layout((time, rows, columns), vision.merge, vision.window // (vision.patch * vision.merge))
        values = self.normal(time * rows * columns, vision.channels * vision.temporal_patch * vision.patch**2)
        names = ("places", "windows", "window_sizes", "window_slots", "frames")
        return {"patches": values, **{name: torch.from_numpy(getattr(layout, name)) for name in names}}


class FlowSample(_Sample):
    """Sizes: conditions (2 with guidance), blocks; before, frames and kept as in the graph."""

    def make(self, conditions: int, blocks: int, before: int, frames: int, kept: int) -> dict[str, Tensor]:  # pyright: ignore  # noqa: D102
        flow = self.config.flow
        length = blocks * flow.block
        shape = (conditions, length // flow.repeats)
        past = (len(flow.look_backward), conditions, flow.block, flow.heads * flow.head_dim)
        return {
            "noisy": self.normal(length, flow.mel_bins),
            "codes": torch.randint(0, flow.num_embeds, shape, generator=self.generator),
            "speaker": self.normal(conditions, flow.hidden),
            "modulation": self.normal(6 * flow.layers + 2, flow.hidden) * 0.3,
            "before": torch.tensor(before),
            "frames": torch.tensor(frames),
            "kept": torch.tensor(kept),
            "past_keys": self.normal(*past),
            "past_values": self.normal(*past),
        }


class VocoderSample(_Sample):
    """Sizes: frames."""

    def make(self, frames: int) -> dict[str, Tensor]:  # pyright: ignore  # noqa: D102
        # Smooth, as speech is: noise drives a trained vocoder where rounding errors of 1e-7 come out as 1e-3.
        rough = self.normal(1, 1, self.config.vocoder.mel_bins + 8, frames + 8)
        return {"rows": (F.avg_pool2d(rough, 9, stride=1)[0] * 9 * 2.5 - 5).transpose(1, 2).contiguous()}


class DecoderSample(_Sample):
    """Sizes: rows (new ones), past (cached ones), capacity (of the buffers), talker (1 for the talker's shape)."""

    def make(self, rows: int, past: int, capacity: int, talker: int) -> dict[str, Tensor]:  # pyright: ignore  # noqa: D102
        config = self.config.talker if talker else self.config.thinker
        start = torch.arange(past, past + rows)
        # Three different axes, as in pictures, so that a mistaken section shows.
        positions = torch.stack([start, start + 3, start * 2])[:, None, :]
        values = {
            "rows": self.normal(1, rows, config.rows),
            "positions": positions,
            "last_index": torch.tensor([past + rows - 1], dtype=torch.int32),
            "total": torch.tensor(past + rows, dtype=torch.int32),
        }
        for layer in range(config.layers):
            for kind in ("key", "value"):
                values[f"past_{kind}.{layer}"] = torch.zeros(1, config.kv_heads, capacity, config.head_dim)
        return values


class GraphInputs(ExporterConfig):
    """One graph's declaration; `inputs` and `outputs` map names to their dynamic axes."""

    NORMALIZED_CONFIG_CLASS = staticmethod(lambda config: config)  # pyright: ignore
    AXES: ClassVar[Axes] = {}
    RESULTS: ClassVar[Axes] = {}

    def __init__(self, config: OmniConfig) -> None:
        super().__init__(config, TASK)  # pyright: ignore  (any object with the sizes serves as a config)

    @property
    def inputs(self) -> Axes:
        """Input name -> dynamic axes."""
        return self.AXES

    @property
    def outputs(self) -> Axes:
        """Output name -> dynamic axes."""
        return self.RESULTS


class AudioInputs(GraphInputs):
    """The audio encoder's inputs."""

    DUMMY_INPUT_GENERATOR_CLASSES = (AudioSample,)
    AXES: ClassVar[Axes] = {"mel": {0: "chunks", 2: "mel_frames"}, "frames": {0: "chunks"}}
    RESULTS: ClassVar[Axes] = {"rows": {0: "chunks", 1: "tokens"}}


class VisionInputs(GraphInputs):
    """The vision encoder's inputs."""

    DUMMY_INPUT_GENERATOR_CLASSES = (VisionSample,)
    AXES: ClassVar[Axes] = {
        "patches": {0: "patches"},
        "places": {0: "patches"},
        "windows": {0: "windows", 1: "window_patches"},
        "window_sizes": {0: "windows"},
        "window_slots": {0: "patches"},
        "frames": {0: "time", 1: "frame_patches"},
    }
    RESULTS: ClassVar[Axes] = {"rows": {0: "tokens"}}


class FlowInputs(GraphInputs):
    """The flow's inputs."""

    DUMMY_INPUT_GENERATOR_CLASSES = (FlowSample,)
    AXES: ClassVar[Axes] = {
        "noisy": {0: "mel_frames"},
        "codes": {0: "conditions", 1: "codes"},
        "speaker": {0: "conditions"},
        "modulation": {},
        "before": {},
        "frames": {},
        "kept": {},
        "past_keys": {1: "conditions"},
        "past_values": {1: "conditions"},
    }
    RESULTS: ClassVar[Axes] = {
        "velocity": {0: "conditions", 1: "mel_frames"},
        "present_keys": {1: "conditions"},
        "present_values": {1: "conditions"},
    }


class VocoderInputs(GraphInputs):
    """The vocoder's inputs."""

    DUMMY_INPUT_GENERATOR_CLASSES = (VocoderSample,)
    AXES: ClassVar[Axes] = {"rows": {1: "mel_frames"}}
    RESULTS: ClassVar[Axes] = {"samples": {1: "samples"}}


class DecoderInputs(GraphInputs):
    """A decoder's inputs; the caches are named by layer."""

    DUMMY_INPUT_GENERATOR_CLASSES = (DecoderSample,)

    def __init__(self, config: OmniConfig, layers: int) -> None:
        super().__init__(config)
        self.layers = layers

    @property
    def inputs(self) -> Axes:
        """Input name -> dynamic axes."""
        caches = {f"past_{k}.{n}": {2: "capacity"} for n in range(self.layers) for k in ("key", "value")}
        return {"rows": {1: "new"}, "positions": {2: "new"}, "last_index": {}, "total": {}, **caches}

    @property
    def outputs(self) -> Axes:
        """Output name -> dynamic axes."""
        caches = {f"present_{k}.{n}": {2: "capacity"} for n in range(self.layers) for k in ("key", "value")}
        return {"hidden": {1: "new"}, "logits": {}, **caches}


def sample(declaration: GraphInputs, sizes: dict[str, int]) -> dict[str, Tensor]:
    """Inputs of the given sizes, in the graph's order."""
    generate: Callable[..., dict[str, Any]] = declaration.generate_dummy_inputs
    return generate(framework="pt", **sizes)


def arrays(inputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The same as numpy arrays, as ONNX Runtime takes them."""
    return {name: tensor.numpy() for name, tensor in inputs.items()}
