"""A model folder on this machine, run by transformers."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import torch

from packtrain.core.beside import without_beside
from packtrain.core.manifest import digest, hashes
from packtrain.models.base import Choice, Completion, Options, Sampling
from packtrain.models.decoding import Decoding, Row
from packtrain.models.encoding import Asked, Encoder
from packtrain.models.foreign import answered_alone
from packtrain.models.forward import Forward
from packtrain.models.load import load_causal_lm
from packtrain.models.memory import Budget
from packtrain.models.precision import compute_dtype
from packtrain.models.ranking import log_probabilities
from packtrain.models.stopping import TextStream
from packtrain.prompts.tokenizer import load_tokenizer

CONTEXT_IF_UNKNOWN = 2048


class LocalModel:
    """A causal language model in a Hugging Face folder.

    In float32 an answer is the same whatever else is asked; in shorter types sums are rounded in the order in which
    a batch computes them, and a near tie may tip over.
    """

    def __init__(self, folder: Path, *, dtype: torch.dtype | Literal["auto"] = torch.float32) -> None:
        """Load the weights in `dtype` onto the GPU if there is one; UserError when the folder cannot be loaded.

        `auto` is bfloat16 where the machine computes it natively, else float32.
        """
        from transformers import GenerationConfig

        self.name = f"local:{folder.resolve().name}"
        self.folder = folder
        self.tokenizer = load_tokenizer(folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = load_causal_lm(folder, compute_dtype(dtype, self.device))
        declared = model.generation_config.eos_token_id
        stops = declared if isinstance(declared, list) else [declared]
        self.stop_ids = sorted({self.tokenizer.eos_id, *(stop for stop in stops if stop is not None)})
        model.generation_config = GenerationConfig()  # what the folder says of sampling must not leak in
        self.model = model.to(self.device).eval()
        text_config = model.config.get_text_config(decoder=True)
        context = int(getattr(text_config, "max_position_embeddings", None) or CONTEXT_IF_UNKNOWN)
        self.encoder = Encoder(self.tokenizer, context)

    @property
    def max_context(self) -> int:
        """Tokens of prompt and answer together: what the folder says, unless it was set to something else."""
        return self.encoder.max_context

    @max_context.setter
    def max_context(self, tokens: int) -> None:
        """Have prompts and answers fit into so many tokens."""
        self.encoder.max_context = tokens

    @property
    def precision(self) -> str:
        """The number type of the weights in memory."""
        return str(self.model.dtype).removeprefix("torch.")

    @cached_property
    def identity(self) -> str:
        """Digest of every file in the folder but cards and licences, and of the compute type."""
        return digest([without_beside(hashes(self.folder)), str(self.model.dtype)])

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """One answer per prompt, in order; UserError for a prompt that leaves no room for an answer."""
        answers = dict(self.generate_each(prompts, sampling))
        return [answers[index] for index in range(len(prompts))]

    def generate_each(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int] = ()
    ) -> Iterator[tuple[int, Completion]]:
        """Index of a prompt and its answer, as they are ready; `seeds`: one for each prompt, else all have the same."""
        asked = self.encoder.asked(prompts, sampling, seeds)
        for row in self._rows(asked, sampling, partial(self._row, sampling=sampling)):
            yield row.asked.index, row.completion()

    def stream(self, prompt: str, sampling: Sampling, on_text: Callable[[str], None]) -> Completion:
        """One answer, its text handed to `on_text` piece by piece as it is made."""
        [asked] = self.encoder.asked([prompt], sampling)
        stream = TextStream(self.tokenizer, asked.ids, sampling.stop, on_text)
        [row] = self._rows([asked], sampling, partial(self._row, sampling=sampling, on_token=stream.add))
        completion = row.completion()
        stream.end(completion.text)
        return completion

    def choose_each(
        self, prompts: Sequence[str], options: Sequence[Options], sampling: Sampling
    ) -> Iterator[tuple[int, Choice]]:
        """Index of a prompt and its option of highest summed log-probability in float32; the first wins ties."""
        compared = list(self.encoder.compared(prompts, options, sampling))
        rows = [(one.index, row) for one in compared for row in one.rows]
        found: dict[int, dict[int, list[float]]] = {one.index: {} for one in compared}
        for place, scores in log_probabilities(self.forward, self.budget, [row for _, row in rows]):
            index = rows[place][0]
            found[index][place] = scores
            if len(found[index]) == len(compared[index].rows):
                yield index, compared[index].choice([each for _, each in sorted(found.pop(index).items())])

    @cached_property
    def forward(self) -> Forward:
        """The model as a function of rows of tokens."""
        return Forward(self.model, self.tokenizer.pad_id)

    @cached_property
    def budget(self) -> Budget:
        """What a batch may hold."""
        vocabulary = self.model.get_input_embeddings().weight.shape[0]
        last_only = "logits_to_keep" in self.forward.accepts
        return Budget(self.device, self.forward.bytes_per_token, 0 if last_only else 8 * vocabulary)

    def _row(self, asked: Asked, sampling: Sampling, on_token: Callable[[int], None] | None = None) -> Row:
        return Row(asked, self.tokenizer, frozenset(self.stop_ids), sampling, on_token)

    def _rows(self, asked: Sequence[Asked], sampling: Sampling, start: Callable[[Asked], Row]) -> Iterator[Row]:
        if self.forward.way == "foreign":
            rows = [start(one) for one in asked]
            return answered_alone(self.model, self.tokenizer.pad_id, sampling, rows)
        return Decoding(self.forward, self.budget, sampling, start).run(asked)
