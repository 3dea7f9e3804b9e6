"""The command lines of weight_diff.py of Stanford Alpaca and of Open-Instruct, done by today's diff and recover.

The scripts that bear the old names are in compat/.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from packtrain.cli.fire_arguments import Parameter, Task, Value, help_text, parse
from packtrain.cli.main import end
from packtrain.cli.old_names import in_old_words
from packtrain.cli.options import print_table, report_rows
from packtrain.core.errors import UserError
from packtrain.core.progress import say

INSTRUCTION = "List three technologies that make life easier."
"""What a recovered model is asked, in both originals."""
ANSWER_TOKENS = 100
ALPACA_7B = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32001}
"""The configuration of the only model whose sum of all weights Stanford Alpaca's script knows."""

_RAW = Parameter("the base: a folder or a Hub id", required=True)
_DEVICE = Parameter("cpu or cuda; the weights are streamed on the CPU in any case", default="cpu")
_TEST = Parameter("ask the recovered model for a sample text", default=True)
_RESUME = Parameter("go on with what an interrupted run left", default=False, by_position=False)
_MAKE_DIFF = Task(
    "make_diff",
    "Write the weights of a tuned model minus those of its base.",
    {
        "path_raw": _RAW,
        "path_tuned": Parameter("the tuned model: a folder or a Hub id", required=True),
        "path_diff": Parameter("folder for the diff", required=True),
        "device": _DEVICE,
        "resume": _RESUME,
    },
)
_RECOVER = {
    "path_raw": _RAW,
    "path_diff": Parameter("the diff: a folder or a Hub id", required=True),
    "path_tuned": Parameter("folder for the recovered model; without it nothing is kept"),
}


@dataclass(frozen=True, slots=True)
class Original:
    """One of the two scripts: how it is called, and what is particular to it."""

    command: str
    family: str
    """Whose rules its diffs follow (diff/families.py)."""
    template: str
    """Prompt format of the sample text."""
    tasks: tuple[Task, ...]


ALPACA = Original(
    "python weight_diff.py",
    "alpaca",
    "alpaca",
    (
        _MAKE_DIFF,
        Task(
            "recover",
            "Add a diff to its base and write the tuned model in float32.",
            _RECOVER
            | {
                "device": _DEVICE,
                "test_inference": _TEST,
                "check_integrity_naively": Parameter("check the sum of all weights of Alpaca 7B", default=True),
                "resume": _RESUME,
            },
        ),
    ),
)
OPEN_INSTRUCT = Original(
    "python scripts/weight_diff.py",
    "open-instruct",
    "tulu",
    (
        _MAKE_DIFF,
        Task(
            "recover",
            "Add a diff to its base and write the tuned model in float32.",
            _RECOVER
            | {
                "original_model": Parameter("a model to ask for the same sample text: a folder or a Hub id"),
                "device": _DEVICE,
                "test_inference": _TEST,
                "resume": _RESUME,
            },
        ),
    ),
)


def weight_diff(original: Original) -> NoReturn:
    """Run the command line of the process as `original` did, and exit; the statuses are those of `packtrain`."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    end(lambda: run(original, arguments), debug="--debug" in sys.argv[1:])


def run(original: Original, arguments: Sequence[str]) -> None:
    """Do what `arguments` ask of `original`; UserError when they cannot be done."""
    if not arguments or "--help" in arguments or "-h" in arguments:
        asked = [task for task in original.tasks if task.name in arguments]
        print(help_text(original.command, asked or original.tasks))
        return
    task, given = parse(arguments, original.tasks)
    _check_device(str(given["device"]))
    out = "--path_diff" if task is _MAKE_DIFF else "--path_tuned"
    with in_old_words(_words(out, kept=given.get("path_tuned") is not None)):
        (_make_diff if task is _MAKE_DIFF else _recover)(original, given)


def _check_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UserError(f"unknown --device: {device}", "there are: cpu, cuda")
    if device != "cpu":
        say(f"--device {device}: the weights are streamed on the CPU; a sample text is made on a GPU if there is one")


def _words(out: str, kept: bool) -> dict[str, str]:
    """What today's errors call a thing, and how these command lines do."""
    return {
        "--resume without --expect-sum": f"{'--resume' if kept else out} --check_integrity_naively=False",
        ", or --overwrite to start": ", or leave --resume out to start",
        "see --family": "packtrain diff recover has --family",
        "--out": out,
    }


def _make_diff(original: Original, given: dict[str, Value]) -> None:
    from packtrain.diff.make import make_diff
    from packtrain.weights.source import model_folder

    out = Path(str(given["path_diff"])).expanduser()
    report = make_diff(
        model_folder(str(given["path_raw"])),
        model_folder(str(given["path_tuned"])),
        out,
        form="float",
        overwrite=True,
        resume=bool(given["resume"]),
    )
    print_table(f"diff: {out}", report_rows(report))


def _recover(original: Original, given: dict[str, Value]) -> None:
    from packtrain.weights.source import model_folder

    base, diff = model_folder(str(given["path_raw"])), model_folder(str(given["path_diff"]))
    named = given.get("original_model")
    reference = model_folder(str(named)) if named else None
    if reference is not None and not given["test_inference"]:
        say(f"--original_model {named} is not asked, because --test_inference is off")
    with _folder_for_the_model(given["path_tuned"]) as out:
        _recover_into(out, original, base, diff, given)
        if given["test_inference"]:
            _print_sample("recovered model", out, original.template)
            if reference is not None:
                _print_sample("original model", reference, original.template)


@contextmanager
def _folder_for_the_model(path_tuned: Value) -> Iterator[Path]:
    if path_tuned is not None:
        yield Path(str(path_tuned)).expanduser()
        return
    say("warning: no --path_tuned is given: the recovered model is not kept")
    with tempfile.TemporaryDirectory(prefix="packtrain-") as folder:
        yield Path(folder) / "recovered"


def _recover_into(out: Path, original: Original, base: Path, diff: Path, given: dict[str, Value]) -> None:
    from packtrain.diff.manifest import read_diff_record
    from packtrain.diff.model_files import read_config
    from packtrain.diff.recover import recover

    has_manifest = read_diff_record(diff) is not None
    expect_sum = None
    if given.get("check_integrity_naively"):
        reason = "its tensors are verified by its manifest" if has_manifest else _not_alpaca_7b(read_config(diff))
        if reason:
            say(f"the sum of all weights is not checked: {reason}")
        else:
            expect_sum = "alpaca-7b"
    report = recover(
        base,
        diff,
        out,
        dtype="float32",
        family=None if has_manifest else original.family,
        expect_sum=expect_sum,
        overwrite=True,
        resume=bool(given["resume"]),
    )
    print_table(f"recovered: {out if given['path_tuned'] is not None else 'not kept'}", report_rows(report))


def _not_alpaca_7b(config: dict[str, Any]) -> str:
    """Why the published sum cannot be that of a model with this configuration; empty when it can."""
    found = {key: config.get(key) for key in ALPACA_7B}
    if found == ALPACA_7B:
        return ""
    shown = ", ".join(f"{key} {value}" for key, value in found.items())
    return f"it is known for Alpaca 7B only, and this is another model ({shown})"


def _print_sample(title: str, folder: Path, template: str) -> None:
    """Print what the model in `folder` answers to `INSTRUCTION`; a line says why not, when it cannot be asked."""
    from packtrain.core.conversation import Message
    from packtrain.core.machine_memory import free_memory_bytes
    from packtrain.diff.pairing import open_model
    from packtrain.models.base import Sampling
    from packtrain.models.local import LocalModel
    from packtrain.prompts.template import load_template

    needed = 4 * sum(info.numel for info in open_model(folder).store.infos().values())
    free = free_memory_bytes()
    if needed > free:
        say(f"{title}: no sample text, that takes {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free")
        return
    model = LocalModel(folder)
    messages = [Message("user", INSTRUCTION)]
    prompt = load_template(template).render(messages, model.tokenizer.eos_token, for_answer=True).text
    length = len(model.tokenizer.ids(prompt))
    if model.model.config.model_type == "llama":  # rotary positions have no end; the originals asked for as much
        model.max_context = max(model.max_context, length + ANSWER_TOKENS)
    if length >= model.max_context:
        say(f"{title}: no sample text, the prompt has {length} tokens and the model's context {model.max_context}")
        return
    [completion] = model.generate([prompt], Sampling(max_new_tokens=ANSWER_TOKENS))
    print(f"{title}, prompt:\n{prompt}\n{title}, answer:\n{completion.text}")
