"""`packtrain convert`: llama, merge-lora."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json, print_table, report_rows

app = typer.Typer(
    help="Make Hugging Face folders of Meta's LLaMA folders, and of a base with a LoRA adapter.", no_args_is_help=True
)

Out = Annotated[Path, typer.Argument(help="Folder for the model.")]
_TYPES = "float16, bfloat16 or float32"


@app.command(epilog=examples("packtrain convert llama LLaMA/7B/ llama-7b-hf/"))
def llama(
    meta: Annotated[Path, typer.Argument(help="Folder with params.json and consolidated.00.pth.")],
    out: Out,
    dtype: Annotated[str | None, typer.Option(help=f"{_TYPES}; as stored when not given.")] = None,
    context_tokens: Annotated[
        int | None, typer.Option(min=1, help="max_position_embeddings, when what params.json suggests is wrong.")
    ] = None,
    no_tokenizer: Annotated[bool, typer.Option("--no-tokenizer", help="Convert the weights alone.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Convert LLaMA, Llama 2 or Code Llama as Meta publishes it, in constant memory."""
    from dataclasses import asdict

    from packtrain.prompts.sentencepiece import tokenizer_from_sentencepiece
    from packtrain.weights.llama_convert import convert_llama

    report = convert_llama(
        meta.expanduser(),
        out,
        dtype=dtype,
        context_tokens=context_tokens,
        with_tokenizer=not no_tokenizer,
        fast_tokenizer=lambda path: str(tokenizer_from_sentencepiece(path).to_str()),
        overwrite=overwrite,
    )
    if as_json:
        print_json(asdict(report))
        return
    print_table(f"converted: {out}", report_rows(report))


@app.command("merge-lora", epilog=examples("packtrain convert merge-lora llama-7b-hf/ alpaca-lora-7b/ alpaca-7b/"))
def merge_lora(
    base: Annotated[str, typer.Argument(help="The base model: a folder or a Hub id.")],
    adapter: Annotated[str, typer.Argument(help="The adapter: a folder with adapter_config.json, or a Hub id.")],
    out: Out,
    dtype: Annotated[str | None, typer.Option(help=f"{_TYPES}; the base's when not given.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Add a LoRA adapter of peft to its base, for good, in constant memory."""
    from dataclasses import asdict

    from packtrain.weights.lora_merge import merge_lora as run_merge
    from packtrain.weights.source import local_folder, model_folder

    report = run_merge(model_folder(base), local_folder(adapter), out, dtype=dtype, overwrite=overwrite)
    if as_json:
        print_json(asdict(report))
        return
    print_table(f"merged: {out}", report_rows(report))
