"""The command line of Stanford Alpaca's generate_instruction.py, done by today's generation.

The script that bears the old name is in compat/. As then, regen.json in the output folder is what there
is already, and the rows that are made join it; each has the ten most similar instructions before it and
the mean similarity. What was asked and paid lies beside it in regen_runs/.
"""

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from packtrain.cli.fire_arguments import Parameter, Task, Value, help_text, parse
from packtrain.cli.main import end
from packtrain.cli.old_names import in_old_words
from packtrain.cli.options import print_table
from packtrain.core.errors import UserError
from packtrain.core.progress import say

COMMAND = "python -m generate_instruction"
REGEN = "regen.json"
RUNS = "regen_runs"
GONE = "text-davinci-003"
"""OpenAI switched it off on 4 January 2024, and the endpoint that took lists of prompts with it."""


def _named(what: str, default: Value = None) -> Parameter:
    return Parameter(what, default, by_position=False)


TASK = Task(
    "generate_instruction_following_data",
    "Make instruction data and add them to regen.json in the output folder.",
    {
        "output_dir": _named("folder of regen.json", "./"),
        "seed_tasks_path": _named("seed tasks; packtrain's own where this file is not there", "./seed_tasks.jsonl"),
        "num_instructions_to_generate": _named("rows that regen.json is to have", "100"),
        "model_name": _named("model at the endpoint", GONE),
        "num_prompt_instructions": _named("seed tasks that a prompt shows", "3"),
        "request_batch_size": _named("requests under way at a time", "5"),
        "temperature": _named("of sampling", "1.0"),
        "top_p": _named("of sampling", "1.0"),
        "num_cpus": _named("no effect: the similarity is computed on all processors", "16"),
        "api": _named("chat or completion; by itself completion for names that end in -instruct or have davinci"),
        "budget_usd": _named("stop before more dollars are spent"),
        "price_in": _named("dollars per million tokens of prompts, where the model is in no price table"),
        "price_out": _named("dollars per million tokens of answers"),
    },
)
PROMPT = "prompt.txt"
_TODAY = {
    r"--resume with a larger budget goes on, with --count \d+ it ends there": "a larger --budget_usd goes on",
    r"then --resume with .*, or start again with": "then run it again with",
    r"go on (later )?with --resume": r"run the same command again\1",
    "--budget-usd": "--budget_usd",
    "--price-in and --price-out": "--price_in and --price_out",
}
"""What errors of today's generation say, and what that is in this command line."""


def generate_instruction() -> NoReturn:
    """Run the command line of the process as generate_instruction.py did, and exit; statuses as of `packtrain`."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    end(lambda: run(arguments), debug="--debug" in sys.argv[1:])


def run(arguments: Sequence[str]) -> None:
    """Do what `arguments` ask; UserError when they cannot be done."""
    if not arguments or "--help" in arguments or "-h" in arguments:
        print(help_text(COMMAND, [TASK]))
        return
    _, given = parse(arguments, [TASK])
    with in_old_words(_TODAY):
        _generate(given)


def _generate(given: dict[str, Value]) -> None:
    from packtrain.generate.budget import Limits
    from packtrain.generate.journal import keep_answers
    from packtrain.generate.loop import generate
    from packtrain.models.openai import OpenAIModel
    from packtrain.models.prices import price_of

    name = str(given["model_name"])
    _check_that_it_exists(name)
    wanted, out = _whole(given, "num_instructions_to_generate"), Path(str(given["output_dir"])).expanduser()
    regen = out / REGEN
    rows = _read_rows(regen)
    if rows:
        say(f"{regen}: {len(rows)} rows are there already")
    if len(rows) >= wanted:
        say(f"nothing to do: --num_instructions_to_generate {wanted}")
        return
    prices = {key: _number(given, key) for key in ("price_in", "price_out")}
    price, limits = price_of(f"openai:{name}", **prices), Limits(_number(given, "budget_usd"))
    at_once = _whole(given, "request_batch_size")
    model = OpenAIModel(name, None, _api(name, given["api"]), at_once)
    folder = out / RUNS / f"from_{len(rows)}"
    known = [row["instruction"] for row in rows]
    settings = _settings(given, len(rows))
    report = generate(
        model,
        wanted - len(rows),
        folder,
        settings,
        price=price,
        limits=limits,
        known=known,
        resume=keep_answers(folder, model.name, settings.seed),
        overwrite=True,
    )
    made = json.loads((folder / "instructions.json").read_text(encoding="utf-8"))
    _write_rows(regen, rows, made, settings.seeds)
    print_table(f"{regen}: {len(rows) + len(made)} rows", report.rows())


def _check_that_it_exists(name: str) -> None:
    if name == GONE and not os.environ.get("OPENAI_BASE_URL"):
        raise UserError(
            f"{GONE} no longer exists: OpenAI switched it off in January 2024",
            "name another model (--model_name=gpt-4o-mini), or an endpoint that serves one under this name "
            "(OPENAI_BASE_URL=http://localhost:8000/v1)",
        )


def _settings(given: dict[str, Value], rows: int) -> Any:
    from dataclasses import replace

    from packtrain.generate.prompt import OWN_PROMPT
    from packtrain.generate.seeds import OWN_SEEDS
    from packtrain.generate.settings import SAMPLING, Settings

    seeds, prompt = Path(str(given["seed_tasks_path"])).expanduser(), Path(PROMPT)
    default = TASK.parameters["seed_tasks_path"].default
    if not seeds.exists() and given["seed_tasks_path"] == default:
        say(f"{seeds} is not there: taking packtrain's own seed tasks")
        seeds = OWN_SEEDS
    if not prompt.exists():
        say(f"{prompt} is not there: taking packtrain's own prompt")
        prompt = OWN_PROMPT
    temperature, top_p = _number(given, "temperature"), _number(given, "top_p")
    sampling = replace(SAMPLING, temperature=temperature or 0.0, top_p=1.0 if top_p is None else top_p)
    # another seed for each start, or the prompts of the first would be asked again
    return Settings(
        seeds=seeds,
        prompt_template=prompt,
        examples_per_prompt=_whole(given, "num_prompt_instructions"),
        sampling=sampling,
        seed=42 + rows,
        compat=True,
    )


def _api(name: str, given: Value) -> Any:
    if given not in (None, "chat", "completion"):
        raise UserError(f"unknown --api: {given}", "there are: chat, completion")
    return given or ("completion" if "davinci" in name or name.endswith("-instruct") else "chat")


def _whole(given: dict[str, Value], name: str) -> int:
    value = _number(given, name)
    if value is None or value != int(value) or value < 1:
        raise UserError(f"--{name} must be a whole number of at least 1, not {given[name]}", f"see {COMMAND} --help")
    return int(value)


def _number(given: dict[str, Value], name: str) -> float | None:
    text = given[name]
    if text is None:
        return None
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"--{name} must be a number, not {text}", f"see {COMMAND} --help")
    return value


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}", "mend or remove the file") from error
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("instruction"), str) for row in rows
    ):
        raise UserError(f"{path} is not a list of rows with an instruction each", "mend or remove the file")
    return rows


def _write_rows(path: Path, rows: list[dict[str, Any]], made: list[dict[str, str]], seeds: Path) -> None:
    """All rows, the new ones with their similarity to the seeds and to every row before them."""
    from packtrain.core.atomic import atomic_file
    from packtrain.generate.novelty import Pool
    from packtrain.generate.seeds import load_seeds

    pool = Pool([seed_task.task.instruction for seed_task in load_seeds(seeds)])
    for row in rows:
        pool.add(row["instruction"])
    whole = list(rows)
    for task in made:
        similarity = pool.compare(task["instruction"])
        metadata = {
            "most_similar_instructions": similarity.most_similar(10),
            "avg_similarity_score": similarity.average,
        }
        whole.append({**task, **metadata})
        pool.add(task["instruction"])
    with atomic_file(path) as file:
        json.dump(whole, file, indent=4, ensure_ascii=True)
