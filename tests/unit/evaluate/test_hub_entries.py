"""What is written for the Hub is what its own library reads back."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import EvalResultEntry, ModelCard, parse_eval_result_entries

from packtrain.core.errors import UserError
from packtrain.core.score import COLUMNS, Score
from packtrain.evaluate.hub_entries import eval_result_files, model_index_text, write_hub_entries

SCORES = [Score(column, 30.123 + index, 200, 1.256) for index, column in enumerate(COLUMNS)]


def test_the_file_of_a_data_set_to_the_byte() -> None:
    scores = [Score("mmlu:0shot", 30.126, 14042, 0.387), Score("mmlu:5shot", 31.0, 14042, 0.39, notes=("2 cut: é",))]
    assert eval_result_files([*scores, Score("world", 91.5, 200, 2.0)], "2025-01-31T10:00:00Z", "https://x.org/m") == {
        "mmlu": (
            "- dataset:\n"
            "    id: cais/mmlu\n"
            "    task_id: mmlu_0shot\n"
            "  value: 30.13\n"
            "  date: '2025-01-31T10:00:00Z'\n"
            "  source:\n"
            "    url: https://x.org/m\n"
            "  notes: profile paper-2023; 14042 items; standard error 0.39; packtrain protocol version 1\n"
            "- dataset:\n"
            "    id: cais/mmlu\n"
            "    task_id: mmlu_5shot\n"
            "  value: 31.0\n"
            "  date: '2025-01-31T10:00:00Z'\n"
            "  source:\n"
            "    url: https://x.org/m\n"
            "  notes: 'profile paper-2023; 14042 items; standard error 0.39; packtrain protocol version 1; 2 cut: é'\n"
        )
    }


def test_the_hub_library_reads_every_file(tmp_path: Path) -> None:
    written = write_hub_entries(SCORES, "m", tmp_path)
    names = ["mmlu", "gsm8k", "big_bench_hard", "tydi_qa", "humaneval", "alpacafarm"]
    assert written == [*(tmp_path / f".eval_results/{name}.yaml" for name in names), tmp_path / "model-index.yaml"]
    entries = [
        entry
        for path in written[:-1]
        for entry in parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    ]
    assert all(isinstance(entry, EvalResultEntry) for entry in entries)
    assert [entry.value for entry in entries] == [round(score.value, 2) for score in SCORES]
    assert len({(entry.dataset_id, entry.task_id) for entry in entries}) == len(COLUMNS)


def test_the_model_index_stands_in_a_card_that_the_hub_library_reads(tmp_path: Path) -> None:
    scores = [*SCORES, Score("world", 91.5, 200, 2.0)]
    card = ModelCard(f"---\n{model_index_text(scores, 'my-model')}---\n\n# My model\n", ignore_metadata_errors=False)
    assert card.data.model_name == "my-model"
    assert card.data.eval_results is not None
    found = {result.metric_name: result for result in card.data.eval_results}
    assert len(found) == len(scores)
    assert found["GSM CoT"].dataset_type == "openai/gsm8k"
    assert found["GSM CoT"].metric_value == 33.12
    assert found["GSM CoT"].metric_args == {"items": 200, "standard_error": 1.26, "profile": "paper-2023"}
    assert found["world"].dataset_name == "world"


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no scores"):
        write_hub_entries([], "m", tmp_path)
    with pytest.raises(UserError, match="several profiles"):
        write_hub_entries([SCORES[0], Score("gsm:cot", 1.0, 1, 1.0, profile="fixed")], "m", tmp_path)
    with pytest.raises(UserError, match="not a date: yesterday"):
        write_hub_entries(SCORES, "m", tmp_path, date="yesterday")
    assert list(tmp_path.iterdir()) == []
    write_hub_entries(SCORES[:1], "m", tmp_path)
    with pytest.raises(UserError, match="exists already"):
        write_hub_entries(SCORES[1:2], "m", tmp_path)
    write_hub_entries(SCORES[1:2], "m", tmp_path, overwrite=True)
    assert "mmlu_5shot" in (tmp_path / ".eval_results/mmlu.yaml").read_text(encoding="utf-8")


def test_scores_of_a_part_of_the_items_are_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = Score("gsm:cot", 50.0, 4, 28.9, whole_n=1319)
    write_hub_entries([SCORES[0], few], "m", tmp_path)
    assert "partial scores, kept out of model-index and .eval_results: gsm:cot (4 of 1,319 items)" in (
        capsys.readouterr().err
    )
    assert sorted(path.name for path in (tmp_path / ".eval_results").iterdir()) == ["mmlu.yaml"]
    assert "GSM" not in (tmp_path / "model-index.yaml").read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"no result to write: partial scores.*4 of 1,319"):
        write_hub_entries([few], "m", tmp_path / "new")
    assert not (tmp_path / "new").exists()
