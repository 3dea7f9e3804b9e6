"""The training stage: a recipe, a base and conversations in, a tuned model folder out."""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packtrain.core.atomic import OutputFolder
from packtrain.core.conversation import read_conversations
from packtrain.core.errors import UserError
from packtrain.core.interrupt import deferred_interrupt
from packtrain.core.manifest import Manifest, digest, hashes
from packtrain.core.progress import progress, say
from packtrain.core.recipe import Recipe
from packtrain.prompts.encode import Encoded, encode
from packtrain.prompts.template import PromptTemplate, load_template
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer
from packtrain.weights.source import model_folder

ENCODE_ROWS = 2000
PAD_TOKENS = {"alpaca": "[PAD]", "galpaca": "[PAD]", "open_instruct": "<pad>", "packtrain": "<pad>"}
"""The padding token that each project adds when the base has none."""


@dataclass(frozen=True)
class TrainReport:
    """What a finished training run measured."""

    steps: int
    examples: int
    learnt_tokens: int
    """Over all steps: a token that was learnt in three epochs counts three times."""
    dropped: dict[str, int]
    cut_at_limit: int
    first_loss: float
    final_loss: float
    held_out_before: float | None
    """Mean loss per learnt token on the held-out conversations, in nats; None when there are none."""
    held_out_after: float | None
    seconds: float
    hardware: str


def train(recipe: Recipe, data: Path, out: Path, *, resume: bool = False, overwrite: bool = False) -> TrainReport:
    """Tune the recipe's base on `data` and write the model folder `out`.

    `data` is a conversation file, or a folder with `train.jsonl` and perhaps `held_out.jsonl`. While
    it runs, checkpoints and `metrics.jsonl` lie in `OUT.partial`; Ctrl-C leaves it so that `resume`
    goes on to the same result. UserError for anything that the user can mend.
    """
    train_file, held_out_file = _data_files(data)
    base = model_folder(recipe.base.path)
    template = load_template(recipe.template)
    tokenizer = load_tokenizer(base).with_pad(PAD_TOKENS[recipe.family])
    folder = OutputFolder(out, overwrite=overwrite, resume=resume)
    try:
        encoded = _encode_file(train_file, recipe, template, tokenizer)
        held_out = _encode_file(held_out_file, recipe, template, tokenizer) if held_out_file else None
        inputs = {"base": hashes(base), "data": hashes(train_file)}
        if held_out_file:
            inputs["held_out"] = hashes(held_out_file)
    except BaseException:
        if not folder.resumed:
            folder.discard()
        raise
    report = _run(recipe, base, template, tokenizer, encoded, held_out, inputs, folder.partial)
    manifest = Manifest(
        stage="train",
        settings=recipe.resolved(),
        inputs=inputs,
        outputs=hashes(folder.partial),
        figures=asdict(report),
        seed=recipe.seed,
    )
    manifest.write(folder.partial)
    folder.publish()
    return report


def _data_files(data: Path) -> tuple[Path, Path | None]:
    if data.is_dir():
        held_out = data / "held_out.jsonl"
        train_file = data / "train.jsonl"
    else:
        train_file, held_out = data, data.with_name("held_out.jsonl.none")
    if not train_file.is_file():
        raise UserError(f"no training data at {train_file}", "make it with: packtrain data prepare")
    return train_file, held_out if held_out.is_file() else None


def _encode_file(file: Path, recipe: Recipe, template: PromptTemplate, tokenizer: Tokenizer) -> Encoded:
    """All conversations of a file as examples; UserError when none of them can be learnt from."""
    conversations = list(read_conversations(file))
    if not conversations:
        raise UserError(f"{file} holds no conversations", "check the file, or make it with: packtrain data prepare")
    whole = Encoded()
    with progress(f"encoding {file.name}", len(conversations)) as advance:
        for start in range(0, len(conversations), ENCODE_ROWS):
            rows = conversations[start : start + ENCODE_ROWS]
            part = encode(rows, template, tokenizer, recipe.train.max_length_tokens, recipe.train.encoding)
            whole.examples += part.examples
            whole.dropped += part.dropped
            whole.cut_at_limit += part.cut_at_limit
            advance(len(rows))
    if not whole.examples:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in whole.dropped.items())
        raise UserError(
            f"none of the {len(conversations)} conversations in {file} can be learnt from ({reasons})",
            "raise train.max_length_tokens, or check that the conversations end with an assistant's answer",
        )
    return whole


def _run(
    recipe: Recipe,
    base: Path,
    template: PromptTemplate,
    tokenizer: Tokenizer,
    encoded: Encoded,
    held_out: Encoded | None,
    inputs: dict[str, dict[str, str]],
    folder: Path,
) -> TrainReport:
    import torch

    from packtrain.train.batches import Batches
    from packtrain.train.checkpoint import Position, load_checkpoint, save_checkpoint
    from packtrain.train.export import export_model
    from packtrain.train.load import load_base
    from packtrain.train.loop import mean_token_loss, optimize, total_steps
    from packtrain.train.optimizer import build_optimizer
    from packtrain.train.strategies.single import Single

    settings = recipe.train
    torch.manual_seed(recipe.seed)
    strategy = Single(settings.precision)
    model = load_base(base, len(tokenizer))
    strategy.place(model)
    optimizer = build_optimizer(model, settings)

    def batches_of(examples: list[Any]) -> Batches:
        return Batches(
            examples,
            global_batch_size=settings.global_batch_size,
            micro_batch_size=settings.micro_batch_size,
            epochs=settings.epochs,
            seed=recipe.seed,
            order=settings.order,
            last_batch=settings.last_batch,
            sort_by_length=settings.loss_averaging == "token",
            pad_id=tokenizer.pad_id,
        )

    batches = batches_of(encoded.examples)
    checkpoints, metrics = folder / "checkpoints", folder / "metrics.jsonl"
    run_digest = digest(
        {"train": settings.model_dump(mode="json"), "seed": recipe.seed, "template": template.source, **inputs}
    )
    position = load_checkpoint(checkpoints, model, optimizer, run_digest)
    if position is None:
        before = mean_token_loss(model, batches_of(held_out.examples), strategy) if held_out else None
        position = Position(0, run_digest, before, 0.0)
    else:
        say(f"resuming after step {position.step}")
    figures = _kept_metrics(metrics, position.step)
    last, started = total_steps(batches, settings), time.monotonic()
    say(f"training: {len(encoded.examples)} examples, {last} steps, {strategy.describe()}")

    def seconds() -> float:
        return position.seconds + time.monotonic() - started

    def save(step: int) -> None:
        now = Position(step, run_digest, position.held_out_before, seconds())
        save_checkpoint(checkpoints, model, optimizer, now)

    with (
        deferred_interrupt("finishing the step and saving a checkpoint") as interrupted,
        progress("training", last) as advance,
        open(metrics, "a", encoding="utf-8") as log,
    ):
        advance(position.step)
        for step in optimize(model, optimizer, batches, settings, strategy, position.step + 1):
            figures.append(asdict(step))
            log.write(json.dumps(figures[-1]) + "\n")
            log.flush()
            advance(1, note=f"loss {step.loss:.3f}  lr {step.lr:.1e}  grad norm {step.grad_norm:.2f}")
            if interrupted():
                save(step.step)
                raise KeyboardInterrupt
            if step.step % settings.checkpoint_every_steps == 0 and step.step < last:
                save(step.step)
    trained = seconds()
    after = mean_token_loss(model, batches_of(held_out.examples), strategy) if held_out else None
    export_model(model, tokenizer, template, folder, recipe.release.dtype)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return TrainReport(
        steps=last,
        examples=len(encoded.examples),
        learnt_tokens=sum(step["learnt_tokens"] for step in figures),
        dropped=dict(encoded.dropped),
        cut_at_limit=encoded.cut_at_limit,
        first_loss=figures[0]["loss"],
        final_loss=figures[-1]["loss"],
        held_out_before=position.held_out_before,
        held_out_after=after,
        seconds=trained,
        hardware=strategy.describe(),
    )


def _kept_metrics(path: Path, steps: int) -> list[dict[str, Any]]:
    """The figures of steps 1 to `steps` in `metrics.jsonl`; lines of steps that will be done again are removed."""
    lines = path.read_text(encoding="utf-8").splitlines()[:steps] if path.exists() else []
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [json.loads(line) for line in lines]
