"""What each column asks a model to compute, in tokens: the figures of evaluate/workload.yaml.

python bench/evaluate_workload.py --data DIR --tokenizer DIR --answers ANNOTATIONS.json [--only COLUMNS]

DIR holds the benchmark files (packtrain evaluate fetch); the tokenizer is LLaMA's. Prompts are packtrain's own of
`paper-2023`. `computed_tokens` is what is left of `prompt_tokens` when the beginnings that prompts share are computed
once, grouped as the local model groups them (models/prefixes.py); both are means. Answers are as long as right ones,
with their end, and cut where the protocol cuts: GSM's of the data (`cot` without calculator marks), BBH's of the data
(`cot`: of the demonstrations), TydiQA's first right answer, HumanEval's solutions. ANNOTATIONS.json: AlpacaEval's of a
tuned model, of vicuna-13b here, for its answers to AlpacaFarm. The judge's prompts compare these with
text-davinci-003's, in characters over four (models/prices.py).
"""

import argparse
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from evaluate import CALCULATOR

CONTEXT = 2048


def column_figures(column: str, data: Path, tokenizer: Any, template: Any, outputs: dict[str, str]) -> dict[str, Any]:
    """The entry of a column."""
    from packtrain.evaluate.benchmark import Setting, benchmark_of
    from packtrain.evaluate.questions import format_tokens, questions_of
    from packtrain.models.encoding import Encoder
    from packtrain.models.prefixes import groups_of

    benchmark = benchmark_of(column)
    setting = Setting(column, tokenizer=tokenizer, format_tokens=format_tokens(template, tokenizer))
    questions = questions_of(benchmark, setting, data, template, tokenizer.eos_token)
    request, encoder = questions[0].request, Encoder(tokenizer, CONTEXT)
    prompts = [question.prompt for question in questions]
    if request.options is not None:
        options = [question.request.options or request.options for question in questions]
        rows = [row.ids for one in encoder.compared(prompts, options, questions[0].sampling) for row in one.rows]
    else:
        asked = [prompt for prompt in prompts for _ in range(request.samples)]
        rows = [one.ids for one in encoder.asked(asked, questions[0].sampling)]
    tokens = sum(map(len, rows))
    saved = sum((len(group.members) - 1) * group.shared for group in groups_of(rows))
    figures = {"questions": len(questions), "answers": len(rows), "prompt_tokens": round(tokens / len(rows), 1)}
    figures["computed_tokens"] = round((tokens - saved) / len(rows), 1)
    if request.options is None:
        most = request.max_new_tokens
        answers = tokenizer.encode(_right_answers(column, data, questions, outputs))
        lengths = [min(len(one.ids) + 1, most) for one in answers]
        figures |= {"new_tokens": round(sum(lengths) / len(lengths), 1), "longest": max(lengths)}
        figures["max_new_tokens"] = most
    return figures


def _right_answers(column: str, data: Path, questions: Sequence[Any], outputs: dict[str, str]) -> list[str]:
    contents = [question.item.content for question in questions]
    if column == "gsm:cot":
        rows = [json.loads(line) for line in (data / "gsm8k" / "test.jsonl").read_text().splitlines()]
        of_question = {row["question"].strip(): row["answer"] for row in rows}
        return [CALCULATOR.sub("", of_question[content["question"]]).replace("\n", " ") for content in contents]
    if column == "gsm:direct":
        return [content["gold"] for content in contents]
    if column == "bbh:cot":
        shown = {question.item.group: question.item.content["demonstrations"] for question in questions}
        return [answer for text in shown.values() for answer in re.findall(r"^A: (.*?)(?:\n\n|\Z)", text, re.M | re.S)]
    if column == "bbh:direct":
        return [content["target"] for content in contents]
    if column.startswith("tydiqa"):
        return [content["answers"][0] for content in contents]
    if column.startswith("codex"):
        with gzip.open(data / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as lines:
            return [json.loads(line)["canonical_solution"] for line in lines]
    return [outputs[_key(content)] for content in contents]


def judge_figures(data: Path, outputs: dict[str, str]) -> dict[str, Any]:
    """Prompts of each form of judging, and their mean length."""
    from packtrain.evaluate.benchmark import Setting, benchmark_of
    from packtrain.evaluate.judging.requests import drawn_orders, requests_for
    from packtrain.evaluate.judging.wording import FORMS, load_wordings
    from packtrain.models.prices import estimated_tokens

    benchmark: Any = benchmark_of("alpacafarm")
    items = benchmark.items(data, Setting("alpacafarm"))
    pairs = {item.id: benchmark.pair(item, outputs[_key(item.content)]) for item in items}
    found: dict[str, Any] = {}
    for form in FORMS:
        requests = requests_for(pairs, drawn_orders(list(pairs), 0), load_wordings(form), 0)
        tokens = sum(estimated_tokens(request.prompt) for request in requests)
        found[form] = {"prompts": len(requests), "prompt_tokens": round(tokens / len(requests), 1)}
    return found


def _key(content: Any) -> str:
    return f"{content['instruction']}\n\n{content['input']}" if content["input"] else str(content["instruction"])


def main() -> None:
    """Print the file."""
    from packtrain.core.score import COLUMNS
    from packtrain.prompts.template import load_template
    from packtrain.prompts.tokenizer import load_tokenizer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(COLUMNS))
    given = parser.parse_args()
    records = json.loads(given.answers.read_text(encoding="utf-8"))
    outputs = {_key({"input": "", **record}): record["output_2"] for record in records}
    tokenizer, template = load_tokenizer(given.tokenizer), load_template("tulu")
    columns = {column: column_figures(column, given.data, tokenizer, template, outputs) for column in given.only}
    print(yaml.safe_dump({"columns": columns, "judge": judge_figures(given.data, outputs)}, sort_keys=False))


if __name__ == "__main__":
    main()
