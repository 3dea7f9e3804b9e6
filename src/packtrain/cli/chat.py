"""`packtrain chat`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli.examples import examples

if TYPE_CHECKING:
    from packtrain.prompts.template import PromptTemplate

EXAMPLE = examples(
    "packtrain chat tuned/ --temperature 0.7",
    "# an answer to each line of a file",
    "packtrain chat tuned/ < questions.txt",
    "# in a browser, beside the base",
    "packtrain chat tuned/ --web --beside llama-7b-hf/",
)


def chat(
    model: Annotated[str, typer.Argument(help="A model folder or a Hub id.")],
    template: Annotated[str | None, typer.Option(help="Prompt format; default: the one stored with the model.")] = None,
    system: Annotated[str, typer.Option(help="System message.")] = "",
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 512,
    seed: Annotated[int, typer.Option(help="For answers that are drawn.")] = 0,
    dtype: Annotated[
        str, typer.Option(help="Number type to compute in: float32, bfloat16, float16; auto: what suits this machine.")
    ] = "float32",
    web: Annotated[bool, typer.Option("--web", help="Talk in a browser instead of the terminal.")] = False,
    beside: Annotated[
        str | None, typer.Option(help="With --web: a second model, asked the same; without a format, in the first's.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="With --web: address to serve at; this machine alone can reach the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --web: where; 0: a free one.")] = 8322,
) -> None:
    """Talk to a model in its own prompt format, in the terminal or in a browser."""
    from packtrain.chat.session import ROLE_MARKERS, ChatSession
    from packtrain.chat.terminal import chat as talk
    from packtrain.core.errors import UserError
    from packtrain.models.base import Sampling
    from packtrain.models.load import check_is_model
    from packtrain.models.local import LocalModel
    from packtrain.models.precision import dtype_named
    from packtrain.prompts.template import template_for
    from packtrain.weights.source import model_folder

    if beside is not None and not web:
        raise UserError("--beside shows two models on a page", "add --web")
    folder = model_folder(model)
    check_is_model(folder)
    chosen = template_for(folder, template)
    sampling = Sampling(max_new_tokens, temperature, top_p, ROLE_MARKERS, seed)
    numbers = dtype_named(dtype)
    if not web:
        talk(ChatSession(LocalModel(folder, dtype=numbers), chosen, system, sampling))
        return

    from packtrain.chat.web.asked import Side
    from packtrain.chat.web.server import ChatServer
    from packtrain.core.page_server import serve_until_stopped
    from packtrain.core.progress import say

    sides = [(folder, chosen)]
    if beside is not None:
        second = model_folder(beside)
        sides.append((second, _format_beside(second, template, chosen)))
    served = [Side(LocalModel(each, dtype=numbers), its_format) for each, its_format in sides]
    with ChatServer(served, host, port, system=system, sampling=sampling) as server:
        print(server.link, flush=True)
        if not server.is_local:
            say(
                "note: whoever reaches this machine and has the link can use the model; nothing is encrypted on the way"
            )
        say("stop with Ctrl-C")
        serve_until_stopped(server)


def _format_beside(folder: Path, name: str | None, first: "PromptTemplate") -> "PromptTemplate":
    """The named format, else the one stored in the second model's folder, else the first model's."""
    from packtrain.core.progress import say
    from packtrain.prompts.template import folder_template, template_for

    if name is not None:
        return template_for(folder, name)
    stored = folder_template(folder)
    if stored is None:
        say(f"{folder.name} stores no prompt format: it is asked in {first.name}")
    return stored or first
