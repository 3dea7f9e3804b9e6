"""Meta's own LLaMA folders: `params.json`, `consolidated.NN.pth`, `tokenizer.model`, checked before they are believed.

The layout is that of Meta's llama repository (llama/model.py) and of its download: every model has a
folder, and the tokenizer lies in it or beside it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from packtrain.core.errors import UserError
from packtrain.weights.bin_file import BinFile
from packtrain.weights.model_files import CONFIG, read_object

PARAMS, TOKENIZER = "params.json", "tokenizer.model"
BOS_ID, EOS_ID = 1, 2
MAX_ROWS = 100_000
"""More token rows than that are Llama 3's, whose rotary frequencies and tokenizer are of another kind."""

_SHARD = re.compile(r"consolidated\.(\d\d)\.pth")
_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n")
_OTHERS = "only LLaMA, Llama 2 and Code Llama are converted; for others take the publisher's Hugging Face folder"
_GET = "give a model folder as Meta publishes it (params.json, consolidated.00.pth ...), downloaded whole"

Size = Annotated[int, Field(gt=0, lt=2**31)]


class LlamaParams(BaseModel):
    """What `params.json` says of the model; keys that change nothing in the weights are left out."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    dim: Size
    n_layers: Size
    n_heads: Size
    n_kv_heads: Size | None = None
    norm_eps: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    multiple_of: Size = 256
    ffn_dim_multiplier: Annotated[float, Field(gt=0, lt=100)] | None = None
    rope_theta: Annotated[float, Field(gt=1)] | None = None
    vocab_size: Literal[-1] | Size = -1
    """-1 leaves it to the weights."""
    use_scaled_rope: bool = False

    @property
    def kv_heads(self) -> int:
        """Key-value heads: as many as query heads where the file does not group them."""
        return self.n_kv_heads or self.n_heads

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.n_heads

    @property
    def intermediate_size(self) -> int:
        """Width of the feed-forward layer (llama/model.py, FeedForward)."""
        width = int(2 * 4 * self.dim / 3)
        if self.ffn_dim_multiplier is not None:
            width = int(self.ffn_dim_multiplier * width)
        return -(-width // self.multiple_of) * self.multiple_of

    @property
    def context_tokens(self) -> int:
        """Tokens that the model was trained to read at once: 2048 (LLaMA), 4096 (Llama 2), 16384 (Code Llama).

        The file does not say it; this is how the published ones differ. Code Llama alone states `rope_theta`.
        `n_kv_heads` and `ffn_dim_multiplier` begin with Llama 2. Its 7B and 13B have `norm_eps`
        1e-5 where LLaMA has 1e-6, except LLaMA 65B, which has 1e-5 too and is 8192 wide.
        """
        if self.rope_theta is not None:
            return 16384
        if self.n_kv_heads is not None or self.ffn_dim_multiplier is not None:
            return 4096
        return 4096 if self.norm_eps == 1e-5 and self.dim < 8192 else 2048


@dataclass(frozen=True)
class MetaFolder:
    """A model in Meta's layout."""

    folder: Path
    params: LlamaParams
    shards: tuple[BinFile, ...]


def open_meta_folder(folder: Path) -> MetaFolder:
    """The model in `folder`: its parameters and the headers of its shards.

    UserError that says what the folder is instead, which shard is missing, or which value is wrong.
    """
    if not folder.is_dir():
        raise UserError(f"no model folder at {folder}", "check the path; Meta's models are not fetched from the Hub")
    matches = (_SHARD.fullmatch(path.name) for path in folder.iterdir())
    numbers = sorted(int(match[1]) for match in matches if match)
    if not numbers and (folder / CONFIG).is_file():
        raise UserError(
            f"{folder} is already converted: it is in the Hugging Face layout (it has a {CONFIG})", "use it as it is"
        )
    if not (folder / PARAMS).is_file():
        inside = sorted(path.parent.name for path in folder.glob(f"*/{PARAMS}"))
        raise UserError(
            f"{folder} holds no {PARAMS}",
            f"give one of the model folders in it: {', '.join(inside)}" if inside else _GET,
        )
    params = _params(folder / PARAMS)
    if not numbers:
        raise UserError(f"{folder} holds no consolidated.00.pth", _GET)
    missing = next((number for number in range(numbers[-1]) if number not in numbers), None)
    if missing is not None:
        found = ", ".join(f"{number:02d}" for number in numbers)
        raise UserError(f"{folder} lacks consolidated.{missing:02d}.pth (found: {found})", "download the missing shard")
    for what, count in (("n_heads", params.n_heads), ("n_kv_heads", params.kv_heads)):
        if count % len(numbers):
            raise UserError(
                f"{folder}: {len(numbers)} shards cannot share {what} {count} of {PARAMS}",
                "a shard is missing, or does not belong to this model: download the folder again",
            )
    return MetaFolder(folder, params, tuple(BinFile(folder / f"consolidated.{n:02d}.pth") for n in numbers))


def _params(path: Path) -> LlamaParams:
    try:
        params = LlamaParams.model_validate(read_object(path, _GET))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'][:1]))}: {each['msg']}" for each in error.errors())
        raise UserError(f"{path} does not describe a LLaMA model ({wrong})", _GET) from error
    if params.use_scaled_rope or params.vocab_size > MAX_ROWS:
        raise UserError(f"{path} describes Llama 3 or later", _OTHERS)
    if params.dim % (2 * params.n_heads) or params.n_heads % params.kv_heads:
        sizes = f"dim {params.dim}, n_heads {params.n_heads}, n_kv_heads {params.kv_heads}"
        raise UserError(f"{path}: {sizes} do not fit one another", _GET)
    return params


def find_tokenizer(folder: Path) -> Path:
    """The SentencePiece model of a Meta folder, in it or one folder above; UserError when there is none of LLaMA's."""
    places = (folder.absolute(), folder.absolute().parent)
    path = next((place / TOKENIZER for place in places if (place / TOKENIZER).is_file()), None)
    if path is None:
        raise UserError(
            f"no {TOKENIZER} in {places[0]} or in {places[1]}",
            f"put Meta's {TOKENIZER} into one of the two, or give --no-tokenizer to convert the weights alone",
        )
    with open(path, "rb") as file:
        if _TIKTOKEN.match(file.read(1024)):
            raise UserError(
                f"{path} is a tiktoken vocabulary, as of Llama 3 or later, not a SentencePiece model",
                _OTHERS,
            )
    return path


def count_pieces(tokenizer: Path) -> int:
    """Number of tokens of a SentencePiece model; UserError when it cannot be read or is not one of LLaMA's kind."""
    from sentencepiece import SentencePieceProcessor

    hint = f"get Meta's {TOKENIZER} again (499,723 bytes for LLaMA and Llama 2)"
    try:
        processor = SentencePieceProcessor(model_file=str(tokenizer))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{tokenizer} is not a SentencePiece model", hint) from error
    ids = processor.unk_id(), processor.bos_id(), processor.eos_id()
    if ids != (0, BOS_ID, EOS_ID):
        raise UserError(f"{tokenizer} is not LLaMA's: the ids of <unk>, <s>, </s> are {ids}, not (0, 1, 2)", hint)
    return int(processor.piece_size())
