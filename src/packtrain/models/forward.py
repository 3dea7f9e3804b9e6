"""A transformers model as a function from rows of tokens to what comes next, with memory of what it has seen.

Left-padded rows, with position ids and masks made from lengths: a token of padding may be any token, end-of-sequence
among them.
"""

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch

from packtrain.core.progress import say
from packtrain.models import shared_attention
from packtrain.models.key_values import SPARE_COLUMNS, KeyValues, nothing

Way = Literal["shared", "copied", "whole", "foreign"]
"""How rows are computed: attending together to the beginning they share, each with a copy of it, each from its first
token on, or by transformers alone."""
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_COARSE_TOLERANCE = 0.1
"""Of the logits' standard deviation: rounding stays far below it, a wrong mask or position far above."""
_PROOF_TOKENS = 12
_OTHER_KIND = (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What models raise whose cache or attention is of another kind."""


class Forward:
    """Runs one model; every method returns logits in float32."""

    def __init__(self, model: Any, pad_id: int) -> None:
        """`pad_id`: any token; it is masked."""
        self.model = model
        self.pad_id = pad_id
        self.device: torch.device = model.device
        self.accepts = set(inspect.signature(model.forward).parameters)
        self.window = _window(model.config)
        self.bytes_per_token = 0
        self.way: Way = "whole"
        self.way = self._proved_way()

    def shares(self, columns: int) -> bool:
        """Whether rows of so many columns may begin with another row's memory.

        Where attention reaches back over a window only, it is measured in columns, which a gap between beginning and
        rest would falsify; not before a row is longer than the window.
        """
        return self.way in ("shared", "copied") and (self.window is None or columns <= self.window)

    @torch.inference_mode()
    def beginning(self, ids: Sequence[int]) -> KeyValues:
        """What the model remembers of one row, for `behind`."""
        _, memory = self._run(nothing(1, self.device, spare=0), [ids], keep=1)
        return memory

    @torch.inference_mode()
    def behind(
        self, beginning: KeyValues | None, rows: Sequence[Sequence[int]], *, keep: int = 1, spare: int = SPARE_COLUMNS
    ) -> tuple[torch.Tensor, KeyValues]:
        """Logits `[rows, keep, vocabulary]` behind the last `keep` tokens of each row, and the memory to go on with.

        `rows` are what stands behind the shared `beginning`; `spare`: tokens that the memory leaves room for.
        """
        if beginning is None:
            return self._run(nothing(len(rows), self.device, spare), rows, keep)
        begun = beginning.shared_by if self.way == "shared" else beginning.for_rows
        return self._run(begun(len(rows), spare), rows, keep)

    @torch.inference_mode()
    def next(self, memory: KeyValues, tokens: Sequence[Sequence[int]]) -> tuple[torch.Tensor, KeyValues]:
        """Logits `[rows, vocabulary]` behind one more token of each row; the memory given is used up.

        A row without a token stays as it is, and its logits mean nothing.
        """
        logits, memory = self._run(memory, tokens, keep=1)
        return logits[:, -1], memory

    @torch.inference_mode()
    def alone(self, ids: Sequence[int], keep: int) -> torch.Tensor:
        """Logits `[keep, vocabulary]` behind the last tokens of a single row, without any memory."""
        row = torch.tensor([list(ids)], device=self.device)
        wanted = {"attention_mask": torch.ones_like(row), "logits_to_keep": keep, "use_cache": False}
        given = {name: value for name, value in wanted.items() if name in self.accepts}
        logits: torch.Tensor = self.model(input_ids=row, **given).logits
        return logits[0, -keep:].float()

    def _run(self, memory: KeyValues, rows: Sequence[Sequence[int]], keep: int) -> tuple[torch.Tensor, KeyValues]:
        width = max(len(row) for row in rows)
        ids = torch.tensor([[self.pad_id] * (width - len(row)) + list(row) for row in rows], device=self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        new = torch.arange(width, device=self.device) >= (width - lengths)[:, None]
        mask = torch.cat([memory.mask, new], dim=1)
        positions = (memory.lengths[:, None] + new.cumsum(dim=1) - 1).clamp(min=0)
        wanted = {
            "attention_mask": mask.long(),
            "position_ids": positions,
            "past_key_values": memory.cache,
            "logits_to_keep": keep,
        }
        given = {name: value for name, value in wanted.items() if name in self.accepts}
        shared = [(None if one is None else one.pairs(), count) for one, count in memory.runs()]
        with shared_attention.beginning_with(shared):
            output = self.model(input_ids=ids, use_cache=True, **given)
        logits: torch.Tensor = output.logits[:, -keep:]
        return logits.float(), KeyValues(memory.cache, mask, memory.lengths + lengths, memory.beginnings)

    def _proved_way(self) -> Way:
        """The fastest way that gives this model the logits of a plain forward, tried on a row of a few tokens."""
        if "past_key_values" not in self.accepts or getattr(self.model, "_is_stateful", False):
            return "foreign"
        vocabulary = self.model.get_input_embeddings().weight.shape[0]
        row = [(7 * place + 3) % vocabulary for place in range(_PROOF_TOKENS)]
        if self.window is not None:
            row = row[: max(4, self.window // 2)]
        expected = self.alone(row, 1)[0]
        try:
            _, memory = self.behind(None, [row[:-1], row[:1]])
            self.bytes_per_token = memory.bytes_per_token()
            if not self._equal(self.next(memory, [[row[-1]], [row[0]]])[0][0], expected):
                return self._foreign()
        except torch.OutOfMemoryError:
            raise
        except _OTHER_KIND as error:
            return self._foreign(f" ({' '.join(str(error).split())[:120]})")
        usual = self.model.config.get_text_config(decoder=True)._attn_implementation
        if usual == "sdpa":
            shared_attention.register()
            self.model.set_attn_implementation(shared_attention.NAME)
            if self._shares_exactly("shared", row, expected):
                return "shared"
            self.model.set_attn_implementation(usual)
        if self._shares_exactly("copied", row, expected):
            return "copied"
        say(f"note: {type(self.model).__name__} cannot share beginnings; every prompt is read from its first token on")
        return "whole"

    def _shares_exactly(self, way: Way, row: Sequence[int], expected: torch.Tensor) -> bool:
        """Whether `row` has the logits `expected` behind it when it shares its beginning with a longer one.

        Tried with the rest of the row at once, and with its last token alone. Sets the way.
        """
        self.way, half = way, len(row) // 2
        rest, longer = row[half:], [*row[half:], *row[half:]]
        try:
            beginning = self.beginning(row[:half])
            at_once, _ = self.behind(beginning, [rest, longer])
            _, memory = self.behind(beginning, [rest[:-1], longer])
            last, _ = self.next(memory, [rest[-1:], rest[-1:]])
        except torch.OutOfMemoryError:
            raise
        except _OTHER_KIND:
            return False
        return self._equal(at_once[0, -1], expected) and self._equal(last[0], expected)

    def _foreign(self, reason: str = "") -> Way:
        way = f"keeps its memory in a way of its own{reason}; prompts are answered one by one"
        say(f"note: {type(self.model).__name__} {way}")
        return "foreign"

    def _equal(self, found: torch.Tensor, expected: torch.Tensor) -> bool:
        bound = _TOLERANCE.get(self.model.dtype, _COARSE_TOLERANCE) * float(expected.std())
        return float((found - expected).abs().max()) <= bound


def _window(config: Any) -> int | None:
    """The shortest reach of attention, in tokens; None where it is unlimited."""
    text = config.get_text_config(decoder=True)
    kinds = getattr(text, "layer_types", None) or ()
    limited = any(kind != "full_attention" for kind in kinds) if kinds else True
    reach = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    found = [int(each) for each in reach if each]
    return min(found) if found and limited else None
