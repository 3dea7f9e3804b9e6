"""What the doctor looks at: a model folder read without loading the model, and what training would make of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.models.load import DIFF_RECORD
from packtrain.prompts.template import PromptTemplate, folder_template, template_for
from packtrain.prompts.token_file import TokenFile
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer
from packtrain.train.doctor_checks import Finding
from packtrain.weights.model_files import CONFIG, GENERATION_CONFIG, read_object
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.vocabulary import INPUT_TABLES

TOKENIZER_CONFIG, SPECIAL_TOKENS = "tokenizer_config.json", "special_tokens_map.json"
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
"""How config files name the longest sequence: most of them, GPT-2, MPT, ChatGLM."""
_HINT = "mend the file or fetch it again"


@dataclass(frozen=True)
class Examined:
    """A model folder, and the training that it is meant for; a part that is not there or unreadable is None."""

    folder: Path
    config: Mapping[str, Any] | None = None
    generation_config: Mapping[str, Any] | None = None
    tokenizer_config: Mapping[str, Any] | None = None
    """`tokenizer_config.json` over `special_tokens_map.json`, as they stand there."""
    tokenizer: Tokenizer | None = None
    template: PromptTemplate | None = None
    store: TensorStore | None = None
    recipe: Recipe | None = None
    """Given: the folder is the base that this recipe trains. None: it is used as it is."""
    encoded: TokenFile | None = None
    """The training data as training sees it."""
    out: Path | None = None
    """Where the tuned model will be written."""
    unreadable: tuple[Finding, ...] = ()

    @cached_property
    def rows(self) -> int | None:
        """Rows of the token table: in the files, else what the config says of them."""
        table = next((name for name in self.store or () if name.endswith(INPUT_TABLES)), None)
        if table is not None and self.store is not None:
            return self.store.info(table).shape[0]
        rows = self.setting("vocab_size")
        return rows if isinstance(rows, int) else None

    @property
    def context_tokens(self) -> int | None:
        """Longest sequence that the model takes, in tokens; None when the config does not say."""
        found = (self.setting(key) for key in CONTEXT_KEYS)
        return next((value for value in found if isinstance(value, int)), None)

    @property
    def sentencepiece_file(self) -> Path | None:
        """The SentencePiece model beside the tokenizer; None without one."""
        path = self.folder / "tokenizer.model"
        return path if path.is_file() else None

    def setting(self, key: str) -> Any:
        """A value of the config, or of its part about text in a model of several modalities."""
        config = self.config or {}
        text = config.get("text_config")
        return config.get(key, text.get(key) if isinstance(text, dict) else None)

    def declared(self, role: str) -> str | None:
        """The text that the tokenizer's files give to a role such as `eos_token`; None when they do not name it."""
        value = (self.tokenizer_config or {}).get(role)
        text = value.get("content") if isinstance(value, dict) else value
        return text if isinstance(text, str) else None


def examined_folder(
    folder: Path, *, recipe: Recipe | None = None, template: str | None = None, pad_token: str | None = None
) -> Examined:
    """Everything in a model folder that the checks look at; what cannot be read is among the findings.

    `template` is a prompt format as recipes name them (default: the recipe's, else the one in the folder). `pad_token`
    is what training adds to a tokenizer without padding.
    """
    reader = _Reader(folder)
    tokenizer = reader.part("tokenizer", lambda: load_tokenizer(folder))
    if tokenizer is not None and pad_token is not None:
        tokenizer = tokenizer.with_pad(pad_token)
    name = template or (recipe.template if recipe else None)
    examined = replace(
        _files(folder, reader),
        tokenizer=tokenizer,
        template=reader.part("template", lambda: template_for(folder, name) if name else folder_template(folder)),
        store=reader.part("weights", lambda: open_store(folder)),
        recipe=recipe,
    )
    if (folder / DIFF_RECORD).exists():
        what = f"{folder} is a weight diff and no model"
        reader.findings.append(Finding("error", what, DIFF_RECORD, "recover it: packtrain diff recover", "weights"))
    return replace(examined, unreadable=tuple(reader.findings))


def examined_base(
    folder: Path, tokenizer: Tokenizer, template: PromptTemplate, encoded: TokenFile, recipe: Recipe, out: Path | None
) -> Examined:
    """The same for a run whose parts are read already; what cannot be read is left to the loader of the base."""
    reader = _Reader(folder)
    return replace(
        _files(folder, reader),
        tokenizer=tokenizer,
        template=template,
        store=reader.part("weights", lambda: open_store(folder)),
        recipe=recipe,
        encoded=encoded,
        out=out,
    )


class _Reader:
    """Reads parts of a folder, and keeps what is wrong with those that cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.findings: list[Finding] = []

    def part(self, name: str, read: Any) -> Any:
        try:
            return read()
        except UserError as problem:
            self.findings.append(Finding("error", problem.message, str(self.folder), problem.hint, name))
            return None

    def json_object(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        if not path.exists():
            return None
        found: dict[str, Any] | None = self.part(name, lambda: read_object(path, _HINT))
        return found


def _files(folder: Path, reader: _Reader) -> Examined:
    config, generation = reader.json_object(CONFIG), reader.json_object(GENERATION_CONFIG)
    special, declared = reader.json_object(SPECIAL_TOKENS), reader.json_object(TOKENIZER_CONFIG)
    both = dict(special or {})
    both |= {key: value for key, value in (declared or {}).items() if value or not both.get(key)}
    exists = special is not None or declared is not None
    return Examined(folder, config=config, generation_config=generation, tokenizer_config=both if exists else None)
