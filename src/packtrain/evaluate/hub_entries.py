"""Scores in the two forms that the Hub reads: `.eval_results/*.yaml` and the `model-index` of a card.

`core.hub_results` says how columns are called there. Formats: hub-docs' eval_results.yaml and modelcard.md.
"""

from collections.abc import Sequence
from pathlib import Path

from packtrain.core.atomic import atomic_file, check_output_file
from packtrain.core.columns import model_index
from packtrain.core.errors import UserError
from packtrain.core.hub_results import FOLDER, check_scores, eval_result_files, kept_from_the_hub
from packtrain.core.progress import say
from packtrain.core.score import Score, whole_scores

MODEL_INDEX = "model-index.yaml"


def write_hub_entries(
    scores: Sequence[Score],
    model: str,
    folder: Path,
    *,
    date: str | None = None,
    source_url: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write `.eval_results/NAME.yaml` per data set and `model-index.yaml` into `folder`; returns the files.

    `model-index.yaml` holds the lines for the front matter of the model's README.md, `packtrain card` writes them by
    itself. `date` is ISO 8601; without one the Hub takes that of the upload. Partial scores are left out, and told.
    UserError for scores of several profiles, without whole ones, for what is no date, and when a file is there already.
    """
    check_scores(scores, date)
    if left_out := kept_from_the_hub(scores):
        if not whole_scores(scores):
            raise UserError(f"there is no result to write: {left_out}", "evaluate without --limit")
        say(f"note: {left_out}")
    texts = {
        folder / FOLDER / f"{name}.yaml": text for name, text in eval_result_files(scores, date, source_url).items()
    }
    texts[folder / MODEL_INDEX] = model_index_text(scores, model)
    for path in texts:
        check_output_file(path, overwrite)
    for path, text in texts.items():
        with atomic_file(path) as file:
            file.write(text)
    return list(texts)


def model_index_text(scores: Sequence[Score], model: str) -> str:
    """The YAML lines of `model-index`, for the front matter of a model's README.md; partial scores are left out."""
    from huggingface_hub import ModelCardData

    check_scores(scores)
    data = ModelCardData(model_name=model, eval_results=model_index(whole_scores(scores)))
    return f"{data.to_yaml()}\n"
