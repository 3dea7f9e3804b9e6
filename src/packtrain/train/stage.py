"""The training stage: a recipe, a base and conversations in, a tuned model folder out."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from packtrain.core.atomic import OutputFolder
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, digest, hashes
from packtrain.core.recipe import Recipe
from packtrain.prompts.template import PromptTemplate, load_template
from packtrain.prompts.token_cache import Encoding, encode_file
from packtrain.prompts.token_file import TokenFile
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer
from packtrain.weights.source import model_folder

CHECKPOINTS = ".checkpoints"
"""Hidden: no output of the run, and kept until the output bears its final name."""
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
    folder = OutputFolder(out, "train", inputs=[base, train_file], overwrite=overwrite, resume=resume)
    try:
        encoded = _encode_file(train_file, recipe, template, tokenizer)
        held_out = _encode_file(held_out_file, recipe, template, tokenizer) if held_out_file else None
        inputs = {"base": hashes(base), "data": hashes(train_file)}
        if held_out_file:
            inputs["held_out"] = hashes(held_out_file)
        report = _optimize(recipe, base, template, tokenizer, encoded, held_out, inputs, folder.partial)
    except BaseException:
        if (folder.partial / CHECKPOINTS).exists():
            folder.keep()
        else:
            folder.discard()
        raise
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
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return report


def _data_files(data: Path) -> tuple[Path, Path | None]:
    train_file = data / "train.jsonl" if data.is_dir() else data
    if not train_file.is_file():
        raise UserError(f"no training data at {train_file}", "make it with: packtrain data prepare")
    held_out = data / "held_out.jsonl"
    return train_file, held_out if held_out.is_file() else None


def _encode_file(file: Path, recipe: Recipe, template: PromptTemplate, tokenizer: Tokenizer) -> TokenFile:
    """All conversations of a file as examples; UserError when none of them can be learnt from."""
    settings = recipe.train
    encoded = encode_file(file, Encoding(template, tokenizer, settings.max_length_tokens, settings.encoding))
    if not encoded.conversations:
        raise UserError(f"{file} holds no conversations", "check the file, or make it with: packtrain data prepare")
    if not len(encoded):
        reasons = ", ".join(f"{reason}: {count}" for reason, count in encoded.dropped.items())
        raise UserError(
            f"none of the {encoded.conversations} conversations in {file} can be learnt from ({reasons})",
            "raise train.max_length_tokens, or check that the conversations end with an assistant's answer",
        )
    return encoded


def _optimize(
    recipe: Recipe,
    base: Path,
    template: PromptTemplate,
    tokenizer: Tokenizer,
    encoded: TokenFile,
    held_out: TokenFile | None,
    inputs: dict[str, dict[str, str]],
    folder: Path,
) -> TrainReport:
    """Train in `folder` from its newest checkpoint, or from the base, and export the model into it."""
    from packtrain.train.export import export_model
    from packtrain.train.session import TrainingSession

    session = TrainingSession(recipe, base, tokenizer, encoded, held_out or [])
    run_digest = digest(
        {"recipe": recipe.train.model_dump(exclude={"checkpoint_every_steps"}), "template": template.source, **inputs}
    )
    session.start_or_resume(folder / CHECKPOINTS, folder / "metrics.jsonl", f"{run_digest}:{recipe.seed}")
    figures = session.run()
    after = session.held_out_loss()
    export_model(session.model, tokenizer, template, folder, recipe.release.dtype)
    return TrainReport(
        steps=len(figures),
        examples=len(encoded),
        learnt_tokens=sum(step["learnt_tokens"] for step in figures),
        dropped=dict(encoded.dropped),
        cut_at_limit=encoded.cut_at_limit,
        first_loss=figures[0]["loss"],
        final_loss=figures[-1]["loss"],
        held_out_before=session.position.held_out_before,
        held_out_after=after,
        seconds=session.position.seconds,
        hardware=session.strategy.describe(),
    )
