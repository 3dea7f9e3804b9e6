"""Code-Alpaca: programming tasks in the shape of Alpaca."""

from packtrain.data.about import About
from packtrain.data.formats import alpaca

ABOUT = About(
    dataset="code_alpaca",
    title="Code-Alpaca",
    source="https://github.com/sahil280114/codealpaca",
    license="cc-by-nc-4.0",
    citation="chaudhary2023codealpaca",
    files=("code_alpaca_20k.json",),
    elsewhere=("https://huggingface.co/datasets/sahil2801/CodeAlpaca-20k",),
    rows=20_022,
    rounds=1.0,
    prompt_tokens=35.6,
    completion_tokens=67.8,
)
FIELDS = alpaca.FIELDS
convert = alpaca.convert
