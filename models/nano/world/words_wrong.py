"""Word error rate."""

from __future__ import annotations

from collections.abc import Iterable


def word_errors(wanted: str, got: str) -> tuple[int, int]:
    """Fewest word changes from one text to the other, and how many words were wanted."""
    truth, guess = wanted.split(), got.split()
    row = list(range(len(guess) + 1))
    for index, word in enumerate(truth, 1):
        above, row[0] = row[0], index
        for place, other in enumerate(guess, 1):
            above, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, above + (word != other))
    return row[-1], len(truth)


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Errors over words wanted, of (wanted, got) pairs."""
    counts = [word_errors(wanted, got) for wanted, got in pairs]
    return sum(errors for errors, _ in counts) / max(1, sum(words for _, words in counts))
