"""`packtrain generate`: instruction data from a language model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from packtrain.cli import generate_novelty
from packtrain.cli.examples import examples
from packtrain.cli.generate_options import (
    AnswerTokens,
    ApiForm,
    Batch,
    BudgetTokens,
    BudgetUsd,
    Compat,
    Concurrency,
    Count,
    DryRun,
    Examples,
    Filters,
    FixedPrompt,
    Language,
    ModelName,
    Novelty,
    Out,
    Patience,
    PresetName,
    PriceIn,
    PriceOut,
    PromptFile,
    SeedFile,
    SeedNumber,
    Structured,
    Tasks,
    Temperature,
    TimeoutS,
    TopP,
)
from packtrain.cli.options import Json, Overwrite, Resume, print_json, print_table
from packtrain.cli.verb_group import VerbGroup

if TYPE_CHECKING:
    from packtrain.generate.settings import Settings
    from packtrain.models.base import LanguageModel
    from packtrain.models.flow import Flows
    from packtrain.models.replies import Api

_COMMANDS = (
    "packtrain generate --model openai:gpt-4o-mini --count 200 --out generated/ --dry-run",
    "# with OPENAI_API_KEY set",
    "packtrain generate --model openai:gpt-4o-mini --count 5000 --out generated/ --budget-usd 5",
    "packtrain generate --model local:tuned/ --count 50 --out own/ --preset code_alpaca",
)
EXAMPLE = examples(*_COMMANDS)
GROUP_EXAMPLE = examples(*_COMMANDS, "# all options", "packtrain generate instructions --help")


def generate(
    model: ModelName,
    count: Count,
    out: Out,
    preset: PresetName = "alpaca",
    seeds: SeedFile = None,
    prompt: PromptFile = None,
    fixed_prompt: FixedPrompt = False,
    language: Language = None,
    filters: Filters = None,
    novelty: Novelty = None,
    tasks_per_prompt: Tasks = None,
    examples_per_prompt: Examples = None,
    compat: Compat = False,
    structured: Structured = False,
    api: ApiForm = "chat",
    batch: Batch = False,
    concurrency: Concurrency = 8,
    timeout_s: TimeoutS = 600.0,
    max_tokens: AnswerTokens = 3072,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    dry_run: DryRun = False,
    patience: Patience = 20,
    seed: SeedNumber = 42,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make instruction data with a language model, the Self-Instruct way of Stanford Alpaca.

    Before anything is asked, an estimate of requests, tokens and money is printed; --dry-run stops there. Every answer
    is on disk before it is used: --resume pays for none twice. docs/generation.md.
    """
    from packtrain.generate.budget import Limits
    from packtrain.generate.loop import expected
    from packtrain.generate.loop import generate as run_generation
    from packtrain.models.base import Sampling
    from packtrain.models.prices import price_of

    settings = _settings(
        preset,
        seeds=seeds,
        prompt_template=prompt,
        fixed_prompt=fixed_prompt,
        language=language,
        kept_filters=filters,
        novelty=novelty,
        tasks_per_prompt=tasks_per_prompt,
        examples_per_prompt=examples_per_prompt,
        compat=compat,
        structured=structured,
        sampling=Sampling(max_new_tokens=max_tokens, temperature=temperature, top_p=top_p),
        seed=seed,
    )
    price = price_of(model, price_in, price_out)
    if batch and price and price_in is None:
        price = price.in_batches()
    limits = Limits(budget_usd, budget_tokens)
    if dry_run:
        estimate = expected(model, count, out, settings, price=price)
        _print(estimate.as_json(), estimate.rows(), f"estimate: {model}", as_json)
        return
    asked = _model(model, api, concurrency, timeout_s, structured, out if batch else None)
    report = run_generation(
        asked,
        count,
        out,
        settings,
        price=price,
        limits=limits,
        at_once=concurrency,
        patience=patience,
        resume=resume,
        overwrite=overwrite,
    )
    _print({"folder": str(out), **report.as_json()}, report.rows(), f"generated: {out}", as_json)


def _settings(preset: str, **given: Any) -> "Settings":
    """The preset's settings with what was given on the command line in their place."""
    from packtrain.generate.presets import load_preset
    from packtrain.generate.settings import Settings

    chosen = load_preset(preset)
    own = {
        "seeds": chosen.seeds,
        "prompt_template": chosen.prompt,
        "language": chosen.settings.language,
        "kept_filters": chosen.settings.filters,
        "novelty": chosen.settings.novelty,
        "tasks_per_prompt": chosen.settings.tasks_per_prompt,
        "examples_per_prompt": chosen.settings.examples_per_prompt,
        "blacklist": chosen.settings.blacklist,
    }
    return Settings(**{**own, **{name: value for name, value in given.items() if value is not None}})


def _model(
    spec: str, api: str, concurrency: int, timeout_s: float, structured: bool, batch_folder: Path | None
) -> "LanguageModel | Flows":
    """The model named, ready to be asked; batches are remembered in `batch_folder` while it is unfinished."""
    from packtrain.core.errors import UserError
    from packtrain.core.progress import say
    from packtrain.models.open import open_model

    kind, _, name = spec.partition(":")
    if kind != "openai" or not name:
        if batch_folder is not None:
            raise UserError(f"{spec} has no batch API", "--batch is for openai:NAME")
        if structured:
            say(f"{spec} cannot be held to a JSON schema: JSON is asked for in words, and read where it comes")
        return open_model(spec)
    from packtrain.generate.structured import RESPONSE_FORMAT
    from packtrain.models.openai import OpenAIModel

    if api not in ("chat", "completion"):
        raise UserError(f"unknown --api: {api}", "there are: chat, completion")
    if structured and api == "completion":
        raise UserError("--structured needs --api chat", "completion endpoints know no JSON schema")
    form: Api = "chat" if api == "chat" else "completion"
    response_format = RESPONSE_FORMAT if structured else None
    model = OpenAIModel(name, None, form, concurrency, timeout_s=timeout_s, response_format=response_format)
    if batch_folder is None:
        return model
    from packtrain.models.batch_api import BatchModel

    return BatchModel(model, batch_folder.with_name(batch_folder.name + ".partial") / "batches.jsonl")


def _print(value: dict[str, Any], rows: list[tuple[str, str]], title: str, as_json: bool) -> None:
    if as_json:
        print_json(value)
    else:
        print_table(title, rows)


app = typer.Typer(
    cls=VerbGroup,
    help="Make instruction data with a language model: packtrain generate --model MODEL --count N --out DIR.",
    epilog=GROUP_EXAMPLE,
)
app.command("instructions", epilog=EXAMPLE)(generate)
app.command("novelty", epilog=generate_novelty.EXAMPLE)(generate_novelty.novelty)
