"""Finds model folders whose configs do not name the token that ends an answer.

`generate` of transformers and most servers stop at the ids in generation_config.json, or in config.json where there is
none. Where the chat template ends answers by another token, the model runs on (Llama 3 in its first days:
vllm#4180).
"""

from collections.abc import Iterator

from packtrain.prompts.stop_tokens import answer_end
from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.doctor_checks.ids_agree import ids
from packtrain.train.examined import Examined
from packtrain.weights.model_files import CONFIG, GENERATION_CONFIG

NEEDS = ("tokenizer", "config")
BEFORE_TRAINING = False
FINE = "the configs name the token that ends an answer"


def check(examined: Examined) -> Iterator[Finding]:
    """An error where a chat template says how answers end, a warning for a base; training writes the ids itself."""
    tokenizer, template = examined.tokenizer, examined.template
    if tokenizer is None:
        return
    if examined.recipe is not None:
        yield fine("the tuned model gets a generation_config.json with every stop id")
        return
    generation = examined.generation_config
    name = CONFIG if generation is None else GENERATION_CONFIG
    named = ids(examined.setting("eos_token_id") if generation is None else generation.get("eos_token_id"))
    end = None if template is None else answer_end(tokenizer, template)
    token = end or tokenizer.eos_token
    if tokenizer.id_of(token) in named:
        return
    found = ", ".join(map(str, sorted(named))) or "none"
    what = f"answers end by {token} ({tokenizer.id_of(token)}), the stop ids are: {found}"
    mend = f'add {tokenizer.id_of(token)} to "eos_token_id"; without it other programs do not stop'
    yield (error if end else warning)(what, str(examined.folder / name), mend)
