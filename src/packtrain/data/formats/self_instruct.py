"""Self-Instruct: instructions and instances written by GPT-3, in the shape of Alpaca."""

from packtrain.data.about import About
from packtrain.data.formats import alpaca

ABOUT = About(
    dataset="self_instruct",
    title="Self-Instruct",
    source="https://github.com/yizhongw/self-instruct",
    license="apache-2.0",
    citation="wang2022selfinstruct",
    files=("all_instances_82K.jsonl",),
    rows=82_439,
    rounds=1.0,
    prompt_tokens=41.5,
    completion_tokens=29.3,
)
FIELDS = alpaca.FIELDS
convert = alpaca.convert
