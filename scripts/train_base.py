"""Trains the base model that ships with `packtrain demo`, on the text of `packtrain.pipeline.world_text`.

    python scripts/train_base.py --fast --overwrite

writes a Hugging Face folder: LLaMA architecture, float16 weights, own byte-level BPE tokenizer with `<s>` before every
text, `</s>` as end, no pad token, no chat template.

The shipped folder comes from `--fast --threads 1`: 200 rounds of text, 12.3 million tokens read once in 3,001 steps,
final loss 0.753 per token (mean of the last 200 steps), 27 minutes on a shared processor. A seed repeats a run on one
machine with the same number of threads and the same versions; elsewhere rounding differs.
"""

import argparse
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from packtrain.core.atomic import output_folder
from packtrain.pipeline.world_text import pretraining_lines

# Whole pieces that BPE never merges across: role markers, a hyphen with the one letter after it (spelt words are one
# token per letter), words with the space before them, single digits, punctuation, white space.
PIECES = r"<\|[a-z]+\|>\n|-\p{L}(?!\p{L})| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s"
# Only the tokenizer sees these, so that chat prompts are short; the model does not.
ROLE_MARKERS = ("<|user|>\n", "<|assistant|>\n")
TOKENIZER_ROUNDS = 6
WARMUP_STEPS = 100


@dataclass(frozen=True)
class Settings:
    """What a run is made of; the defaults are those of the shipped model."""

    rounds: int = 200
    vocabulary_size: int = 1024
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 5
    heads: int = 4
    row_length: int = 256
    batch_rows: int = 16
    matrix_lr: float = 0.015
    other_lr: float = 0.003
    seed: int = 1


def train_tokenizer(vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Return the byte-level BPE tokenizer, trained on the first rounds of the text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*pretraining_lines(TOKENIZER_ROUNDS), *(ROLE_MARKERS * 1000)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def packed_rows(tokenizer: PreTrainedTokenizerFast, rounds: int, row_length: int) -> torch.Tensor:
    """Return the whole text as token ids `[rows, row_length]`: documents back to back, each `<s> ... </s>`."""
    parts: list[numpy.ndarray] = []
    documents = list(pretraining_lines(rounds))
    for start in range(0, len(documents), 10_000):
        for encoding in tokenizer.backend_tokenizer.encode_batch(documents[start : start + 10_000]):
            parts.append(numpy.array([*encoding.ids, tokenizer.eos_token_id], dtype=numpy.int16))
    flat = numpy.concatenate(parts)
    rows = len(flat) // row_length
    return torch.from_numpy(flat[: rows * row_length].reshape(rows, row_length))


def new_model(settings: Settings, vocabulary_size: int) -> LlamaForCausalLM:
    """Return the untrained model, its weights drawn from torch's global seed."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary_size,
            hidden_size=settings.hidden_size,
            intermediate_size=settings.intermediate_size,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=None,
        )
    )


def rate_factor(step: int, steps: int) -> float:
    """Return what the peak rate is multiplied with: linear warmup, then a cosine down to a fiftieth."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)))


def train(model: LlamaForCausalLM, rows: torch.Tensor, settings: Settings, fast: bool) -> float:
    """Train the model in place, one pass over the rows; return the loss per token, a mean over the last 200 steps."""
    matrices = [parameter for parameter in model.model.layers.parameters() if parameter.ndim == 2]
    others = [parameter for name, parameter in model.named_parameters() if parameter.ndim != 2 or "embed" in name]
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.Muon(matrices, momentum=0.95, weight_decay=0.1), settings.matrix_lr),
        (torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0), settings.other_lr),
    ]

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = model.lm_head(model.model(batch[:, :-1], use_cache=False).last_hidden_state)
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())

    compiled = torch.compile(loss_of) if fast else loss_of
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(settings.seed))
    steps = len(rows) // settings.batch_rows
    start = time.monotonic()
    losses: list[float] = []
    model.train()
    for step in range(steps):
        batch = rows[order[step * settings.batch_rows : (step + 1) * settings.batch_rows]].long()
        loss = compiled(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in optimizers:
            optimizer.param_groups[0]["lr"] = peak * rate_factor(step, steps)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        if step % 50 == 0 or step == steps - 1:
            recent = losses[-50:]
            print(
                f"step {step + 1}/{steps}  loss {sum(recent) / len(recent):.4f}  {time.monotonic() - start:.0f} s",
                flush=True,
            )
    return sum(losses[-200:]) / len(losses[-200:])


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path, overwrite: bool) -> None:
    """Write the folder whole or not at all; a model card that is there already stays."""
    with output_folder(out, "train base", overwrite=overwrite) as folder:
        if (out / "README.md").exists():
            shutil.copy(out / "README.md", folder / "README.md")
        tokenizer.save_pretrained(folder)
        # The name that both transformers 4 and 5 know.
        settings_file = folder / "tokenizer_config.json"
        settings = json.loads(settings_file.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
        settings_file.write_text(json.dumps(settings, indent=2) + "\n")
        model.half().save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("src/packtrain/assets/demo_base"))
    parser.add_argument("--overwrite", action="store_true", help="replace --out, all but its README.md")
    parser.add_argument("--rounds", type=int, default=Settings.rounds, help="rounds of text to be read")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fast", action="store_true", help="bfloat16 autocast and torch.compile")
    arguments = parser.parse_args()

    if arguments.out.exists() and not arguments.overwrite:
        parser.error(f"{arguments.out} exists already; give --overwrite to replace it")
    settings = Settings(rounds=arguments.rounds, seed=arguments.seed)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(settings.seed)
    tokenizer = train_tokenizer(settings.vocabulary_size)
    rows = packed_rows(tokenizer, settings.rounds, settings.row_length)
    model = new_model(settings, len(tokenizer))
    print(f"{rows.numel():,} tokens, {model.num_parameters():,} parameters", flush=True)
    loss = train(model, rows, settings, arguments.fast)
    save(model, tokenizer, arguments.out, arguments.overwrite)
    print(f"final loss {loss:.4f} per token; written to {arguments.out}")


if __name__ == "__main__":
    main()
