"""GPT4-Alpaca: Alpaca's instructions answered by GPT-4, in the shape of Alpaca.

A folder is read for its English file, as the original does; give the Chinese one, alpaca_gpt4_data_zh.json, by name.
"""

from packtrain.data.about import About
from packtrain.data.formats import alpaca

ABOUT = About(
    dataset="gpt4_alpaca",
    title="GPT4-Alpaca",
    source="https://github.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM",
    license="cc-by-nc-4.0",
    citation="peng2023instruction",
    files=("alpaca_gpt4_data.json",),
    rows=52_002,
    rounds=1.0,
    prompt_tokens=28.0,
    completion_tokens=161.8,
)
FIELDS = alpaca.FIELDS
convert = alpaca.convert
