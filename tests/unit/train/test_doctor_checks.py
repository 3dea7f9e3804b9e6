"""Every check of the doctor: a folder that has the fault, and one that has not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file

from packtrain.core.folder import names
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import load_recipe
from packtrain.prompts.template import PromptTemplate, load_template
from packtrain.prompts.token_cache import Encoding, encode_file
from packtrain.prompts.token_file import TokenFile
from packtrain.train.doctor import CHECKS, load_checks
from packtrain.train.examined import Examined, examined_folder
from packtrain.weights.store import open_store

Found = list[tuple[str, str]]


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Path:
    """A tiny LLaMA that may be spoilt."""
    return shutil.copytree(tiny_base, tmp_path / "model")


def run(name: str, examined: Examined) -> Found:
    """Severity and words of what one check finds."""
    [check] = [one for one in load_checks() if one.name == name]
    assert all(getattr(examined, part) is not None for part in check.needs)
    return [(finding.severity, finding.what) for finding in check.check(examined)]


def change(folder: Path, name: str, **values: Any) -> None:
    """Write values into a JSON file of a model folder; None takes one out."""
    path = folder / name
    there = json.loads(path.read_text()) if path.exists() else {}
    there |= values
    path.write_text(json.dumps({key: value for key, value in there.items() if value is not None}))


def retokenize(folder: Path, do: Callable[[tokenizers.Tokenizer], None]) -> None:
    """Change the tokenizer of a model folder."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    do(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))


def reweigh(folder: Path, do: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights of a model folder."""
    weights = load_file(folder / "model.safetensors")
    do(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def recipe(**train: Any) -> Recipe:
    return load_recipe("demo", [f"train.{key}={value}" for key, value in train.items()])


def template(source: str) -> PromptTemplate:
    return PromptTemplate("mine", source)


def rounds(answer: str, header: str = "A:\\n", prompt: str = "A:\\n") -> str:
    """A chat format; `answer` is Jinja, `prompt` what it ends with when an answer is asked for."""
    return (
        "{%- for message in messages -%}"
        "{%- if message.role == 'user' -%}{{ 'U:\\n' + message.content + '\\n' }}"
        "{%- else -%}{{ '" + header + "' }}" + answer + "{{ '\\n' }}{%- endif -%}"
        "{%- endfor -%}{%- if add_generation_prompt -%}{{ '" + prompt + "' }}{%- endif -%}"
    )


LEARNT = "{%- generation -%}{{ message.content + eos_token }}{%- endgeneration -%}"


def test_every_check_says_what_it_is() -> None:
    checks = load_checks()
    assert [one.name for one in checks] == names(CHECKS, ".py")
    for one in checks:
        assert one.what.startswith("Finds ")
        assert one.fine
        assert set(one.needs) <= set(dir(Examined)) | set(Examined.__dataclass_fields__)


def test_the_page_about_the_doctor_names_every_check() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"
    told = [line.split("`")[1] for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("### `")]
    assert sorted(told) == names(CHECKS, ".py")


def test_a_sound_folder_passes_every_check(tiny_base: Path, tiny_opt: Path) -> None:
    for base in (tiny_base, tiny_opt):
        for used_as in (None, recipe()):
            examined = examined_folder(base, recipe=used_as, template="tulu", pad_token="<pad>" if used_as else None)
            examined = replace(examined, out=base / "out")
            assert examined.unreadable == ()
            applied = [one for one in load_checks() if all(getattr(examined, part) is not None for part in one.needs)]
            assert len(applied) >= 8
            found = {one.name: [*one.check(examined)] for one in applied}
            assert [finding for each in found.values() for finding in each if finding.severity != "fine"] == []


def test_special_tokens(folder: Path) -> None:
    assert run("special_tokens", examined_folder(folder)) == [
        ("fine", "no padding token is declared: training adds one")
    ]
    change(folder, "tokenizer_config.json", bos_token="", eos_token="", unk_token="", pad_token="<pad>")
    assert run("special_tokens", examined_folder(folder)) == [
        ("warning", "bos_token is declared as empty text"),
        ("warning", "eos_token is declared as empty text; </s> is used"),
        ("error", "pad_token is declared as '<pad>', which is not in the vocabulary"),
        ("warning", "unk_token is declared as empty text"),
    ]
    as_base = examined_folder(folder, recipe=recipe(), pad_token="[PAD]")
    assert ("warning", "pad_token is declared as '<pad>', which is not in the vocabulary; [PAD] is used") in run(
        "special_tokens", as_base
    )
    (folder / "tokenizer_config.json").unlink()
    assert run("special_tokens", examined_folder(folder))[0] == (
        "warning",
        "no end-of-sequence token is declared; </s> is used",
    )
    change(folder, "special_tokens_map.json", eos_token={"content": "</s>"}, pad_token="</s>")
    assert run("special_tokens", examined_folder(folder)) == []


def test_token_roles(folder: Path) -> None:
    assert run("token_roles", examined_folder(folder)) == []
    change(folder, "tokenizer_config.json", pad_token="</s>")
    assert run("token_roles", examined_folder(folder)) == [
        ("warning", "the padding token </s> is the end-of-sequence token, too")
    ]
    assert run("token_roles", examined_folder(folder, recipe=recipe())) == []
    change(folder, "tokenizer_config.json", pad_token="<unk>", bos_token="</s>")
    assert run("token_roles", examined_folder(folder)) == [
        ("fine", "</s> both begins and ends texts, as in OPT, GPT-2 and Pythia"),
        ("warning", "the padding token <unk> is the unknown token, too"),
    ]
    change(folder, "tokenizer_config.json", eos_token="<unk>", pad_token=None, bos_token="<s>")
    for used_as in (None, recipe()):
        assert run("token_roles", examined_folder(folder, recipe=used_as)) == [
            ("error", "the end-of-sequence token is <unk>, the token for unknown text")
        ]


def test_ids_agree(folder: Path) -> None:
    assert run("ids_agree", examined_folder(folder)) == []
    change(folder, "generation_config.json", eos_token_id=[2, 5])
    assert run("ids_agree", examined_folder(folder)) == []
    change(folder, "config.json", bos_token_id=0, eos_token_id=1, pad_token_id=-1)
    change(folder, "generation_config.json", bos_token_id=0, eos_token_id=1, pad_token_id=0)
    early = "; these are the ids of an early LLaMA conversion"
    assert run("ids_agree", examined_folder(folder)) == [
        (
            "warning",
            "ids of bos differ: the tokenizer 1 (<s>), config.json 0 (<unk>), generation_config.json 0 (<unk>)" + early,
        ),
        (
            "warning",
            "ids of eos differ: the tokenizer 2 (</s>), config.json 1 (<s>), generation_config.json 1 (<s>)" + early,
        ),
        ("warning", "ids of pad differ: config.json -1 (no token), generation_config.json 0 (<unk>)" + early),
    ]
    change(folder, "config.json", bos_token_id=1, eos_token_id=2, pad_token_id=None)
    change(folder, "generation_config.json", bos_token_id=1, eos_token_id=3, pad_token_id=None)
    [(severity, what)] = run("ids_agree", examined_folder(folder))
    assert severity == "warning"
    assert what.startswith(
        "ids of eos differ: the tokenizer 2 (</s>), config.json 2 (</s>), generation_config.json 3 ("
    )


@pytest.mark.parametrize("config_eos", [None, 2, 3])
@pytest.mark.parametrize("generation_eos", [None, 2, 3])
def test_ids_agree_in_every_combination(folder: Path, config_eos: int | None, generation_eos: int | None) -> None:
    change(folder, "config.json", eos_token_id=config_eos)
    change(folder, "generation_config.json", eos_token_id=generation_eos)
    found = run("ids_agree", examined_folder(folder))
    assert bool(found) == (3 in (config_eos, generation_eos))


def test_ids_in_table_of_a_folder_as_it_is(folder: Path) -> None:
    assert run("ids_in_table", examined_folder(folder)) == []
    change(folder, "config.json", pad_token_id=300)
    change(folder, "generation_config.json", pad_token_id=-1)
    assert run("ids_in_table", examined_folder(folder)) == [
        ("error", "pad_token_id is 300, the token table has 300 rows: the model cannot be loaded"),
        ("warning", "pad_token_id is -1: there is no such token"),
    ]
    change(folder, "config.json", pad_token_id=None)
    change(folder, "generation_config.json", pad_token_id=None)
    retokenize(folder, lambda tokenizer: tokenizer.add_special_tokens(["[PAD]"]))
    behind = "1 tokens lie behind the 300 rows of the token table: '[PAD]' has id 300"
    assert run("ids_in_table", examined_folder(folder)) == [("warning", behind)]
    change(folder, "tokenizer_config.json", pad_token="[PAD]")
    assert run("ids_in_table", examined_folder(folder)) == [("error", behind)]


def test_ids_in_table_of_a_base(folder: Path) -> None:
    examined = examined_folder(folder, recipe=recipe(), pad_token="<pad>")
    assert run("ids_in_table", examined) == [
        ("fine", "1 rows will be added to the token table, as the mean of its 300")
    ]
    retokenize(folder, lambda tokenizer: tokenizer.add_tokens([f"word{number}" for number in range(1001)]))
    assert run("ids_in_table", examined_folder(folder, recipe=recipe())) == [
        ("warning", "the tokenizer has 1301 tokens, the token table 300 rows: 1001 will be added")
    ]
    there = json.loads((folder / "tokenizer.json").read_text())
    there["added_tokens"] = there["added_tokens"][:3]
    there["model"]["vocab"]["gap"] = 900
    (folder / "tokenizer.json").write_text(json.dumps(there))
    assert run("ids_in_table", examined_folder(folder, recipe=recipe())) == [
        ("error", "token 'gap' has id 900, the token table will have 301 rows")
    ]


def test_first_token_twice(folder: Path) -> None:
    twice = template("{{ '<s>' }}" + rounds(LEARNT))
    examined = replace(examined_folder(folder), template=twice)
    words = "texts would begin with <s> twice: the tokenizer adds it, and the template writes it"
    assert run("first_token", examined) == [("error", words)]
    assert run("first_token", replace(examined, template=template(rounds(LEARNT)))) == []
    assert run("first_token", replace(examined, template=None)) == []


def test_first_token_of_opt_twice(folder: Path) -> None:
    """OPT's tokenizer puts its end-of-sequence first."""

    def first_is_eos(tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=["</s>", "$A"], special_tokens=[("</s>", 2)]
        )

    retokenize(folder, first_is_eos)
    change(folder, "tokenizer_config.json", bos_token="</s>")
    examined = replace(examined_folder(folder), template=template("{{ eos_token }}" + rounds(LEARNT)))
    words = "texts would begin with </s> twice: the tokenizer adds it, and the template writes it"
    assert run("first_token", examined) == [("error", words)]
    assert run("first_token", replace(examined, template=load_template("tulu"))) == []


def test_first_token_missing(folder: Path) -> None:
    there = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**there, "post_processor": None}))
    assert run("first_token", examined_folder(folder)) == []
    change(folder, "tokenizer_config.json", add_bos_token=True)
    assert run("first_token", examined_folder(folder)) == [
        ("warning", "add_bos_token is true, but tokenizer.json does not put <s> before a text")
    ]


NEVER = "which stands before every answer in training and is never learnt"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (rounds(LEARNT), []),
        (rounds(LEARNT, prompt="A:"), [("error", "the prompt ends before '\\n', " + NEVER)]),
        (rounds(LEARNT, prompt=""), [("error", "the prompt ends before 'A:\\n', " + NEVER)]),
        (rounds(LEARNT, header="A:\\n()\\n"), [("warning", "the prompt ends before '()\\n', " + NEVER)]),
        (
            rounds(LEARNT, prompt="B:\\n"),
            [("error", "the model is asked with 'B:\\n' where it is trained with 'A:\\nRed.</s>\\n'")],
        ),
        (
            rounds(LEARNT, prompt="A:\\n "),
            [("error", "the model is asked with ' ' where it is trained with 'Red.</s>\\n'")],
        ),
        (
            rounds("{%- generation -%}{{ 'A:\\n' + message.content + eos_token }}{%- endgeneration -%}", header=""),
            [("warning", "'A:\\n' is learnt although every prompt holds it already")],
        ),
        (rounds(LEARNT, header=" ", prompt=" "), []),
    ],
)
def test_prompt_seam(folder: Path, source: str, found: Found) -> None:
    assert run("prompt_seam", replace(examined_folder(folder), template=template(source))) == found


def test_prompt_seam_of_tokens(folder: Path) -> None:
    """A tokenizer that makes one token of the header's end and the answer's beginning shows no prompt as it trained."""

    def merging(tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.add_tokens(["@R", "@7"])

    retokenize(folder, merging)
    examined = replace(examined_folder(folder), template=template(rounds(LEARNT, header="A@", prompt="A@")))
    assert run("prompt_seam", examined) == [
        ("warning", "the end of the prompt and the beginning of 'Red.</s>' become one token")
    ]


def test_prompt_seam_of_the_second_round(folder: Path) -> None:
    forgets = (
        "{%- for message in messages[-2:] -%}{{ message.role + '\\n' }}"
        "{%- if message.role == 'assistant' -%}" + LEARNT + "{%- else -%}{{ message.content }}{%- endif -%}{{ '\\n' }}"
        "{%- endfor -%}{%- if add_generation_prompt -%}{{ 'assistant\\n' }}{%- endif -%}"
    )
    [(severity, what)] = run("prompt_seam", replace(examined_folder(folder), template=template(forgets)))
    assert severity == "error"
    asked, trained = "'assistant\\nRed.</s>\\nuser\\n'", "'user\\nAnother?\\nassistant\\n'"
    assert what == f"the model is asked with {asked} where it is trained with {trained}"


@pytest.mark.parametrize("name", ["tulu", "alpaca", "prompt_completion"])
def test_shipped_formats_have_no_fault(folder: Path, name: str) -> None:
    examined = examined_folder(folder, template=name, recipe=recipe())
    assert [run(check, examined) for check in ("first_token", "prompt_seam", "answers_end")] == [[], [], []]


def test_answers_end(folder: Path) -> None:
    examined = examined_folder(folder, recipe=recipe())

    def found(answer: str, used_as: Recipe | None = examined.recipe) -> Found:
        return run("answers_end", replace(examined, template=template(rounds(answer)), recipe=used_as))

    assert found(LEARNT) == []
    assert found("{%- generation -%}{{ message.content + eos_token + '\\n' }}{%- endgeneration -%}") == []
    assert found("{%- generation -%}{{ message.content }}{%- endgeneration -%}{{ eos_token }}") == [
        ("error", "what is learnt of an answer ends by 'lue' and not by a stop token")
    ]
    assert found("{{ message.content + eos_token }}") == [("error", "the template marks nothing to learn")]
    assert found("{{ message.content + eos_token }}", None) == [
        ("fine", "the chat template marks nothing to learn: it is for use, not for training")
    ]


def test_an_end_of_turn_of_its_own_ends_an_answer(folder: Path) -> None:
    answer = "{%- generation -%}{{ message.content + '<turn|>' }}{%- endgeneration -%}"
    retokenize(folder, lambda tokenizer: tokenizer.add_special_tokens(["<turn|>"]))
    examined = replace(examined_folder(folder), template=template(rounds(answer)))
    assert run("answers_end", examined) == []
    assert run("stops_named", examined) == [("error", "answers end by <turn|> (300), the stop ids are: 2")]
    change(folder, "generation_config.json", eos_token_id=[2, 300])
    assert run("stops_named", replace(examined_folder(folder), template=examined.template)) == []


CHATML = (
    "{{- bos_token }}{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + END + '\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def test_a_chat_template_of_the_folder_needs_no_marks(folder: Path) -> None:
    """As most on the Hub: it begins with the first token by itself, and ends answers by a token of its own."""
    retokenize(folder, lambda tokenizer: tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"]))
    (folder / "chat_template.jinja").write_text(CHATML.replace("END", "'<|im_end|>'"))
    for used_as in (None, recipe()):
        examined = examined_folder(folder, recipe=used_as, template="own" if used_as else None)
        assert examined.unreadable == ()
        assert [run(check, examined) for check in ("first_token", "prompt_seam", "answers_end")] == [[], [], []]
    assert run("stops_named", examined_folder(folder)) == [
        ("error", "answers end by <|im_end|> (301), the stop ids are: 2")
    ]


def test_a_chat_template_without_an_end(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(CHATML.replace("END", "''"))
    problem = "template model/chat_template ends an answer with no token of its own, so that the model would never stop"
    assert run("answers_end", examined_folder(folder)) == [("warning", problem)]
    [finding] = examined_folder(folder, recipe=recipe(), template="own").unreadable
    assert (finding.severity, finding.check, finding.what) == ("error", "template", problem)


def test_an_end_that_the_tokenizer_does_not_read(folder: Path) -> None:
    """As the fast LLaMA tokenizer of transformers 4.31: its special tokens stood alone only."""
    there = json.loads((folder / "tokenizer.json").read_text())
    there["added_tokens"] = [{**token, "single_word": True} for token in there["added_tokens"]]
    (folder / "tokenizer.json").write_text(json.dumps(there))
    assert run("answers_end", examined_folder(folder, template="tulu", recipe=recipe())) == [
        ("error", "the tokenizer does not read </s> behind a word as its token: the end of an answer is never learnt")
    ]


def test_data_ends(folder: Path, conversations_file: Path) -> None:
    examined = examined_folder(folder, template="tulu", recipe=recipe())

    def encoded(limit: int, mode: Any = "default") -> TokenFile:
        assert examined.template is not None
        assert examined.tokenizer is not None
        return encode_file(conversations_file, Encoding(examined.template, examined.tokenizer, limit, mode))

    def found(limit: int, mode: Any = "default") -> Found:
        return run("data_ends", replace(examined, encoded=encoded(limit, mode)))

    assert found(500) == []
    assert found(500, "compat") == []
    assert found(60) == [
        ("warning", "12 of 24 conversations do not end by a stop token; 12 of 24 are cut at the limit")
    ]
    shortest = min(len(example.input_ids) for example in encoded(500))
    [(severity, what)] = found(shortest - 1)
    assert severity == "error"
    assert what.startswith("nothing teaches the model to stop: ")


def test_a_few_lost_ends_are_no_warning(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    answers = ["yes " * 100, *["yes"] * 39]
    data.write_text("".join(map(_line, range(40), answers)))
    examined = examined_folder(folder, template="tulu", recipe=recipe())
    assert examined.template is not None
    assert examined.tokenizer is not None
    encoded = encode_file(data, Encoding(examined.template, examined.tokenizer, 100))
    assert run("data_ends", replace(examined, encoded=encoded)) == [
        ("fine", "1 of 40 conversations do not end by a stop token; 1 of 40 are cut at the limit")
    ]


def _line(number: int, answer: str, rounds: int = 1) -> str:
    messages = [{"role": "user", "content": "So?"}, {"role": "assistant", "content": answer}] * rounds
    return json.dumps({"dataset": "d", "id": str(number), "messages": messages}) + "\n"


@pytest.mark.parametrize(("several", "severity"), [(0, None), (1, "fine"), (2, "warning"), (100, "error")])
def test_data_left_out(folder: Path, tmp_path: Path, several: int, severity: str | None) -> None:
    """The Alpaca format cannot show several rounds."""
    data = tmp_path / "data.jsonl"
    data.write_text("".join(_line(number, "Yes.", 2 if number < several else 1) for number in range(200)))
    examined = examined_folder(folder, template="alpaca", recipe=recipe())
    assert examined.template is not None
    assert examined.tokenizer is not None
    encoded = encode_file(data, Encoding(examined.template, examined.tokenizer, 200))
    reason = "template alpaca: the Alpaca format has one instruction and one answer"
    what = f"{several} of 200 conversations are left out ({reason}: {several})"
    expected = [(severity, what)] if severity else []
    assert run("data_left_out", replace(examined, encoded=encoded)) == expected


def test_stops_named(folder: Path) -> None:
    base = examined_folder(folder)
    assert run("stops_named", base) == []
    change(folder, "generation_config.json", eos_token_id=None)
    assert run("stops_named", examined_folder(folder)) == [
        ("warning", "answers end by </s> (2), the stop ids are: none")
    ]
    tuned = replace(examined_folder(folder), template=load_template("tulu"))
    assert run("stops_named", tuned) == [("error", "answers end by </s> (2), the stop ids are: none")]
    assert run("stops_named", replace(tuned, recipe=recipe())) == [
        ("fine", "the tuned model gets a generation_config.json with every stop id")
    ]
    (folder / "generation_config.json").unlink()
    assert run("stops_named", replace(examined_folder(folder), template=tuned.template)) == []


def test_context(folder: Path) -> None:
    assert run("context", examined_folder(folder, recipe=recipe(max_length_tokens=512))) == []
    assert run("context", examined_folder(folder, recipe=recipe(max_length_tokens=513))) == [
        ("error", f"train.max_length_tokens is 513, the context of {folder} is 512 tokens")
    ]
    change(folder, "config.json", max_position_embeddings=None, n_positions=64)
    assert examined_folder(folder).context_tokens == 64
    change(folder, "config.json", n_positions=None, text_config={"max_position_embeddings": 32})
    assert examined_folder(folder).context_tokens == 32
    change(folder, "config.json", text_config=None)
    assert examined_folder(folder).context_tokens is None


@pytest.mark.parametrize(
    ("free", "found"),
    [
        (10**9, []),
        (1_000_000, [("warning", "model and checkpoints take 1.06 MB, the disk has 1.00 MB free")]),
        (100_000, [("error", "the tuned model takes 0.15 MB, the disk has 0.10 MB free")]),
    ],
)
def test_disk_space(folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, found: Found) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(0, 0, free))
    examined = replace(examined_folder(folder, recipe=recipe()), out=folder / "not" / "yet")
    assert run("disk_space", examined) == found


def test_weights_fit(folder: Path, tiny_opt: Path) -> None:
    assert run("weights_fit", examined_folder(folder)) == []
    assert run("weights_fit", examined_folder(tiny_opt)) == []
    change(folder, "config.json", vocab_size=301)
    what = "model.embed_tokens.weight is [300, 32] in the files and [301, 32] by the config"
    assert ("error", what) in run("weights_fit", examined_folder(folder))
    change(folder, "config.json", vocab_size=300)
    layer = "model.layers.1.self_attn.q_proj.weight"
    reweigh(folder, lambda weights: weights.pop(layer))
    assert run("weights_fit", examined_folder(folder)) == [("error", f"the files lack {layer}")]
    reweigh(folder, lambda weights: weights.update({"model.layers.1.rotary_emb.inv_freq": torch.ones(4)}))
    assert run("weights_fit", examined_folder(folder)) == [("error", f"the files lack {layer}")]
    reweigh(folder, lambda weights: weights.update(other=torch.ones(32, 31)))
    assert run("weights_fit", examined_folder(folder)) == [
        ("warning", f"the model has {layer}, the files other instead")
    ]
    reweigh(folder, lambda weights: weights.update(other=torch.ones(32, 32)))
    assert run("weights_fit", examined_folder(folder)) == [
        ("fine", f"the files have as much under other names, such as other for {layer}")
    ]
    reweigh(folder, lambda weights: weights.update({layer: torch.ones(32, 32)}))
    assert run("weights_fit", examined_folder(folder)) == []
    change(folder, "config.json", model_type="unheard-of")
    [(severity, what)] = run("weights_fit", examined_folder(folder))
    assert (severity, what[:35]) == ("error", "transformers cannot make the model:")


def test_weights_of_a_bare_model_fit(folder: Path) -> None:
    def bare(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            if name.startswith("model."):
                weights[name.removeprefix("model.")] = weights.pop(name)

    reweigh(folder, bare)
    assert run("weights_fit", examined_folder(folder)) == []


def test_finite_weights(folder: Path) -> None:
    assert run("finite_weights", examined_folder(folder)) == []

    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights["lm_head.weight"][-1, -1] = float("nan")
        weights["model.norm.weight"][0] = float("inf")
        weights["model.layers.0.mlp.up_proj.weight"].zero_()

    reweigh(folder, spoil)
    assert run("finite_weights", examined_folder(folder)) == [
        ("error", "lm_head.weight and 1 more tensors are not finite (NaN or infinite)"),
        ("warning", "model.layers.0.mlp.up_proj.weight is all zero"),
    ]
    reweigh(folder, lambda weights: [tensor.zero_() for tensor in weights.values()])
    [(severity, what)] = run("finite_weights", examined_folder(folder))
    assert (severity, what) == ("error", "lm_head.weight and 15 more tensors are all zero")


def test_large_tensors_are_looked_at_in_places(folder: Path) -> None:
    """The beginning and the end of a tensor are among the places, and what seems zero is read whole."""
    large = torch.zeros(3000, 100)
    large[1234, 56] = 1.0
    reweigh(folder, lambda weights: weights.update(large=large))
    assert run("finite_weights", examined_folder(folder)) == []
    large[-1, -1] = float("inf")
    reweigh(folder, lambda weights: weights.update(large=large))
    assert run("finite_weights", examined_folder(folder)) == [("error", "large is not finite (NaN or infinite)")]


ARCHITECTURES = {
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2},
    "GPTNeoX": {"intermediate_size": 64},
    "Gemma3Text": {"intermediate_size": 64, "head_dim": 8, "num_key_value_heads": 2},
    "Qwen3": {"intermediate_size": 64, "head_dim": 8, "num_key_value_heads": 2},
    "Mixtral": {"intermediate_size": 64, "num_key_value_heads": 2, "num_local_experts": 2},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_of_other_architectures_fit(tmp_path: Path, name: str) -> None:
    import transformers

    sizes = {} if name == "GPT2" else {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = getattr(transformers, f"{name}Config")(vocab_size=300, **sizes, **ARCHITECTURES[name])
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    examined = Examined(tmp_path, config=json.loads((tmp_path / "config.json").read_text()), store=open_store(tmp_path))
    assert {severity for severity, _ in run("weights_fit", examined)} <= {"fine"}
    assert run("finite_weights", examined) == []
    assert examined.rows == 300


@pytest.mark.parametrize("content", ["", "{", "[]", "nonsense"])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
def test_files_that_cannot_be_read_are_findings(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    unreadable = examined_folder(folder).unreadable
    assert {finding.severity for finding in unreadable} == {"error"}
    assert all(finding.mend for finding in unreadable)


def test_weights_and_templates_that_cannot_be_read_are_findings(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\0" * 9)
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    unreadable = examined_folder(folder).unreadable
    assert [(finding.check, finding.severity) for finding in unreadable] == [
        ("template", "error"),
        ("weights", "error"),
    ]
    (folder / "model.safetensors").unlink()
    change(folder, "model.safetensors.index.json", weight_map={"lm_head.weight": "model-00001-of-00002.safetensors"})
    assert "model-00001-of-00002.safetensors is missing" in examined_folder(folder).unreadable[1].what


def test_a_diff_is_no_model(folder: Path) -> None:
    change(folder, "manifest.json", format="packtrain-diff")
    [finding] = examined_folder(folder).unreadable
    assert (finding.severity, finding.what) == ("error", f"{folder} is a weight diff and no model")


@pytest.mark.real_data
def test_spaces_of_a_converted_llama_tokenizer(folder: Path, shared: Path) -> None:
    """The published tokenizer.json agrees with SentencePiece, what transformers 5 makes of tokenizer.model does not."""
    from transformers import LlamaTokenizer

    model = shared / "data" / "tokenizers" / "llama" / "tokenizer.model"
    published = shared / "data" / "oracles" / "encoding" / "llama_2023_tokenizer" / "tokenizer.json"
    shutil.copy(model, folder / "tokenizer.model")
    shutil.copy(published, folder / "tokenizer.json")
    assert run("spaces", examined_folder(folder)) == []
    (folder / "tokenizer.json").unlink()
    assert run("spaces", examined_folder(folder)) == []
    alone = folder / "alone"
    alone.mkdir()
    shutil.copy(model, alone / "tokenizer.model")
    LlamaTokenizer.from_pretrained(alone).backend_tokenizer.save(str(folder / "tokenizer.json"))
    [(severity, what)] = run("spaces", examined_folder(folder))
    assert severity == "warning"
    assert what.startswith("'Hello  world' becomes ")
    assert what.endswith(" instead of SentencePiece's [15043, 29871, 3186]")


def test_a_tokenizer_model_of_another_kind_is_passed_over(folder: Path) -> None:
    (folder / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")
    assert run("spaces", examined_folder(folder)) == []
