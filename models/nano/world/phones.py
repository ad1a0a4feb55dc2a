"""One set of phones for all synthesisers, so that a sound has one label whoever made it."""

from __future__ import annotations

PHONES = (
    "_ aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v w y z zh"
).split()
"""Flite's names; "_" is silence."""
INDEX = {name: index for index, name in enumerate(PHONES)}

_ESPEAK = {
    "0": "aa", "A:": "aa", "A@": "aa", "A": "aa", "a": "ae", "a#": "ax", "@": "ax", "@2": "ax", "@L": "l",
    "V": "ah", "VR": "er", "3": "er", "3:": "er", "E": "eh", "e": "eh", "e@": "eh", "I": "ih", "I2": "ih", "I#": "ih",
    "IR": "er", "i@": "ih", "i@3": "ih", "i": "iy", "i:": "iy", "O": "ao", "O:": "ao", "O@": "ao", "o@": "ao",
    "U": "uh", "U@": "uh", "u": "uw", "u:": "uw", "aI": "ay", "aI2": "ay", "aI@": "ay", "aI3": "ay", "aU": "aw",
    "aU@": "aw", "eI": "ey", "oU": "ow", "o": "ow", "OI": "oy", "D": "dh", "T": "th", "S": "sh", "Z": "zh", "N": "ng",
    "dZ": "jh", "tS": "ch", "h": "hh", "j": "y", ";": "y", "r": "r", "r-": "r", "r#": "r", "R": "r", "R2": "r",
    "t#": "t", "t[": "t", "t2": "t", "w#": "w", "l#": "l", "l^": "l", "n-": "n", "m-": "m", "d[": "d", "z#": "z",
    "s2": "s", "_:": "_", "_": "_", "_|": "_", "_!": "_", "?": "_",
}  # fmt: skip


def label(name: str) -> int:
    """Index in `PHONES` of a synthesiser's own name; a vowel of a rare accent counts as the neutral one."""
    return INDEX[name] if name in INDEX else INDEX[_ESPEAK.get(name, "ax")]
