"""`packtrain data inspect`: a conversation as the model sees it."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json

EXAMPLE = examples(
    "packtrain data inspect alpaca/train.jsonl --tokenizer llama-7b-hf/ --template alpaca",
    "packtrain data inspect mix.jsonl --tokenizer tulu-7b/ --id oasst1/oasst1_17 --ids",
)


def inspect(
    file: Annotated[Path, typer.Argument(help="A file of conversations.")],
    tokenizer: Annotated[Path, typer.Option(help="A model folder, or its tokenizer.json or tokenizer.model.")],
    template: Annotated[
        str | None, typer.Option(help="A prompt format or a .jinja file; default: the one in the tokenizer's folder.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--id", help="Which conversation: its id, or dataset/id; default: the first.")
    ] = None,
    row: Annotated[int | None, typer.Option(min=1, help="Which conversation: its place; the first is 1.")] = None,
    count: Annotated[int, typer.Option(min=1, help="So many conversations, from the chosen one on.")] = 1,
    max_length: Annotated[int, typer.Option(min=1, help="Length limit in tokens.")] = 2048,
    compat: Annotated[bool, typer.Option("--compat", help="Label as the original code of 2023 did.")] = False,
    ids: Annotated[bool, typer.Option("--ids", help="A table of tokens: position, id, piece, text.")] = False,
    as_json: Json = False,
) -> None:
    """Show conversations as the model sees them: which tokens are learnt, which are not, what the limit cuts.

    --json gives one object per conversation, each on its own line.
    """
    from rich.console import Console

    from packtrain.cli.token_view import print_id_view, print_legend, print_text_view
    from packtrain.core.errors import UserError
    from packtrain.data.inspection.find_conversations import by_row, row_of
    from packtrain.data.inspection.inspect import Inspector
    from packtrain.data.inspection.visible_text import harmless_json
    from packtrain.data.tokenizer_path import tokenizer_at, tokenizer_folder
    from packtrain.prompts.template import template_for

    if identity is not None and row is not None:
        raise UserError("both --id and --row are given", "give one of them")
    prompt_format = template_for(tokenizer_folder(tokenizer), template)
    inspector = Inspector(prompt_format, tokenizer_at(tokenizer), max_length, "compat" if compat else "default")
    first = row_of(file, identity) if identity is not None else row or 1
    console = Console(highlight=False)
    for place, conversation in enumerate(by_row(file, first, count)):
        seen = inspector.inspect(conversation)
        if as_json:
            print(harmless_json(seen.as_json()))
            continue
        if place:
            console.print()
        elif not ids:
            print_legend(console)
        (print_id_view if ids else print_text_view)(console, seen, max_length)
