"""The training stage: a recipe, a base and conversations in, a tuned model folder out."""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from packtrain.core.atomic import OutputFolder
from packtrain.core.data_record import data_record
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.extras import need
from packtrain.core.manifest import Manifest, hashes
from packtrain.core.progress import say
from packtrain.core.recipe import Recipe, Train
from packtrain.core.training_record import with_places_told
from packtrain.prompts.template import PromptTemplate, template_for
from packtrain.prompts.token_cache import Encoding, encode_file
from packtrain.prompts.token_file import TokenFile
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer
from packtrain.train.checkpoint import complete_checkpoints
from packtrain.train.distributed import Processes, connected
from packtrain.train.extras import extras_of_training
from packtrain.train.metrics import check_trackers
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
    precision: str
    """What was computed in: `bfloat16`, `float32`."""
    probes_asked: int = 0
    """Prompts from the data that the finished model was asked; 0 when the check was left out."""
    probes_ended: int = 0
    """Answers among them that ended by a stop token."""
    never_stops: bool = False
    """True when no answer ended although it could have."""
    template: str = ""
    """Name of the prompt format that was trained on."""


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    engine: Engine | None = None,
) -> TrainReport:
    """Tune the recipe's base on `data` and write the model folder `out`; called by all processes of a launcher alike.

    `data` is a conversation file, or a folder with `train.jsonl` and perhaps `held_out.jsonl`. While
    it runs, checkpoints and `metrics.jsonl` lie in `OUT.partial`; Ctrl-C leaves it so that `resume`
    goes on to the same result. UserError for anything that the user can mend.
    """
    train_file, held_out_file = _data_files(data)
    engine = engine or Engine()
    _check_extras(recipe.train, engine)
    with connected() as processes:
        base = processes.first_on_machine(lambda: model_folder(recipe.base.path))
        _check_batch(recipe.train, processes)
        folder: OutputFolder | None = None
        if processes.is_first:
            folder = OutputFolder(out, "train", inputs=[base, train_file], overwrite=overwrite, resume=resume)
        partial = processes.share(folder.partial if folder else out)
        try:
            template = template_for(base, recipe.template)
            tokenizer = load_tokenizer(base).with_pad(PAD_TOKENS[recipe.family])
            job = _Job(recipe, engine, base, template, tokenizer, train_file, held_out_file, processes)
            report, inputs, learnt_from = _train_in(partial, job)
            if folder:
                report = _probed(report, job, partial)
        except BaseException:
            if folder and complete_checkpoints(partial / CHECKPOINTS):
                folder.keep()
            elif folder:
                folder.discard()
            raise
        if folder:
            _publish(folder, recipe, engine, inputs, asdict(report) | learnt_from)
        processes.barrier()
    return report


@dataclass(frozen=True)
class _Job:
    """Everything that decides a training, found and checked."""

    recipe: Recipe
    engine: Engine
    base: Path
    template: PromptTemplate
    tokenizer: Tokenizer
    train_file: Path
    held_out_file: Path | None
    processes: Processes


def _probed(report: TrainReport, job: _Job, folder: Path) -> TrainReport:
    """The report with what the exported model does when it is asked: its answers have to end."""
    if not job.engine.probes:
        return report
    from packtrain.train.probes import probe_folder, probe_prompts

    prompts = probe_prompts(job.train_file, job.tokenizer, job.template, job.engine.probes)
    found = probe_folder(folder, job.template, prompts)
    if found.never_stops:
        say(
            f"warning: none of {found.asked} answers of the tuned model ended by a stop token: it was trained "
            "too little, or never saw the end of an answer (packtrain doctor)"
        )
    return replace(report, probes_asked=found.asked, probes_ended=found.ended, never_stops=found.never_stops)


def _publish(
    folder: OutputFolder, recipe: Recipe, engine: Engine, inputs: dict[str, dict[str, str]], figures: dict[str, Any]
) -> None:
    manifest = Manifest(
        stage="train",
        settings=with_places_told(recipe.resolved()) | {"engine": engine.model_dump(mode="json")},
        inputs=inputs,
        outputs=hashes(folder.partial),
        figures=figures,
        seed=recipe.seed,
    )
    manifest.write(folder.partial)
    folder.publish()
    shutil.rmtree(folder.path / CHECKPOINTS, ignore_errors=True)
    (folder.path / ".wandb_run").unlink(missing_ok=True)


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


def _check_extras(settings: Train, engine: Engine) -> None:
    """Raise UserError for a package that the settings ask for and that is missing: before a base is fetched."""
    check_trackers(engine.trackers)
    for extra, what in extras_of_training(settings, engine):
        need(extra, what)


def _check_batch(settings: Train, processes: Processes) -> None:
    """Raise UserError for a global batch that cannot be cut as it has to be; says which could."""
    size, group = settings.global_batch_size, settings.micro_batch_size
    if size < processes.world_size:
        raise UserError(
            f"train.global_batch_size is {size}, less than the {processes.world_size} processes",
            f"give at least {processes.world_size}, or start at most {size} processes",
        )
    if settings.loss_averaging == "microbatch_mean" and size % group:
        fitting = [number for number in range(1, size + 1) if size % number == 0]
        raise UserError(
            f"train.global_batch_size {size} is no multiple of train.micro_batch_size {group}, "
            "over which microbatch_mean averages",
            f"give train.micro_batch_size={max(number for number in fitting if number <= group)} (divisors: "
            f"{', '.join(map(str, fitting))}), or train.global_batch_size={-(-size // group) * group}",
        )


def _train_in(partial: Path, job: _Job) -> tuple[TrainReport, dict[str, dict[str, str]], dict[str, Any]]:
    """Train in the unfinished folder from its newest checkpoint, or from the base, and export the model into it.

    What was measured, the hashes of base and data, and what the data say of their origin.
    """
    from packtrain.train.doctor import check_before_training
    from packtrain.train.export import export_tuned
    from packtrain.train.load import check_context
    from packtrain.train.out_of_memory import out_of_memory_explained
    from packtrain.train.run_identity import RunIdentity
    from packtrain.train.session import TrainingSession, micro_batch_tokens

    recipe, engine, base, processes = job.recipe, job.engine, job.base, job.processes
    template, tokenizer, train_file, held_out_file = job.template, job.tokenizer, job.train_file, job.held_out_file
    check_context(base, recipe.train.max_length_tokens)
    encoded, held_out = processes.first_on_machine(
        lambda: (
            _encode_file(train_file, recipe, template, tokenizer),
            _encode_file(held_out_file, recipe, template, tokenizer) if held_out_file else None,
        )
    )
    if processes.is_first:
        check_before_training(base, tokenizer, template, encoded, recipe, partial)
    inputs = {"base": hashes(base), "data": hashes(train_file)} if processes.is_first else {}
    if held_out_file and processes.is_first:
        inputs["held_out"] = hashes(held_out_file)
    learnt_from = data_record(train_file, inputs["data"][train_file.name]) if processes.is_first else {}
    inputs = processes.share(inputs)
    settings = recipe.train.model_dump(exclude={"checkpoint_every_steps"})
    identity = RunIdentity(settings, template.fingerprint, inputs, recipe.seed)
    if processes.is_first:
        identity.keep(partial / CHECKPOINTS)
    with out_of_memory_explained(recipe.train, engine, micro_batch_tokens(engine, processes), processes):
        session = TrainingSession(recipe, engine, base, tokenizer, encoded, held_out or [], processes)
        session.start_or_resume(partial / CHECKPOINTS, partial / "metrics.jsonl", identity.digest)
        figures = session.run()
        after = session.held_out_loss()
    export_tuned(session.strategy, recipe, base, tokenizer, template, partial)
    report = TrainReport(
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
        precision=str(session.strategy.compute_dtype).removeprefix("torch."),
        template=template.name,
    )
    return report, inputs, learnt_from
