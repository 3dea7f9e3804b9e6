"""What decides an evaluation: the files that its columns read, and no others."""

import json
import shutil
from pathlib import Path

import pytest
from tests.benchmark_files import write_benchmark_files

from packtrain.core.recipe_file import load_recipe
from packtrain.evaluate.benchmark import Setting, benchmark_of
from packtrain.pipeline.evaluation_record import files_of, judge_before
from packtrain.pipeline.judge import Judge

COLUMNS = ["mmlu:0shot", "gsm:cot", "bbh:cot", "tydiqa:gold", "codex:pass@1", "alpacafarm"]
NAMES = ["gsm8k/test.jsonl", "prompt_assets/gsm_exemplars.json", "mmlu/dev/x_dev.csv", "sources.lock.json", "notes.txt"]


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark_files(tmp_path_factory.mktemp("benchmarks"))


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_reads_the_same_from_its_files_alone(column: str, benchmarks: Path, tmp_path: Path) -> None:
    reads = files_of([column])
    names = [file.relative_to(benchmarks).as_posix() for file in benchmarks.rglob("*") if file.is_file()]
    kept = [name for name in names if reads.names(name)]
    for name in kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(benchmarks / name, tmp_path / name)
    setting = Setting(column)
    assert benchmark_of(column).items(tmp_path, setting) == benchmark_of(column).items(benchmarks, setting)
    assert {name.partition("/")[0] for name in kept} != {name.partition("/")[0] for name in names}


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [
        (["gsm:cot"], ["mmlu/dev/x_dev.csv", "sources.lock.json"]),
        (["mmlu:0shot", "gsm:cot"], ["sources.lock.json"]),
        (["codex:pass@1"], NAMES[:4]),
        (["exact_match", "codex:pass@1"], ["sources.lock.json"]),  # nobody fetches the first: it may read anything
    ],
)
def test_files_of_other_benchmarks_are_left_out(columns: list[str], left_out: list[str]) -> None:
    assert [name for name in NAMES if not files_of(columns).names(name)] == left_out


def test_the_judge_of_an_earlier_run_counts_while_the_recipe_has_a_column_for_it(tmp_path: Path) -> None:
    judged = load_recipe("alpaca-7b", ["evaluate.columns=[gsm:cot,alpacafarm]"])
    assert judge_before(judged, tmp_path) is None
    (tmp_path / "stages").mkdir()
    record = tmp_path / "stages" / "evaluate.json"
    record.write_text(json.dumps({"settings": {"columns": ["gsm:cot"]}}))
    assert judge_before(judged, tmp_path) is None
    record.write_text(json.dumps({"settings": {"columns": ["gsm:cot"], "judge": "openai:x"}}))
    assert judge_before(judged, tmp_path) is None  # there was nothing to judge
    record.write_text(json.dumps({"settings": {"columns": ["alpacafarm"], "judge": "openai:x"}}))
    assert judge_before(judged, tmp_path) == Judge("openai:x")
    assert judge_before(load_recipe("alpaca-7b", ["evaluate.columns=[gsm:cot]"]), tmp_path) is None
