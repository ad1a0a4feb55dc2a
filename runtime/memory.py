"""How far back a conversation reaches when the model's context is full: oldest turns are forgotten whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..models.manifest import Manifest
from .messages import Message
from .options import Plan
from .reading import Draft

RESERVE = 4
"""At most one part in this many of the context is kept free for the reply."""
REMEMBERED = 2
"""When turns have to go, so many go that the rest takes one part in this many of the context. All that stays must be
read again, at other places, so it should not happen every turn."""


def turns(history: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """Leading system messages, and turns: what the user said up to and with what was answered."""
    start = next((index for index, message in enumerate(history) if message.role != "system"), len(history))
    found: list[list[Message]] = []
    for message in history[start:]:
        if not found or (message.role != "assistant" and found[-1][-1].role == "assistant"):
            found.append([])
        found[-1].append(message)
    return list(history[:start]), found


def context_of(manifest: Manifest) -> int:
    """Rows that both thinker and talker can hold."""
    return min(manifest.thinker.context, manifest.talker.context)


def reserve(plan: Plan, manifest: Manifest) -> int:
    """Rows of the context that are kept for a reply: its greatest length, a quarter of the context at most."""
    longest = max(plan.text.max_tokens, plan.codes.max_tokens if plan.speech else 0)
    return min(longest, context_of(manifest) // RESERVE)


def recall(
    history: Sequence[Message], question: Message, plan: Plan, manifest: Manifest, draft: Callable[..., Draft]
) -> tuple[Draft, int]:
    """The prompt of a question, without the oldest turns when they leave too little room for a reply.

    Args:
        history: what was said before, system message included.
        question: the user's new message.
        plan: of the reply; its greatest length is the room it needs, a quarter of the context at most.
        manifest: of the model.
        draft: messages -> their prompt.

    Returns:
        The prompt, and how many turns it leaves out. It may still be too long when none is left.
    """
    prompt = draft([*history, question])
    context = context_of(manifest)
    if prompt.used + reserve(plan, manifest) <= context:
        return prompt, 0
    head, remembered = turns(history)
    count = len(remembered)
    while remembered and prompt.used > context // REMEMBERED:
        del remembered[0]
        prompt = draft([*head, *(message for turn in remembered for message in turn), question])
    return prompt, count - len(remembered)


def forgotten(count: int) -> str:
    """What the user is told."""
    what = "its oldest turn is" if count == 1 else f"its {count} oldest turns are"
    return f"the conversation is longer than this model's context; {what} forgotten"
