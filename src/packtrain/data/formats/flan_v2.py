"""FLAN V2: `inputs`, `targets`, already resampled over its submixes.

The raw collection, tens of gigabytes in 14 submixes, becomes the file that is read here by
`packtrain data resample flan_v2`.
"""

from packtrain.data.about import About
from packtrain.data.formats import cot

ABOUT = About(
    dataset="flan_v2",
    title="FLAN V2",
    source="https://github.com/google-research/FLAN",
    license="apache-2.0",
    citation="longpre2023flan",
    files=("flan_v2_resampled_100k.jsonl",),
    elsewhere=("https://huggingface.co/datasets/SirNeural/flan_v2 (the submixes, to be resampled)",),
    rows=100_000,
    rounds=1.0,
    prompt_tokens=355.7,
    completion_tokens=31.2,
)
FIELDS = cot.FIELDS
convert = cot.convert
