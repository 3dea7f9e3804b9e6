"""A model folder on this machine, run by vLLM (the extra `vllm`): for GPUs and many prompts.

vLLM batches, shares beginnings and lets rows come and go by itself. Prompts are cut into tokens here, exactly as for
`local`, and everything that decides an answer is said in each request.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from packtrain.core.beside import without_beside
from packtrain.core.errors import UserError
from packtrain.core.extras import imported
from packtrain.core.manifest import digest, hashes
from packtrain.models.base import Choice, Completion, Options, Sampling
from packtrain.models.encoding import Asked, Compared, Encoder, Scored
from packtrain.models.stopping import AnswerText
from packtrain.prompts.tokenizer import load_tokenizer

AT_ONCE = 1024
"""Requests handed over together; answers come back when all of them are there."""
MOST_OPTIONS = 20
"""Log-probabilities that a request may ask for, vLLM's own limit."""


class VllmModel:
    """A causal language model in a Hugging Face folder, run by vLLM."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        """Load the folder; `settings` go to `vllm.LLM` (`tensor_parallel_size=2`, `gpu_memory_utilization=0.8`).

        UserError when vLLM is not installed or cannot load the folder.
        """
        vllm = imported("vllm", "vllm", f"vllm:{folder}", f"give local:{folder}")
        self.name = f"vllm:{folder.resolve().name}"
        self.folder = folder
        self.tokenizer = load_tokenizer(folder)
        fixed = {
            "model": str(folder),
            "skip_tokenizer_init": True,
            "generation_config": "vllm",  # what the folder says of sampling must not leak in
            "enable_prefix_caching": True,
            "logprobs_mode": "processed_logprobs",  # of the allowed tokens alone
            "max_logprobs": MOST_OPTIONS,
        }
        try:
            self._engine: Any = vllm.LLM(**{**fixed, **settings})
        except Exception as error:  # vLLM raises many kinds
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"vLLM cannot load the model in {folder}: {reason}", "try local:DIR") from error
        self._parameters = vllm.SamplingParams
        found = self._engine.llm_engine.model_config
        self.max_context: int = int(found.max_model_len)
        self.precision = str(found.dtype).removeprefix("torch.")
        self.encoder = Encoder(self.tokenizer, self.max_context)
        self.stop_ids = sorted({self.tokenizer.eos_id, *_declared_stops(folder)})

    @cached_property
    def identity(self) -> str:
        """Digest of every file in the folder but cards and licences, and who computes."""
        return digest([without_beside(hashes(self.folder)), "vllm"])

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """One answer per prompt, in order; UserError for a prompt that leaves no room for an answer."""
        answers = dict(self.generate_each(prompts, sampling))
        return [answers[index] for index in range(len(prompts))]

    def generate_each(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int] = ()
    ) -> Iterator[tuple[int, Completion]]:
        """Index of a prompt and its answer, in order; `seeds`: one for each prompt, else all have the same."""
        asked = self.encoder.asked(prompts, sampling, seeds)
        for start in range(0, len(asked), AT_ONCE):
            block = asked[start : start + AT_ONCE]
            outputs = self._run([one.ids for one in block], [self._of_answer(one, sampling) for one in block])
            for one, output in zip(block, outputs, strict=True):
                yield one.index, self._completion(one, output.outputs[0], sampling)

    def choose_each(
        self, prompts: Sequence[str], options: Sequence[Options], sampling: Sampling
    ) -> Iterator[tuple[int, Choice]]:
        """Index of a prompt and its likeliest option: one request where each option is a single token."""
        compared = list(self.encoder.compared(prompts, options, sampling))
        for start in range(0, len(compared), AT_ONCE):
            block = compared[start : start + AT_ONCE]
            rows = [row for one in block for row in one.rows]
            outputs = iter(self._run([_tokens_of(row) for row in rows], [self._of_row(row) for row in rows]))
            for one in block:
                yield one.index, _choice(one, [next(outputs) for _ in one.rows])

    def _run(self, rows: Sequence[Sequence[int]], parameters: Sequence[Any]) -> list[Any]:
        prompts = [{"prompt_token_ids": list(row)} for row in rows]
        found: list[Any] = self._engine.generate(prompts, sampling_params=list(parameters), use_tqdm=False)
        return found

    def _of_answer(self, asked: Asked, sampling: Sampling) -> Any:
        stop = list(sampling.stop)
        return self._parameters(
            **_nothing_else(asked.room),
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.temperature else 1.0,
            seed=asked.seed,
            stop=stop,
            stop_token_ids=self.stop_ids,
            detokenize=bool(stop),
        )

    def _of_row(self, row: Scored) -> Any:
        if row.option is not None:
            return self._parameters(**_nothing_else(1), temperature=0.0, prompt_logprobs=0, detokenize=False)
        if len(row.targets) > MOST_OPTIONS:
            raise UserError(f"vLLM compares at most {MOST_OPTIONS} options", "use local:DIR")
        allowed = sorted(set(row.targets))
        return self._parameters(
            **_nothing_else(1), temperature=0.0, allowed_token_ids=allowed, logprobs=len(allowed), detokenize=False
        )

    def _completion(self, asked: Asked, output: Any, sampling: Sampling) -> Completion:
        ids = list(output.token_ids)
        ended = bool(ids) and ids[-1] in self.stop_ids
        text = AnswerText(self.tokenizer, asked.ids, sampling.stop)
        stops = [text.add(token) for token in (ids[:-1] if ended else ids)]
        reason: Literal["stop", "length"] = "stop" if ended or any(stops) else "length"
        return Completion(text.text(), reason, len(asked.ids), len(ids), asked.cut_tokens)


def _nothing_else(max_tokens: int) -> dict[str, Any]:
    """Every setting of vLLM that could change an answer, at the value that changes nothing."""
    return {
        "n": 1,
        "max_tokens": max_tokens,
        "min_tokens": 0,
        "top_k": 0,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "skip_special_tokens": False,
    }


def _tokens_of(row: Scored) -> Sequence[int]:
    """What is handed over: of a single option also its last token, whose own log-probability is asked for."""
    return row.ids if row.option is None else [*row.ids, row.targets[-1]]


def _choice(compared: Compared, outputs: Sequence[Any]) -> Choice:
    """The token that was chosen; where log-probabilities are missing, without scores."""
    if compared.rows[0].option is not None:
        found = []
        for row, output in zip(compared.rows, outputs, strict=True):
            places = output.prompt_logprobs[-len(row.targets) :]
            found.append([at[token].logprob for at, token in zip(places, row.targets, strict=True)])
        return compared.choice(found)
    [row], [output] = compared.rows, outputs
    told = (output.outputs[0].logprobs or [{}])[0]
    if all(token in told for token in row.targets):
        return compared.choice([[told[token].logprob for token in row.targets]])
    chosen = row.targets.index(output.outputs[0].token_ids[0])
    return Choice(chosen, (), compared.prompt_tokens, compared.cut_tokens)


def _declared_stops(folder: Path) -> list[int]:
    """Ids that the folder's generation_config names as ends of an answer."""
    path = folder / "generation_config.json"
    declared = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.exists() else None
    return declared if isinstance(declared, list) else [] if declared is None else [declared]
