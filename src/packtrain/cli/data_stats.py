"""`packtrain data stats`: how many, how long, and what training will see of it."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json

EXAMPLE = examples(
    "packtrain data stats alpaca/train.jsonl --tokenizer llama-7b-hf/ --template alpaca --max-length 512",
    "packtrain data stats flan.jsonl dolly.jsonl",
)


def stats(
    files: Annotated[list[Path], typer.Argument(help="Files of conversations.", metavar="FILE")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="A model folder, or its tokenizer.json or tokenizer.model: lengths in tokens instead of words."
        ),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="A prompt format or a .jinja file; default: the one in the tokenizer's folder.")
    ] = None,
    max_length: Annotated[int, typer.Option(min=1, help="Length limit of training, in tokens.")] = 2048,
    as_json: Json = False,
) -> None:
    """Count conversations, rounds and lengths per data set, and what the length limit takes away.

    A prompt is a question with its context, a round a question with its answer; both are counted as in Table 1 of
    arXiv 2306.04751: the text alone. Rounds lost: answers that lie behind the limit. EOS lost: the limit cuts the end
    of the last answer, so that nothing teaches the model to stop there. Left out: by reason, below the tables.
    """
    from packtrain.cli.statistics_tables import print_statistics
    from packtrain.core.errors import UserError
    from packtrain.core.progress import say
    from packtrain.data.inspection.visible_text import harmless_json
    from packtrain.data.statistics.statistics import published, statistics
    from packtrain.data.tokenizer_path import tokenizer_at, tokenizer_folder
    from packtrain.prompts.template import folder_template, load_template

    if tokenizer is None:
        if template is not None:
            raise UserError("--template needs a tokenizer", "give --tokenizer DIR too")
        say("note: lengths are in words; --tokenizer DIR gives tokens")
        found = statistics(files)
    else:
        folder = tokenizer_folder(tokenizer)
        prompt_format = load_template(template) if template is not None else folder_template(folder)
        if prompt_format is None:
            say("note: the tokenizer's folder stores no prompt format; --template NAME shows what training will see")
        found = statistics(files, tokenizer_at(tokenizer), prompt_format, max_length)
    if not found.total.conversations:
        named = ", ".join(map(str, files))
        raise UserError(f"no conversations in {named}", "`packtrain data prepare` makes conversation files")
    if as_json:
        print(harmless_json({"files": [str(file) for file in files], **found.figures()}))
        return
    print_statistics(found, published())
