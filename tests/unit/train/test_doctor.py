"""The doctor before training: it stops what must fail, tells what may, and lets every known base pass."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import load_recipe
from packtrain.prompts.template import load_template
from packtrain.prompts.token_cache import Encoding, encode_file
from packtrain.prompts.tokenizer import load_tokenizer
from packtrain.train.doctor import check_before_training, diagnose, load_checks
from packtrain.train.doctor_checks import Finding
from packtrain.train.examined import examined_folder
from packtrain.weights.source import model_folder

SENTENCES = ("Count to three: one, two, three.", "Below is an instruction that describes a task.", "The lamp is red.")


def byte_level(first: list[str], last: Sequence[str] = (), adds: str | None = None) -> tokenizers.Tokenizer:
    """A byte-level BPE with special tokens before and behind its words, which puts `adds` before every text."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=first, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer.add_special_tokens(list(last))
    if adds:
        token = (adds, tokenizer.token_to_id(adds))
        tokenizer.post_processor = processors.TemplateProcessing(single=[adds, "$A"], special_tokens=[token])
    return tokenizer


FOUR = ["<s>", "<pad>", "</s>", "<unk>"]
END = "<|endoftext|>"
BASES: dict[str, tuple[tokenizers.Tokenizer, dict[str, str | None], dict[str, Any]]] = {
    "opt": (
        byte_level(FOUR, adds="</s>"),
        {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"},
        {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1},
    ),
    "galactica": (byte_level(FOUR), {}, {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}),
    "neox": (
        byte_level([END, "<|padding|>"]),
        {"bos_token": END, "eos_token": END, "unk_token": END},
        {"bos_token_id": 0, "eos_token_id": 0},
    ),
    "gpt2": (
        byte_level([], [END]),
        {"bos_token": END, "eos_token": END, "unk_token": END},
        {"bos_token_id": 320, "eos_token_id": 320, "n_positions": 1024, "max_position_embeddings": None},
    ),
    "qwen": (
        byte_level([], [END, "<|im_start|>", "<|im_end|>"]),
        {"bos_token": None, "eos_token": END, "pad_token": END},
        {"bos_token_id": 320, "eos_token_id": 320},
    ),
    "decapoda": (
        byte_level(["<unk>", "<s>", "</s>"], adds="<s>"),
        {"bos_token": "", "eos_token": "", "unk_token": ""},
        {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": -1},
    ),
}


@pytest.fixture(params=BASES)
def known_base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Tokenizer and configs as a family of models has them; no weights."""
    tokenizer, declared, config = BASES[request.param]
    folder = tmp_path / request.param
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(declared))
    config = {"vocab_size": tokenizer.get_vocab_size() + 7, "max_position_embeddings": 2048, **config}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def before_training(base: Path, data: Path, name: str = "tulu", **settings: Any) -> list[Finding]:
    recipe = demo(template=name, **settings)
    template, tokenizer = load_template(recipe.template), load_tokenizer(base).with_pad("<pad>")
    encoded = encode_file(data, Encoding(template, tokenizer, recipe.train.max_length_tokens))
    return check_before_training(base, tokenizer, template, encoded, recipe, base / "out")


def demo(**settings: Any) -> Recipe:
    overrides = [f"{'template' if key == 'template' else f'train.{key}'}={value}" for key, value in settings.items()]
    return load_recipe("demo", ["train.max_length_tokens=300", *overrides])


@pytest.mark.parametrize("name", ["tulu", "alpaca"])
def test_known_bases_pass_without_a_word(
    known_base: Path, conversations_file: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = before_training(known_base, conversations_file, name)
    assert {finding.severity for finding in findings} == {"fine"}
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tulu", "alpaca"])
def test_tiny_bases_pass_without_a_word(
    tiny_base: Path, tiny_opt: Path, conversations_file: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for base in (tiny_base, tiny_opt, model_folder("packtrain:demo_base")):
        findings = before_training(base, conversations_file, name)
        assert {finding.severity for finding in findings} == {"fine"}
        assert {finding.check for finding in findings} >= {"answers_end", "prompt_seam", "data_ends", "disk_space"}
    assert capsys.readouterr().err == ""


@pytest.mark.real_data
def test_a_real_model_passes_with_its_own_and_with_llamas_tokenizer(
    shared: Path, tmp_path: Path, conversations_file: Path
) -> None:
    """A tokenizer of 32,000 for a table of 512 is told, and trained all the same: rows are added."""
    import shutil

    stories = shared / "data" / "stories260k"
    assert {finding.severity for finding in before_training(stories, conversations_file)} == {"fine"}
    shutil.copytree(stories, tmp_path / "model")
    published = shared / "data" / "oracles" / "encoding" / "llama_2023_tokenizer" / "tokenizer.json"
    (tmp_path / "model" / "tokenizer.json").chmod(0o644)
    shutil.copyfile(published, tmp_path / "model" / "tokenizer.json")
    findings = before_training(tmp_path / "model", conversations_file)
    assert [(finding.severity, finding.check) for finding in findings if finding.severity != "fine"] == [
        ("warning", "ids_in_table")
    ]


def test_all_errors_are_in_one_refusal(known_base: Path, tmp_path: Path, conversations_file: Path) -> None:
    """A template without the header's newline in its prompt, and without the end of an answer in what is learnt."""
    source = (
        "{%- for m in messages -%}{{ '<' + m.role + '>\\n' }}"
        "{%- if m.role == 'assistant' -%}{%- generation -%}{{ m.content }}{%- endgeneration -%}{%- else -%}"
        "{{ m.content }}{%- endif -%}{{ '\\n' }}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<assistant>' }}{%- endif -%}"
    )
    file = tmp_path / "mine.jinja"
    file.write_text(source)
    with pytest.raises(UserError) as refused:
        before_training(known_base, conversations_file, str(file))
    ends, teaches, asked = refused.value.message.split("; ", 2)[0], refused.value.message, refused.value.hint
    assert ends.startswith("what is learnt of an answer ends by ")
    assert "(template mine)" in ends
    assert "nothing teaches the model to stop: 24 of 24 conversations do not end by a stop token" in teaches
    assert "the prompt ends before '\\n', which stands before every answer in training" in teaches
    assert asked.split("; ")[0] == "write eos_token before {% endgeneration %}"


def test_warnings_are_told_and_stop_nothing(
    tiny_base: Path, conversations_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = before_training(tiny_base, conversations_file, max_length_tokens=60)
    assert [finding.check for finding in findings if finding.severity == "warning"] == ["data_ends"]
    assert capsys.readouterr().err.splitlines()[-1] == (
        "warning: 12 of 24 conversations do not end by a stop token; 12 of 24 are cut at the limit (the training data)"
        ": raise train.max_length_tokens, or split or leave out what is longer"
    )


def test_a_damaged_base_is_left_to_its_loader(known_base: Path, conversations_file: Path) -> None:
    (known_base / "model.safetensors").write_bytes(b"\0" * 9)
    (known_base / "generation_config.json").write_text("{")
    assert {finding.severity for finding in before_training(known_base, conversations_file)} == {"fine"}


def test_only_quick_checks_are_made_before_training() -> None:
    slow = {one.name for one in load_checks() if not one.before_training}
    assert slow == {"context", "finite_weights", "ids_agree", "special_tokens", "stops_named", "weights_fit"}


def test_errors_come_first_and_every_finding_names_its_check(known_base: Path) -> None:
    (known_base / "generation_config.json").write_text("{")
    findings = diagnose(examined_folder(known_base), load_checks())
    assert findings[0].severity == "error"
    assert [finding.severity for finding in findings] == sorted(
        (finding.severity for finding in findings), key=["error", "warning", "fine"].index
    )
    assert all(finding.check and finding.what for finding in findings)


def test_the_early_llama_conversion_is_recognised(tmp_path: Path) -> None:
    """The two faults that people met most in 2023, on a folder as it is."""
    tokenizer, declared, config = BASES["decapoda"]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(declared))
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 320, **config}))
    found = [one for one in diagnose(examined_folder(tmp_path), load_checks()) if one.severity == "warning"]
    assert "ids of eos differ: the tokenizer 2 (</s>), config.json 1 (<s>); these are the ids of an early LLaMA" in (
        " ".join(one.what for one in found)
    )
    assert [one.what for one in found if one.check == "special_tokens"] == [
        "bos_token is declared as empty text",
        "eos_token is declared as empty text; </s> is used",
        "unk_token is declared as empty text",
    ]
