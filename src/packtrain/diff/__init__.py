"""Weight diffs: what a tuned model has learnt, without its base's weights.

`load` gives a tuned model in memory. The modules do the rest: make, recover, check, explain.
"""

from typing import Any


def load(base: str, diff: str, *, dtype: str | None = None, family: str | None = None, jobs: int | None = None) -> Any:
    """The tuned model that `diff` describes against `base`, a transformers model on the CPU; nothing is written.

    `base` and `diff` are folders or Hub ids, `dtype` is float32, bfloat16 or float16 (None: as recovering to
    a folder would give it), `family` says whose diff it is when it has no manifest (diff/families.py). Equal
    to loading the folder that `packtrain diff recover` writes, tensor by tensor, and verified as there; memory
    is that of the model. UserError that names the first tensor that is wrong.

        model = packtrain.diff.load("llama-7b-hf", "org/tuned-7b-diff")
    """
    from packtrain.diff.loading import load_tuned
    from packtrain.weights.source import model_folder

    return load_tuned(model_folder(base), model_folder(diff), dtype=dtype, family=family, jobs=jobs)
