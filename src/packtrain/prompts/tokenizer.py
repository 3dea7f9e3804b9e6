"""Tokenizers with their special tokens, read from and written to Hugging Face folders."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tokenizers

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.progress import say

CONFIG = "tokenizer_config.json"
EOS_CANDIDATES = ("</s>", "<|endoftext|>", "<|im_end|>")
PAD_CANDIDATES = ("<pad>", "[PAD]", "<|pad|>")


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer of the tokenizers library and the roles of its special tokens."""

    backend: tokenizers.Tokenizer
    eos_token: str
    bos_token: str | None = None
    pad_token: str | None = None
    unk_token: str | None = None

    def __len__(self) -> int:
        """Number of token ids, added tokens included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    def id_of(self, token: str) -> int:
        """The id of a token that is in the vocabulary."""
        found = self.backend.token_to_id(token)
        if found is None:
            raise UserError(f"the tokenizer has no token {token!r}", "check the special tokens of the tokenizer folder")
        return found

    @property
    def eos_id(self) -> int:
        """Id of end-of-sequence."""
        return self.id_of(self.eos_token)

    @property
    def pad_id(self) -> int:
        """Id of the padding token; end-of-sequence stands in where there is none (masks come from lengths, not ids)."""
        return self.eos_id if self.pad_token is None else self.id_of(self.pad_token)

    @property
    def first_token(self) -> str | None:
        """The token that the tokenizer itself puts before every text; None when it adds nothing."""
        ids = self.backend.encode("").ids
        return None if not ids else self.backend.id_to_token(ids[0])

    def encode(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """Ids and character offsets of each text, the tokenizer's own first token included; uses all cores."""
        return list(self.backend.encode_batch(list(texts)))

    def ids(self, text: str) -> list[int]:
        """Token ids of one text, the tokenizer's own first token included."""
        return list(self.backend.encode(text).ids)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of token ids."""
        return str(self.backend.decode(list(ids), skip_special_tokens=skip_special))

    def with_pad(self, token: str) -> "Tokenizer":
        """The same tokenizer with a padding token: the one it has, one that is in its vocabulary, or a new `token`."""
        if self.pad_token is not None:
            return self
        known = next((text for text in (token, *PAD_CANDIDATES) if self.backend.token_to_id(text) is not None), None)
        if known is not None:
            return replace(self, pad_token=known)
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.add_special_tokens([tokenizers.AddedToken(token, normalized=False, special=True)])
        return replace(self, backend=backend, pad_token=token)

    def save(self, folder: Path, chat_template: str | None = None) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja`, each atomically."""
        with atomic_file(folder / "tokenizer.json") as file:
            file.write(self.backend.to_str())
        specials = {"bos_token": self.bos_token, "eos_token": self.eos_token, "pad_token": self.pad_token}
        config = {name: token for name, token in {**specials, "unk_token": self.unk_token}.items() if token is not None}
        config |= {"padding_side": "right", "tokenizer_class": "PreTrainedTokenizerFast"}
        with atomic_file(folder / CONFIG) as file:
            json.dump({**config, "clean_up_tokenization_spaces": False}, file, indent=2)
        if chat_template is not None:
            with atomic_file(folder / "chat_template.jinja") as file:
                file.write(chat_template)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder: `tokenizer.json`, else `tokenizer.model`, else what transformers makes of it.

    UserError when there is none, or when it has no end-of-sequence token: a model tuned without
    one never stops. A known end-of-sequence token that is in the vocabulary but not declared
    (Galactica's folder, early LLaMA conversions with empty strings) is used, and said.
    """
    backend = _backend(folder)
    declared = _declared(folder)
    eos = declared.get("eos_token")
    if eos is None:
        eos = next((token for token in EOS_CANDIDATES if backend.token_to_id(token) is not None), None)
        if eos is None:
            raise UserError(
                f"the tokenizer in {folder} has no end-of-sequence token",
                f'name one as "eos_token" in {CONFIG}; without it a tuned model never stops',
            )
        say(f"note: {folder} declares no end-of-sequence token; using {eos} from its vocabulary")
    if backend.token_to_id(eos) is None:
        raise UserError(
            f"the end-of-sequence token {eos!r} of {folder} is not in its vocabulary", f"mend {CONFIG} or the tokenizer"
        )
    in_vocabulary = {name: token for name, token in declared.items() if backend.token_to_id(token) is not None}
    optional = {name: in_vocabulary.get(name) for name in ("bos_token", "pad_token", "unk_token")}
    return Tokenizer(backend, eos, **optional)


def _backend(folder: Path) -> tokenizers.Tokenizer:
    try:
        if (folder / "tokenizer.json").exists():
            backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            backend.no_truncation()
            backend.no_padding()
            return backend
        if (folder / "tokenizer.model").exists():
            from packtrain.prompts.sentencepiece import tokenizer_from_sentencepiece

            return tokenizer_from_sentencepiece(folder / "tokenizer.model")
        from transformers import AutoTokenizer

        slow_or_fast: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return tokenizers.Tokenizer.from_str(slow_or_fast.backend_tokenizer.to_str())
    except UserError:
        raise
    except Exception as error:  # the libraries raise bare Exception for unreadable files
        raise UserError(
            f"cannot read the tokenizer in {folder}: {' '.join(str(error).split())[:200]}",
            "the folder must hold tokenizer.json, tokenizer.model, or vocab.json and merges.txt",
        ) from error


def _declared(folder: Path) -> dict[str, str]:
    """Special tokens that the folder names, empty ones left out; `tokenizer_config.json` wins over the special map."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", CONFIG):
        path = folder / name
        if not path.exists():
            continue
        try:
            content = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is not a JSON object ({error})", "mend the file or fetch it again") from error
        for role in ("bos_token", "eos_token", "pad_token", "unk_token"):
            value = content.get(role)
            text = value.get("content") if isinstance(value, dict) else value
            if text and isinstance(text, str):
                found[role] = text
    return found
