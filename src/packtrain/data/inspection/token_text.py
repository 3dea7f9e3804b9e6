"""What a token stands for, read from its piece: the model's side of the text, not what the tokenizer was given.

Two families of vocabularies are told apart by the tokenizer's decoder. Byte-level ones (GPT-2, OPT) spell bytes with
256 printable letters; SentencePiece ones (LLaMA) write a space as U+2581 and bytes without a piece as `<0x0A>`.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator

from packtrain.data.inspection.visible_text import escaped, visible
from packtrain.prompts.tokenizer import Tokenizer

_BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")
_SENTENCEPIECE_SPACE = "\u2581"
_DOTTED_CIRCLE = "\u25cc"
_LONE_BYTES = range(0xDC80, 0xDD00)
"""Where Python's `surrogateescape` puts bytes that are not UTF-8."""


class TokenText:
    """Pieces and visible text of a tokenizer's ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._backend = tokenizer.backend
        added = tokenizer.backend.get_added_tokens_decoder()
        self._added = {int(token_id): str(token.content) for token_id, token in added.items()}
        self._special = frozenset(int(token_id) for token_id, token in added.items() if token.special)
        parts = f"{tokenizer.backend.pre_tokenizer} {tokenizer.backend.decoder}"
        self._byte_of_letter = _byte_level_alphabet() if "ByteLevel" in parts else {}

    def is_special(self, token_id: int) -> bool:
        """True for control tokens: beginning and end of sequence, padding, unknown."""
        return token_id in self._special

    def piece(self, token_id: int) -> str:
        """The entry of the vocabulary; "" for an id that it does not have."""
        return str(self._backend.id_to_token(token_id) or "")

    def texts(self, ids: Iterable[int]) -> Iterator[str]:
        """The visible text of each token where it stands.

        The bytes of `€`, cut in three, are ‹0xE2›, ‹0x82› and ‹0xAC=€›; bytes that make no character
        stay bytes. An accent at the beginning of a token stands on a dotted circle.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        for token_id in ids:
            if token_id in self._added:
                decoder.reset()
                yield visible(self._added[token_id])
            else:
                yield _show(self._bytes(self.piece(token_id)), decoder)

    def _bytes(self, piece: str) -> bytes:
        if self._byte_of_letter and all(letter in self._byte_of_letter for letter in piece):
            return bytes(self._byte_of_letter[letter] for letter in piece)
        byte = _BYTE_PIECE.fullmatch(piece)
        return bytes([int(byte[1], 16)]) if byte else piece.replace(_SENTENCEPIECE_SPACE, " ").encode()


def _show(data: bytes, decoder: codecs.IncrementalDecoder) -> str:
    """Visible text of one token's bytes; `decoder` holds the bytes of a character that tokens before it have begun."""
    if not data:
        return ""
    begun = len(decoder.getstate()[0])
    characters = decoder.decode(data)
    shown = []
    if begun and characters:
        if ord(characters[0]) in _LONE_BYTES:  # it does not go on; its bytes have been shown in their places
            characters = characters[begun:]
        else:
            *before, last = characters[0].encode()[begun:]
            shown = [*_bytes_alone(before), escaped(f"0x{last:02X}={visible(characters[0]).strip('‹›')}")]
            characters = characters[1:]
    elif characters and unicodedata.combining(characters[0]):
        shown = [_DOTTED_CIRCLE]
    for character in characters:
        lone = ord(character) in _LONE_BYTES
        shown += _bytes_alone(character.encode(errors="surrogateescape")) if lone else [visible(character)]
    unfinished = decoder.getstate()[0][-len(data) :]
    return "".join([*shown, *_bytes_alone(unfinished)])


def _bytes_alone(data: Iterable[int]) -> list[str]:
    return [escaped(f"0x{byte:02X}") for byte in data]


def _byte_level_alphabet() -> dict[str, int]:
    """The byte of each letter of GPT-2's vocabulary: printable ones stand for themselves, the rest from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + place): byte for place, byte in enumerate(others)}
