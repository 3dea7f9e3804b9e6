"""Which tensors a LLaMA model has, how they lie in Meta's shards, and what transformers calls them."""

from collections.abc import Iterator
from dataclasses import dataclass

from packtrain.core.errors import UserError
from packtrain.weights.info import FLOATING
from packtrain.weights.llama_folder import BOS_ID, EOS_ID, MAX_ROWS, PARAMS, LlamaParams, MetaFolder

NOT_CONVERTED = "rope.freqs"
"""A buffer of Meta's code that follows from the configuration."""
_HINT = "the folder is not LLaMA, Llama 2 or Code Llama as Meta publishes them, or not downloaded whole"


@dataclass(frozen=True, slots=True)
class LlamaTensor:
    """One tensor of the result, and how it lies in Meta's shards."""

    meta: str
    name: str
    shape: tuple[int, ...]
    joined: int | None
    """The dimension along which shards hold parts of it; None: every shard holds the whole."""
    heads: int = 0
    """Heads whose rows are put in transformers' order; 0: the rows stay as they are."""

    def shares_in(self, shards: int) -> bool:
        """Whether it can be cut into so many equal parts."""
        return self.joined is None or self.shape[self.joined] % shards == 0

    def part(self, shards: int) -> tuple[int, ...]:
        """Shape of what one shard holds."""
        return tuple(size // shards if axis == self.joined else size for axis, size in enumerate(self.shape))


def llama_tensors(meta: MetaFolder) -> list[LlamaTensor]:
    """Every tensor of the result, the token table first; UserError where a shard's header says otherwise."""
    params, shards = meta.params, meta.shards
    table = shards[0].infos.get("tok_embeddings.weight")
    if table is None or len(table.shape) != 2:
        raise UserError(f"{shards[0].path} has no tensor tok_embeddings.weight", _HINT)
    rows = table.shape[0]
    if rows > MAX_ROWS:
        raise UserError(f"{meta.folder} has {rows} token rows: it is Llama 3 or later", _HINT)
    if params.vocab_size not in (-1, rows):
        raise UserError(f"{meta.folder}: {PARAMS} says vocab_size {params.vocab_size}, the weights {rows}", _HINT)
    width, hidden = params.dim, params.intermediate_size
    tensors = [
        LlamaTensor("tok_embeddings.weight", "model.embed_tokens.weight", (rows, width), 1),
        *(tensor for number in range(params.n_layers) for tensor in _layer(params, number, width, hidden)),
        LlamaTensor("norm.weight", "model.norm.weight", (width,), None),
        LlamaTensor("output.weight", "lm_head.weight", (rows, width), 0),
    ]
    unshared = next((tensor for tensor in tensors if not tensor.shares_in(len(shards))), None)
    if unshared is not None:
        raise UserError(
            f"{meta.folder}: {len(shards)} shards cannot share tensor {unshared.meta} {unshared.shape}", _HINT
        )
    for number in range(len(shards)):
        _check_shard(meta, number, tensors)
    return tensors


def _layer(params: LlamaParams, number: int, width: int, hidden: int) -> Iterator[LlamaTensor]:
    meta, ours = f"layers.{number}", f"model.layers.{number}"
    keys = params.kv_heads * params.head_dim
    matrices: tuple[tuple[str, str, tuple[int, int], int, int], ...] = (
        ("attention.wq", "self_attn.q_proj", (width, width), 0, params.n_heads),
        ("attention.wk", "self_attn.k_proj", (keys, width), 0, params.kv_heads),
        ("attention.wv", "self_attn.v_proj", (keys, width), 0, 0),
        ("attention.wo", "self_attn.o_proj", (width, width), 1, 0),
        ("feed_forward.w1", "mlp.gate_proj", (hidden, width), 0, 0),
        ("feed_forward.w2", "mlp.down_proj", (width, hidden), 1, 0),
        ("feed_forward.w3", "mlp.up_proj", (hidden, width), 0, 0),
    )
    for theirs, name, shape, joined, heads in matrices:
        yield LlamaTensor(f"{meta}.{theirs}.weight", f"{ours}.{name}.weight", shape, joined, heads)
    for theirs, name in (("attention_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm")):
        yield LlamaTensor(f"{meta}.{theirs}.weight", f"{ours}.{name}.weight", (width,), None)


def _check_shard(meta: MetaFolder, number: int, tensors: list[LlamaTensor]) -> None:
    shard, count = meta.shards[number], len(meta.shards)
    for tensor in tensors:
        info = shard.infos.get(tensor.meta)
        if info is None:
            raise UserError(f"{shard.path} has no tensor {tensor.meta}, which {PARAMS} asks for", _HINT)
        expected = tensor.part(count)
        if info.shape != expected:
            raise UserError(
                f"{shard.path}: tensor {tensor.meta} is {list(info.shape)}, "
                f"but {PARAMS} and {count} shards make it {list(expected)}",
                _missing_shards(tensor, info.shape, count) or _HINT,
            )
        if info.dtype not in FLOATING or info.dtype != meta.shards[0].infos[tensor.meta].dtype:
            raise UserError(f"{shard.path}: tensor {tensor.meta} has type {info.dtype}", _HINT)
    known = {tensor.meta for tensor in tensors}
    unknown = next((name for name in shard.infos if name not in known and name != NOT_CONVERTED), None)
    if unknown is not None:
        raise UserError(f"{shard.path} has a tensor {unknown}, which is none of LLaMA's", _HINT)


def _missing_shards(tensor: LlamaTensor, shape: tuple[int, ...], count: int) -> str | None:
    """What to do when the shape is right for more shards than there are."""
    if tensor.joined is None or len(shape) != len(tensor.shape) or not shape[tensor.joined]:
        return None
    needed, rest = divmod(tensor.shape[tensor.joined], shape[tensor.joined])
    if rest or needed <= count or tensor.part(needed) != shape:
        return None
    return f"this is one of {needed} shards: download consolidated.{count:02d}.pth to consolidated.{needed - 1:02d}.pth"


def llama_config(params: LlamaParams, rows: int, context: int, dtype: str) -> dict[str, object]:
    """The `config.json` of the converted model."""
    rope = {} if params.rope_theta is None else {"rope_theta": params.rope_theta}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "hidden_act": "silu",
        "hidden_size": params.dim,
        "initializer_range": 0.02,
        "intermediate_size": params.intermediate_size,
        "max_position_embeddings": context,
        "num_attention_heads": params.n_heads,
        "num_hidden_layers": params.n_layers,
        "num_key_value_heads": params.kv_heads,
        "rms_norm_eps": params.norm_eps,
        **rope,
        "tie_word_embeddings": False,
        "torch_dtype": dtype,
        "use_cache": True,
        "vocab_size": rows,
    }
