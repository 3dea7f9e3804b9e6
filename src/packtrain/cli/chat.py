"""`packtrain chat`."""

from typing import Annotated

import typer

EXAMPLE = "Example: packtrain chat tuned/ --temperature 0.7. Piped: echo 'Name a colour.' | packtrain chat tuned/"


def chat(
    model: Annotated[str, typer.Argument(help="A model folder or a Hub id.")],
    template: Annotated[str | None, typer.Option(help="Prompt format; default: the one stored with the model.")] = None,
    system: Annotated[str, typer.Option(help="System message.")] = "",
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 512,
    seed: Annotated[int, typer.Option(help="For answers that are drawn.")] = 0,
) -> None:
    """Talk to a model in its own prompt format."""
    from packtrain.chat.session import ROLE_MARKERS, ChatSession
    from packtrain.chat.terminal import chat as talk
    from packtrain.models.base import Sampling
    from packtrain.models.local import LocalModel
    from packtrain.prompts.template import template_for
    from packtrain.weights.source import model_folder

    folder = model_folder(model)
    chosen = template_for(folder, template)
    sampling = Sampling(max_new_tokens, temperature, top_p, ROLE_MARKERS, seed)
    talk(ChatSession(LocalModel(folder), chosen, system, sampling))
