"""A model folder on this machine, run by transformers."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from packtrain.core.errors import UserError
from packtrain.core.manifest import digest, hashes
from packtrain.models.base import Completion, Sampling, cut_at_stop
from packtrain.models.load import load_causal_lm
from packtrain.models.stopping import StopTexts
from packtrain.prompts.tokenizer import load_tokenizer

TOKENS_PER_BATCH = 32_768


class LocalModel:
    """A causal language model in a Hugging Face folder; greedy answers do not depend on the batch."""

    def __init__(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Load the weights in `dtype` onto the GPU if there is one; UserError when the folder cannot be loaded."""
        from transformers import GenerationConfig

        self.name = f"local:{folder.resolve().name}"
        self.folder = folder
        self.tokenizer = load_tokenizer(folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = load_causal_lm(folder, dtype)
        declared = model.generation_config.eos_token_id
        stops = declared if isinstance(declared, list) else [declared]
        self.stop_ids = sorted({self.tokenizer.eos_id, *(stop for stop in stops if stop is not None)})
        model.generation_config = GenerationConfig()  # what the folder says of sampling must not leak in
        self.model = model.to(self.device).eval()
        self.max_context = int(getattr(model.config, "max_position_embeddings", 2048))

    @cached_property
    def identity(self) -> str:
        """Digest of every file in the folder and of the compute type."""
        return digest([hashes(self.folder), str(self.model.dtype)])

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """One answer per prompt, in order; prompts of like length share a batch."""
        encoded = [encoding.ids for encoding in self.tokenizer.encode(prompts)]
        for index, ids in enumerate(encoded):
            if len(ids) + 1 > self.max_context:
                raise UserError(
                    f"prompt {index} has {len(ids)} tokens, the model's context is {self.max_context}",
                    "shorten the prompt",
                )
        answers: dict[int, Completion] = {}
        for rows in self._batches([len(ids) for ids in encoded], sampling.max_new_tokens):
            completions = self._generate_batch([encoded[row] for row in rows], sampling)
            answers.update(zip(rows, completions, strict=True))
        return [answers[index] for index in range(len(encoded))]

    def _batches(self, lengths: Sequence[int], max_new_tokens: int) -> list[list[int]]:
        """Prompts of like length together, longest first; all of a batch may answer equally long.

        A prompt near the context's end has less room than the others and shares a batch only with its equals.
        """

        def room(index: int) -> int:
            return min(max_new_tokens, self.max_context - lengths[index])

        order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
        batches: list[list[int]] = []
        for index in order:
            last = batches[-1] if batches else []
            width = lengths[last[0]] + max_new_tokens if last else 0
            fits = last and room(last[0]) == room(index) and (len(last) + 1) * width <= TOKENS_PER_BATCH
            if fits:
                last.append(index)
            else:
                batches.append([index])
        return batches

    @torch.inference_mode()
    def _generate_batch(self, rows: list[list[int]], sampling: Sampling, streamer: Any = None) -> list[Completion]:
        width = max(len(row) for row in rows)
        pad = self.tokenizer.pad_id
        padded = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=self.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self.device)
        criteria = [StopTexts(self.tokenizer, sampling.stop, width)] if sampling.stop else []
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(sampling.seed)
            output = self.model.generate(
                input_ids=padded,
                attention_mask=mask,
                generation_config=self._config(sampling, width),
                stopping_criteria=criteria,
                streamer=streamer,
            )
        return [
            self._completion(ids, len(row), sampling) for ids, row in zip(output[:, width:].tolist(), rows, strict=True)
        ]

    def _config(self, sampling: Sampling, width: int) -> Any:
        from transformers import GenerationConfig

        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=max(1, min(sampling.max_new_tokens, self.max_context - width)),
            eos_token_id=self.stop_ids,
            pad_token_id=self.tokenizer.pad_id,
            **(drawn if sampling.temperature > 0 else {"do_sample": False}),
        )

    def _completion(self, ids: list[int], prompt_tokens: int, sampling: Sampling) -> Completion:
        ends = [place for place, token in enumerate(ids) if token in self.stop_ids]
        kept = ids[: ends[0]] if ends else ids
        text, stopped = cut_at_stop(self.tokenizer.decode(kept), sampling.stop)
        return Completion(text, "stop" if ends or stopped else "length", prompt_tokens, len(kept) + bool(ends))

    def stream(self, prompt: str, sampling: Sampling, on_text: Callable[[str], None]) -> Completion:
        """One answer, its text handed to `on_text` piece by piece as it is made."""
        ids = self.tokenizer.ids(prompt)
        streamer = _TextStream(self, sampling.stop, on_text)
        [completion] = self._generate_batch([ids], sampling, streamer)
        return completion

    @torch.inference_mode()
    def choose(self, prompts: Sequence[str], choices: Sequence[Sequence[str]]) -> list[int]:
        """For each prompt the index of the choice of highest summed log-probability in float32; the first wins ties."""
        best = []
        for prompt, options in zip(prompts, choices, strict=True):
            scores = [self._log_probability(prompt, option) for option in options]
            best.append(scores.index(max(scores)))
        return best

    def _log_probability(self, prompt: str, continuation: str) -> float:
        whole, known = self.tokenizer.ids(prompt + continuation), len(self.tokenizer.ids(prompt))
        logits = self.model(input_ids=torch.tensor([whole], device=self.device), use_cache=False).logits[0].float()
        log_probabilities = logits.log_softmax(dim=-1)
        return float(sum(log_probabilities[place - 1, whole[place]] for place in range(known, len(whole))))


class _TextStream:
    """Receives token ids from transformers' generate and passes on new text, never a half character or a stop text."""

    def __init__(self, model: LocalModel, stop: Sequence[str], on_text: Callable[[str], None]) -> None:
        self.model, self.stop, self.on_text = model, stop, on_text
        self.ids: list[int] = []
        self.shown = 0
        self.prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        if not self.prompt_seen:
            self.prompt_seen = True
            return
        self.ids += [token for token in value.flatten().tolist() if token not in self.model.stop_ids]
        self._show(final=False)

    def end(self) -> None:
        self._show(final=True)

    def _show(self, final: bool) -> None:
        text, _ = cut_at_stop(self.model.tokenizer.decode(self.ids), self.stop)
        held_back = 0 if final else max([_overlap(text, marker) for marker in self.stop], default=0)
        if not final and text.endswith("\ufffd"):
            held_back = max(held_back, 1)
        until = len(text) - held_back
        if until > self.shown:
            self.on_text(text[self.shown : until])
            self.shown = until


def _overlap(text: str, marker: str) -> int:
    """Characters at the end of `text` that begin `marker`."""
    return next((n for n in range(min(len(marker), len(text)), 0, -1) if text.endswith(marker[:n])), 0)
