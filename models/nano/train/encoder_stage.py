"""First stage of hearing: the audio tower alone learns the phone of every 20 ms, and letters by CTC."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..world.grammar import text_allowed
from ..world.hearing import HELD_OUT
from ..world.phones import PHONES
from ..world.words_wrong import word_error_rate
from .marathon import Marathon, StageOptions
from .muon import Muon
from .sounds import MEL_LOW, MEL_STEP, Sounds, load
from .thinker import audio_hidden, new_thinker

LETTERS = "_" + string.ascii_lowercase + "' "
"""CTC's symbols; the first is its blank."""
BATCH = 32
LEARNING_RATE = 3e-3
CTC_WEIGHT = 0.3
NO_LABEL = -100
EVALUATE_EVERY = 150.0
"""CPU seconds."""


class PhoneHead(nn.Module):
    """Phones and letters from the tower's 50 positions a second; thrown away when nano is done."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.phones = nn.Linear(width, len(PHONES))
        self.letters = nn.Linear(width, len(LETTERS))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[B, L, d] to logits [B, L, phones] and [B, L, letters]."""
        normed = self.norm(hidden)
        return self.phones(normed), self.letters(normed)


@dataclass(frozen=True)
class Heard:
    """A batch of sounds."""

    mel: Tensor
    """float [B, F, 128]"""
    frames: Tensor
    """int [B]"""
    labels: Tensor
    """int [B, L], NO_LABEL after the end"""
    texts: list[str]

    @property
    def lengths(self) -> Tensor:
        """Encoder positions, int [B]."""
        return (self.frames - 1) // 2 + 1


def batches(sounds: Sounds, rng: Random, size: int) -> Iterator[list[int]]:
    """One pass over the sounds of the training half in batches of similar length, the batches in random order."""
    lengths = np.diff(sounds.frames)
    order = [index for index, text in enumerate(sounds.texts) if text_allowed(text, "train")]
    rng.shuffle(order)
    groups = []
    for start in range(0, len(order), 16 * size):
        pool = sorted(order[start : start + 16 * size], key=lambda index: lengths[index])
        groups += [pool[first : first + size] for first in range(0, len(pool), size)]
    rng.shuffle(groups)
    yield from groups


def gather(sounds: Sounds, chosen: list[int], rng: Random | None) -> Heard:
    """Pad some sounds into a batch; with `rng`, colour and mask them too."""
    mels = [sounds.mel_of(index) for index in chosen]
    frames = torch.tensor([len(mel) for mel in mels])
    padded = torch.zeros(len(chosen), int(frames.max()), 128)
    labels = torch.full((len(chosen), (int(frames.max()) - 1) // 2 + 1), NO_LABEL)
    for row, (index, mel) in enumerate(zip(chosen, mels, strict=True)):
        values = torch.from_numpy(mel).float() * MEL_STEP + MEL_LOW
        padded[row, : len(mel)] = values if rng is None else roughen(values, rng)
        phones = torch.from_numpy(sounds.labels_of(index).astype(np.int64))
        labels[row, : len(phones)] = phones
    return Heard(padded, frames, labels, [sounds.texts[index] for index in chosen])


def roughen(mel: Tensor, rng: Random) -> Tensor:
    """Another throat, level and microphone, and small holes in time and frequency: [F, 128]."""
    # Stretching the frequency axis moves the formants, as another length of throat does.
    places = (torch.arange(128) * rng.uniform(0.87, 1.13)).clamp(max=126.999)
    low = places.long()
    mel = torch.lerp(mel[:, low], mel[:, low + 1], places - low)
    bins = torch.linspace(0, torch.pi, 128)
    colour = sum(rng.uniform(-0.2, 0.2) * torch.cos(order * bins) for order in range(1, 4))
    mel = mel + (rng.uniform(-0.15, 0.15) + colour)
    quiet = float(mel.min())
    for _ in range(2):
        low, start = rng.randrange(128), rng.randrange(len(mel))
        mel[:, low : low + rng.randrange(12)] = quiet
        mel[start : start + rng.randrange(8)] = quiet
    return mel


def losses(head: PhoneHead, hidden: Tensor, heard: Heard) -> tuple[Tensor, Tensor, Tensor]:
    """Phone cross-entropy, CTC per letter, and the share of positions with the right phone."""
    phones, letters = head(hidden)
    labels = heard.labels.flatten()
    phone_loss = F.cross_entropy(phones.flatten(0, 1), labels, ignore_index=NO_LABEL)
    known = labels != NO_LABEL
    right = (phones.flatten(0, 1).argmax(1) == labels)[known].float().mean()
    targets = [[LETTERS.index(letter) for letter in text] for text in heard.texts]
    sizes = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([letter for target in targets for letter in target])
    log_odds = letters.log_softmax(2).transpose(0, 1)
    ctc = F.ctc_loss(log_odds, flat, heard.lengths, sizes, reduction="sum", zero_infinity=True) / sizes.sum()
    return phone_loss, ctc, right


def greedy_letters(head: PhoneHead, hidden: Tensor, lengths: Tensor) -> list[str]:
    """What CTC reads: the best letter of each position, repeats and blanks dropped."""
    best = head(hidden)[1].argmax(2)
    texts = []
    for row, length in zip(best, lengths.tolist(), strict=True):
        kept = torch.unique_consecutive(row[:length]).tolist()
        texts.append("".join(LETTERS[index] for index in kept if index))
    return texts


def train_shards(folder: Path) -> list[Path]:
    """The training shards written so far."""
    return sorted((folder / "sounds").glob("train-*.npz"))


def bare_shards(folder: Path) -> list[Path]:
    """The shards of what goes with a typed verb, in nano's own voice too once it has one."""
    return sorted([*(folder / "sounds").glob("bare-*.npz"), *(folder / "sounds").glob("own-*.npz")])


def test_sets(folder: Path) -> dict[str, Sounds]:
    """Held-out sentences by kind of voice: "seen" and each voice that training never uses."""
    paths = {name: folder / "sounds" / f"test-{name}.npz" for name in ("seen", *HELD_OUT)}
    return {name: load([path]) for name, path in paths.items() if path.exists()}


def run(options: StageOptions) -> None:
    """Train the audio tower for `options.minutes`."""
    marathon = Marathon("encoder", options)
    tower = new_thinker(options.seed).model.audio_tower
    head = PhoneHead(tower.config.d_model)
    named = [*tower.named_parameters(), *((f"head.{name}", value) for name, value in head.named_parameters())]
    # What comes after the pooling is not used here, so it gets no gradient.
    optimiser = Muon(
        [pair for pair in named if not pair[0].startswith(("proj", "ln_post", "audio_bos"))], LEARNING_RATE
    )
    if state := marathon.load():
        tower.load_state_dict(state["tower"])
        head.load_state_dict(state["head"])
        optimiser.load_state_dict(state["optimiser"])

    def live() -> dict[str, object]:
        return {"tower": tower.state_dict(), "head": head.state_dict(), "optimiser": optimiser.state_dict()}

    tests, evaluated = test_sets(options.folder), marathon.cpu_seconds
    while not marathon.over:
        sounds = load(train_shards(options.folder))
        rng = Random(f"encoder/{options.seed}/{marathon.step}")
        sums = torch.zeros(4)
        for chosen in batches(sounds, rng, BATCH):
            heard = gather(sounds, chosen, rng)
            hidden = audio_hidden(tower, heard.mel, heard.frames)
            phone_loss, ctc, right = losses(head, hidden, heard)
            optimiser.zero_grad()
            (phone_loss + CTC_WEIGHT * ctc).backward()
            optimiser.step(marathon.rate())
            marathon.step += 1
            sums += torch.tensor([phone_loss.item(), ctc.item(), right.item(), 1])
            if marathon.step % 50 == 0:
                mean = (sums / sums[3]).tolist()
                marathon.log(phone_loss=mean[0], ctc=mean[1], phones_right=mean[2], sounds=len(sounds))
                sums.zero_()
            if marathon.cpu_seconds - evaluated > EVALUATE_EVERY:
                evaluated = marathon.cpu_seconds
                marathon.log(**evaluate(tower, head, tests))
            marathon.save_if_due(live())
            if marathon.over:
                break
    marathon.log(**evaluate(tower, head, tests))
    marathon.finish(live())


@torch.no_grad()
def evaluate(tower: nn.Module, head: PhoneHead, tests: dict[str, Sounds]) -> dict[str, float]:
    """Phone accuracy and CTC word errors on each held-out set."""
    figures = {}
    for name, sounds in tests.items():
        heard = gather(sounds, sorted(range(len(sounds)), key=lambda index: len(sounds.mel_of(index))), None)
        hidden = audio_hidden(tower, heard.mel, heard.frames)  # pyright: ignore
        if name != "festival":
            figures[f"{name}_phones"] = float(losses(head, hidden, heard)[2])
        read = greedy_letters(head, hidden, heard.lengths)
        figures[f"{name}_ctc_wer"] = word_error_rate(zip(heard.texts, read, strict=True))
    return figures
