"""Text to ids and back, through the `tokenizers` library and the bundle's tokenizer.json.

Encoding never makes control tokens: text is text, whatever it spells. Who wants a control token names it
(`Tokenizer.controls`). Decoding one id at a time goes by bytes, since a byte-level BPE token may end in the
middle of a character.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers.decoders import ByteLevel

from ..models.errors import BundleError, RequestError


class Tokenizer:
    """A byte-level BPE tokenizer.

    Args:
        path: tokenizer.json.

    Raises:
        BundleError: the file is missing, is no tokenizer, or is not byte-level.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._inner = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more precise
            raise BundleError(f"{path} is not a tokenizer: {error}. Export the checkpoint again") from error
        if not isinstance(self._inner.decoder, ByteLevel):
            raise BundleError(f"{path} is not a byte-level tokenizer. Export the checkpoint again")
        self._inner.encode_special_tokens = True  # the library's name for reading specials as plain text
        self.controls: Mapping[str, int] = {
            token.content: number for number, token in self._inner.get_added_tokens_decoder().items() if token.special
        }
        """Control tokens by name. Other added tokens ("<tool_call>") are words: `encode` makes them."""
        self._bytes = _bytes_of_letters()

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; "<|im_start|>" becomes the ids of its letters.

        Raises:
            RequestError: lone surrogates, which are no text (undecodable bytes read as `surrogateescape`).
        """
        try:
            return self._inner.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise RequestError("The text holds bytes that are no UTF-8; decode them before asking") from error

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids. Control tokens and ids without a token (the tts and speaker rows) leave nothing.

        Bytes that are no UTF-8 become U+FFFD.
        """
        return self._inner.decode(ids, skip_special_tokens=True)

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes, possibly a piece of a character, that `token` stands for in `decode`."""
        letters = self._inner.id_to_token(token)
        if letters is None or letters in self.controls:
            return b""
        try:
            return bytes(self._bytes[letter] for letter in letters)
        except KeyError:  # an added token spelt in other letters is its own text, as in the library
            return letters.encode()


class TextStream:
    """Text of ids that come one by one; all it returns, joined, is `decode` of all ids.

    Args:
        tokenizer: of the model that generates the ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Text that is certain now. Empty while a character is incomplete; at most three bytes wait."""
        return self._utf8.decode(self._tokenizer.token_bytes(token))

    def finish(self) -> str:
        """U+FFFD if the ids ended inside a character, else nothing. The stream is then as new."""
        return self._utf8.decode(b"", final=True)


def _bytes_of_letters() -> dict[str, int]:
    """Byte-level BPE's alphabet: printable Latin-1 for itself, U+0100 onwards for the other 68 bytes."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(0x100) if byte not in printable)
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + place): byte for place, byte in enumerate(others)}
