"""Stanford Alpaca's train.py: the README's command lines, what each flag becomes, and what is refused."""

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.cli.old_train import run
from packtrain.cli.train_py.arguments import help_text, parse
from packtrain.cli.train_py.deepspeed_file import DeepSpeedFile, read_deepspeed
from packtrain.cli.train_py.draft import Machine
from packtrain.cli.train_py.flags import FLAGS, OPTIMIZER, SCHEDULE
from packtrain.cli.train_py.translate import Translation, contradictions, environment, translate
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe_file import load_recipe
from packtrain.train.batches import Batches
from packtrain.train.schedule import warmup_steps

REPOSITORY = Path(__file__).resolve().parents[3]
COMPAT = REPOSITORY / "compat/alpaca"
COMMANDS = REPOSITORY / "tests/readme_commands"
README_GPUS = Machine(world_size=4, gpus=4)
ALPACA_ROWS = 52_002


def readme(name: str) -> list[str]:
    """The arguments of train.py in a command of the README; the shell's variables stand for what is to be filled in."""
    words = shlex.split((COMMANDS / f"alpaca_{name}.sh").read_text().replace("\\\n", ""))
    return words[words.index("train.py") + 1 :]


def meaning(
    words: list[str], machine: Machine = README_GPUS, rows: int = ALPACA_ROWS, layer: str = "LlamaDecoderLayer"
) -> Translation:
    """What `words` mean; a command line with anything wrong in it fails here."""
    flags, problems = parse(words)
    file = None
    if flags.values["deepspeed"]:
        file, wrong = read_deepspeed(flags.values["deepspeed"], COMPAT, flags, machine.world_size)
        problems += wrong
    assert problems == []
    return translate(flags, file, rows, machine, layer)


def short(*words: str) -> list[str]:
    """A command line with what is needed, and `words`."""
    return ["--data_path", "alpaca_data.json", "--output_dir", "out", *words]


class TestReadme:
    """The four commands, on the four GPUs that they were written for."""

    @pytest.mark.parametrize("name", ["llama", "opt", "offload", "deepspeed"])
    def test_the_recipe_is_the_published_one(self, name: str) -> None:
        found = meaning(readme(name)).recipe.train
        published = load_recipe("alpaca-7b").train
        assert found == published.model_copy(
            update={
                "schedule": "linear" if name == "deepspeed" else "cosine",
                "loss_averaging": "microbatch_mean",
                "encoding": "compat",
                "precision": "bfloat16",
                "checkpoint_every_steps": 2000,
            }
        )
        assert found.global_batch_size == 128

    def test_models_and_data(self) -> None:
        llama, opt = meaning(readme("llama")).recipe, meaning(readme("opt"), layer="OPTDecoderLayer").recipe
        assert (llama.base.path, opt.base.path) == ("${llama}", "facebook/opt-6.7b")
        assert (
            llama.data.sources
            == load_recipe("alpaca-7b", ["data.sources.stanford_alpaca.path=./alpaca_data.json"]).data.sources
        )
        assert (llama.family, llama.template, llama.seed) == ("alpaca", "alpaca", 42)
        assert not llama.base.license
        assert not llama.evaluate.columns

    @pytest.mark.parametrize("name", ["llama", "opt"])
    def test_fsdp(self, name: str) -> None:
        assert meaning(readme(name)).engine == Engine(strategy="fsdp")

    def test_offload(self) -> None:
        assert meaning(readme("offload")).engine == Engine(strategy="fsdp", cpu_offload=True)

    def test_deepspeed(self) -> None:
        installed = Machine(4, gpus=4, packages=frozenset({"deepspeed"}))
        assert meaning(readme("deepspeed"), installed).engine == Engine(strategy="deepspeed", cpu_offload=True)
        without = meaning(readme("deepspeed"))
        assert without.engine == Engine(strategy="fsdp", cpu_offload=True)
        said = without.became["deepspeed"]
        assert "engine.strategy is fsdp (the package deepspeed is not installed;" in said
        assert "the rate climbs linearly in the warm-up, DeepSpeed's by the logarithm of the step" in said

    @pytest.mark.parametrize("name", ["llama", "opt", "offload", "deepspeed"])
    def test_processes_without_gpus(self, name: str) -> None:
        found = meaning(readme(name), Machine(2))
        assert found.engine == Engine(strategy="fsdp")
        assert found.recipe.train.global_batch_size == 64
        assert not found.tf32
        assert found.became["tf32"] == "no effect: there is no GPU"
        assert ("offload has no effect: there is no GPU" in str(found.became)) is (name in ("offload", "deepspeed"))

    @pytest.mark.parametrize("name", ["llama", "opt", "offload", "deepspeed"])
    def test_one_process(self, name: str) -> None:
        found = meaning(readme(name), Machine(gpus=1, packages=frozenset({"deepspeed"})))
        expected = Engine(strategy="deepspeed", cpu_offload=True) if name == "deepspeed" else Engine(strategy="single")
        assert found.engine == expected
        assert meaning(readme(name), Machine(gpus=1)).engine == Engine(strategy="single")

    def test_another_class_of_layers_is_named_and_the_run_goes_on(self) -> None:
        found = meaning(readme("llama"), layer="OPTDecoderLayer")
        assert found.warnings == (
            "--fsdp_transformer_layer_cls_to_wrap LlamaDecoderLayer: the layers of this model are OPTDecoderLayer, "
            "and these are taken",
        )
        assert meaning(readme("opt"), layer="OPTDecoderLayer").warnings == ()
        assert meaning(readme("opt"), layer="").warnings == ()


class TestSpelling:
    """How flags may be written."""

    def test_all_spellings_give_the_same(self) -> None:
        expected, _ = parse(short("--bf16", "True", "--fsdp", "full_shard auto_wrap", "--max_steps", "-1"))
        for words in (
            ["--bf16=True", "--fsdp=full_shard auto_wrap", "--max_steps=-1"],
            ["--bf16", "--fsdp", "full_shard auto_wrap", "--max-steps", "-1"],
            ["--bf16", "no", "--bf16", "yes", "--fsdp", " full_shard  auto_wrap ", "--max-steps=-1"],
        ):
            found, problems = parse(short(*words))
            assert problems == []
            assert found.values == expected.values

    def test_truths_can_be_turned_off(self) -> None:
        found, problems = parse(short("--no_bf16", "--no_dataloader_pin_memory", "--tf32", "0"))
        assert problems == []
        assert [found.values[name] for name in ("bf16", "dataloader_pin_memory", "tf32")] == [False] * 3

    def test_several_words(self) -> None:
        found, problems = parse(short("--report_to", "wandb", "tensorboard", "--label_names=a b"))
        assert problems == []
        assert (found.values["report_to"], found.values["label_names"]) == (("wandb", "tensorboard"), ("a", "b"))

    def test_what_is_not_given_is_what_the_trainer_of_2023_took(self) -> None:
        recipe = meaning(short(), Machine()).recipe
        assert recipe.base.path == "facebook/opt-125m"
        train = recipe.train
        assert (train.lr, train.epochs, train.schedule, train.warmup_ratio) == (5e-5, 3, "linear", 0)
        assert (train.micro_batch_size, train.global_batch_size, train.max_length_tokens) == (8, 8, 512)
        assert (train.weight_decay, train.adam_betas, train.adam_epsilon, train.clip_norm) == (0, (0.9, 0.999), 1e-8, 1)
        assert (train.precision, train.checkpoint_every_steps, recipe.seed) == ("float32", 500, 42)

    def test_every_flag_is_taken_and_said(self) -> None:
        samples = ("1", "0.5", "no", "linear", "adamw_torch", "full_shard")
        for name, flag in FLAGS.items():
            value = "x" if name == "deepspeed" else next(text for text in samples if _reads(flag.kind, text))
            flags, problems = parse(short(f"--{name}", value))
            assert problems == [], name
            became = translate(flags, None, ALPACA_ROWS, README_GPUS).became
            assert name == "deepspeed" or became[name], name

    def test_keys_of_the_hub_are_not_shown(self) -> None:
        flags, _ = parse(short("--hub_token", "secret", "--push_to_hub_token=secret"))
        assert "secret" not in str(flags.given)
        assert flags.spelled("hub_token") == "--hub_token ..."

    def test_help_names_every_flag(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(["--help"], beside=COMPAT)
        assert capsys.readouterr().out == help_text() + "\n"
        assert all(f"--{name}" in help_text() for name in FLAGS)


def _reads(kind: Any, text: str) -> bool:
    try:
        kind.read(text)
    except ValueError:
        return False
    return True


class TestSteps:
    """Steps and warm-up as the Trainer of 2023 counted them."""

    @settings(max_examples=200, deadline=None)
    @given(
        rows=st.integers(1, 400),
        size=st.integers(1, 8),
        accumulation=st.integers(1, 8),
        world=st.integers(1, 4),
        drop=st.booleans(),
    )
    def test_an_epoch_has_as_many_steps(self, rows: int, size: int, accumulation: int, world: int, drop: bool) -> None:
        words = short(f"--per_device_train_batch_size={size}", f"--gradient_accumulation_steps={accumulation}")
        words.append(f"--dataloader_drop_last={drop}")
        train = meaning(words, Machine(world), rows=rows).recipe.train
        examples: Any = range(rows)
        batches = Batches(
            examples,
            global_batch_size=train.global_batch_size,
            epochs=1,
            seed=0,
            order="sequential",
            last_batch=train.last_batch,
        )
        assert batches.steps_per_epoch == max(
            (math.floor if drop else math.ceil)(rows / (size * world)) // accumulation, 1
        )

    def test_a_part_of_an_epoch(self) -> None:
        train = meaning([*readme("llama"), "--num_train_epochs", "2.5"]).recipe.train
        assert (train.epochs, train.max_steps) == (3, 1015)  # 406 an epoch

    def test_max_steps_decides_alone(self) -> None:
        words = [*readme("llama"), "--max_steps", "2000", "--warmup_ratio", "0.1"]
        train = meaning(words).recipe.train
        assert train.max_steps == 2000
        assert train.epochs * 406 >= 2000
        assert meaning([*words, "--max_steps", "-1"]).recipe.train.max_steps is None

    @settings(max_examples=200, deadline=None)
    @given(total=st.integers(2, 20_000), data=st.data())
    def test_warmup_steps_are_kept(self, total: int, data: st.DataObject) -> None:
        climb = data.draw(st.integers(1, total - 1))
        train = meaning(short(f"--max_steps={total}", f"--warmup_steps={climb}", "--warmup_ratio=0.9")).recipe.train
        assert warmup_steps(total, train.warmup_ratio, train.warmup_rounding) == climb

    def test_a_warm_up_that_does_not_end_is_refused(self) -> None:
        with pytest.raises(UserError, match="--warmup_steps is 1218, and the run has 1218 steps") as caught:
            meaning([*readme("llama"), "--warmup_steps", "1218"])
        assert caught.value.hint == "give 1217 at most, or --warmup_ratio"

    @pytest.mark.parametrize(
        ("name", "schedule", "ratio"),
        [
            ("linear", "linear", 0.03),
            ("cosine", "cosine", 0.03),
            ("cosine_with_restarts", "cosine", 0.03),  # the Trainer left the number of cycles at one
            ("constant_with_warmup", "constant", 0.03),
            ("constant", "constant", 0.0),
        ],
    )
    def test_schedules(self, name: str, schedule: str, ratio: float) -> None:
        train = meaning([*readme("llama"), "--lr_scheduler_type", name]).recipe.train
        assert (train.schedule, train.warmup_ratio) == (schedule, ratio)

    @pytest.mark.parametrize(("strategy", "every"), [("steps", 2000), ("epoch", 406), ("no", 1218)])
    def test_checkpoints(self, strategy: str, every: int) -> None:
        assert meaning([*readme("llama"), "--save_strategy", strategy]).recipe.train.checkpoint_every_steps == every


class TestOneByOne:
    """Flags that the README's commands do not have."""

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["--seed", "7"], {"seed": 7}),
            (["--adam_beta1", "0.8", "--adam_beta2=0.95"], {"train": {"adam_betas": (0.8, 0.95)}}),
            (["--adam_epsilon", "1e-6", "--max_grad_norm", "0.5"], {"train": {"adam_epsilon": 1e-6, "clip_norm": 0.5}}),
            (["--max_grad_norm", "0"], {"train": {"clip_norm": 1e9}}),
            (["--model_max_length", "2048"], {"train": {"max_length_tokens": 2048}}),
            (["--fp16", "True"], {"train": {"precision": "auto"}}),
            (["--per_gpu_train_batch_size", "2"], {"train": {"micro_batch_size": 2, "global_batch_size": 8}}),
            (
                ["--gradient_checkpointing", "--torch_compile"],
                {"engine": {"activation_checkpointing": True, "compile": True}},
            ),
            (["--save_total_limit", "3"], {"engine": {"keep_last": 3}}),
            (["--report_to", "all"], {"engine": {"trackers": ("wandb",)}}),
            (["--report_to", "tensorboard", "comet_ml"], {"engine": {"trackers": ("tensorboard",)}}),
            (["--report_to", "none"], {"engine": {"trackers": ()}}),
            (["--fsdp", "hybrid_shard auto_wrap"], {"engine": {"strategy": "fsdp", "replicas": 2}}),
            (["--fsdp", "no_shard"], {"engine": {"strategy": "fsdp", "replicas": 1}}),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_it_becomes(self, words: list[str], expected: dict[str, Any]) -> None:
        found = meaning(short(*words), Machine(4, machines=2, gpus=2, packages=frozenset({"wandb"})))
        whole = found.recipe.model_dump() | {"engine": found.engine.model_dump()}
        for section, value in expected.items():
            assert whole[section] == ({**whole[section], **value} if isinstance(value, dict) else value)

    def test_what_libraries_hear_of(self) -> None:
        flags, _ = parse(short("--cache_dir", "/scratch", "--no_cuda", "--run_name", "llama on alpaca"))
        assert environment(flags) == {
            "HF_HUB_CACHE": "/scratch",
            "CUDA_VISIBLE_DEVICES": "",
            "WANDB_NAME": "llama on alpaca",
        }
        assert environment(parse(short())[0]) == {}

    def test_idle_gpus_are_told(self) -> None:
        assert "--nproc_per_node=4" in meaning(readme("llama"), Machine(gpus=4)).warnings[0]

    def test_data_of_ones_own_get_a_name_and_no_licence(self) -> None:
        [(name, source)] = meaning(
            ["--data_path", "a/my rows.json", "--output_dir", "x/§ 1"]
        ).recipe.data.sources.items()
        assert (name, source.path, source.license) == ("my rows", "a/my rows.json", "")
        assert meaning(["--data_path", "a.json", "--output_dir", "x/§ 1"]).recipe.name == "1"


class TestDeepSpeedFile:
    """The JSON behind --deepspeed."""

    def read(self, path: Path, content: Any, *words: str) -> tuple[DeepSpeedFile | None, list[str]]:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        flags, problems = parse(short("--deepspeed", path.name, *words))
        assert problems == []
        return read_deepspeed(path.name, path.parent, flags, 4)

    def test_the_shipped_one_has_the_facts_of_the_original(self) -> None:
        flags, _ = parse(short())
        file, problems = read_deepspeed("./configs/default_offload_opt_param.json", COMPAT, flags, 4)
        assert problems == []
        assert file is not None
        assert (file.offload, file.schedule, file.climb) == (True, "linear", "log")
        assert "zero_optimization.stage3_gather_16bit_weights_on_model_save" in file.unused
        content = json.loads(file.path.read_text())
        assert content["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is False
        assert content["zero_optimization"]["offload_optimizer"] == {"device": "cpu", "pin_memory": True}
        assert (content["zero_optimization"]["stage"], content["optimizer"]["type"]) == (3, "AdamW")

    def test_the_working_folder_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for folder, kind in (("here", "WarmupLR"), ("there", "WarmupCosineLR")):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "ds.json").write_text(json.dumps({"scheduler": {"type": kind}}))
        flags, _ = parse(short())
        monkeypatch.chdir(tmp_path / "here")
        found, _ = read_deepspeed("ds.json", tmp_path / "there", flags, 1)
        assert found is not None
        assert found.schedule == "constant"
        (tmp_path / "here/ds.json").unlink()
        found, _ = read_deepspeed("ds.json", tmp_path / "there", flags, 1)
        assert found is not None
        assert found.schedule == "cosine"

    def test_without_a_scheduler_the_flag_decides(self, tmp_path: Path) -> None:
        file, problems = self.read(tmp_path / "ds.json", {"zero_optimization": {"stage": 2}})
        assert problems == []
        flags, _ = parse(readme("llama"))
        found = translate(flags, file, ALPACA_ROWS, Machine())
        assert found.recipe.train.schedule == "cosine"
        assert not found.engine.cpu_offload

    def test_values_that_agree_with_the_flags(self, tmp_path: Path) -> None:
        content = {
            "train_batch_size": 32,
            "gradient_clipping": 1.0,
            "optimizer": {"type": "AdamW", "params": {"lr": 5e-5, "betas": [0.9, 0.999], "eps": 1e-8}},
            "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_type": "linear", "warmup_num_steps": 10}},
        }
        file, problems = self.read(tmp_path / "ds.json", content, "--warmup_steps", "10")
        assert problems == []
        assert file is not None
        assert file.climb == "linear"

    def test_everything_that_is_wrong_is_named(self, tmp_path: Path) -> None:
        content = {
            "zero_optimization": {"stage": 4, "offload_param": {"device": "nvme"}},
            "optimizer": {"type": "Lamb", "params": {"lr": 1e-4}},
            "scheduler": {"type": "OneCycle"},
            "train_batch_size": 128,
            "bf16": {"enabled": True},
        }
        _, problems = self.read(tmp_path / "ds.json", content)
        assert problems == [
            "ds.json: zero_optimization.stage is 4, not one of 0, 1, 2, 3",
            'ds.json: zero_optimization.offload_param.device is "nvme", not one of none, cpu',
            'ds.json: optimizer.type is "Lamb", not one of AdamW, Adam',
            'ds.json: scheduler.type is "OneCycle", not one of WarmupDecayLR, WarmupLR, WarmupCosineLR',
            'ds.json: train_batch_size is 128, but 8 per device x 1 x 4 processes is 32 (write "auto" in the file)',
            'ds.json: bf16.enabled is true, but --bf16 False (write "auto" in the file)',
            'ds.json: optimizer.params.lr is 0.0001, but --learning_rate 5e-05 (write "auto" in the file)',
        ]

    @pytest.mark.parametrize(("text", "told"), [("{", "is not a JSON file"), ("[]", "is not a JSON object")])
    def test_what_is_no_such_file(self, text: str, told: str, tmp_path: Path) -> None:
        file, [problem] = self.read(tmp_path / "ds.json", text)
        assert file is None
        assert told in problem
        (tmp_path / "ds.json").unlink()
        _, [problem] = read_deepspeed("ds.json", tmp_path, parse(short())[0], 1)
        assert problem == f"--deepspeed ds.json: no such file, neither here nor in {tmp_path}"


class TestRefusals:
    """What cannot be done is told at once, all of it."""

    def test_unknown_flags_and_wrong_values_in_one_message(self) -> None:
        words = [
            *("--data_path", "nowhere.json", "--learn_rate", "2e-5", "--per_device_train_batch", "4", "--qqq"),
            *("--learning_rate", "fast", "--bf16", "maybe", "--num_train_epochs", "nan", "--optim", "sgd"),
            *("--fsdp", "full_shard", "auto_wrap", "--lr_scheduler_type", "polynomial", "--max_grad_norm", "-1"),
        ]
        with pytest.raises(UserError) as caught:
            run(words, beside=COMPAT)
        assert caught.value.message.split("; ") == [
            "unknown flag --learn_rate (did you mean --learning_rate?)",
            "unknown flag --per_device_train_batch (did you mean --per_device_train_batch_size?)",
            "unknown flag --qqq",
            "--learning_rate takes a number above 0, not fast",
            "--bf16 takes True or False, not maybe",
            "--num_train_epochs takes a number above 0, not nan",
            f"--optim takes {OPTIMIZER.what}, not sgd",
            "'auto_wrap' belongs to no flag (a value with spaces needs quotes)",
            f"--lr_scheduler_type takes {SCHEDULE.what}, not polynomial",
            "--max_grad_norm takes a number from 0, not -1",
            "--output_dir is missing: folder for the tuned model",
            "--data_path nowhere.json: no such file",
        ]

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--bf16", "--fp16"], "--bf16 and --fp16 are both True: give one of them"),
            (["--adafactor"], "--adafactor True: the optimizer is AdamW"),
            (["--label_smoothing_factor", "0.1"], "--label_smoothing_factor 0.1: the loss knows no label smoothing"),
            (
                ["--push_to_hub", "yes"],
                "--push_to_hub yes: nothing is uploaded; leave it out, and upload the finished folder",
            ),
            (["--fsdp", "offload"], "--fsdp offload: name one of full_shard, shard_grad_op, no_shard, hybrid_shard"),
            (["--fsdp", "full_shard", "--deepspeed", "x"], "--fsdp and --deepspeed are both given: give one of them"),
            (["--output_dir", "/"], "--output_dir / cannot be replaced by a model"),
            (["--save_steps"], "--save_steps takes a whole number from 1, not nothing"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_cannot_be(self, words: list[str], told: str, tmp_path: Path) -> None:
        (tmp_path / "rows.json").write_text("[]")
        flags, problems = parse(["--output_dir", "out", *words, "--data_path", str(tmp_path / "rows.json")])
        assert [*problems, *contradictions(flags)] == [told]

    def test_only_the_first_process_tells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", "1")
        with pytest.raises(SystemExit) as caught:
            run(["--unknown"], beside=COMPAT)
        assert caught.value.code == 2


ROWS = [
    {"instruction": f"Count to {n}.", "input": "" if n % 3 else "slowly", "output": " ".join(map(str, range(1, n + 1)))}
    for n in range(1, 41)
]


@pytest.fixture
def folder(tmp_path: Path, tiny_base: Path) -> Path:
    """compat/alpaca with the data beside it, as in the original's repository."""
    shutil.copytree(COMPAT, tmp_path / "alpaca", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "alpaca/alpaca_data.json").write_text(json.dumps([*ROWS, {**ROWS[0], "output": ""}]))
    return tmp_path / "alpaca"


def typed(command: str, folder: Path, packtrain: Any, **variables: object) -> subprocess.CompletedProcess[str]:
    """The finished process of a command typed in `folder`, with shell variables."""
    environment = packtrain.environment(**{name: str(value) for name, value in variables.items()}, OMP_NUM_THREADS="1")
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_deepspeed_command_typed_in_one_process(folder: Path, tiny_base: Path, packtrain: Any) -> None:
    """As the README prints it, but for torchrun; the printed recipe is the one that was run."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    command = (COMMANDS / "alpaca_deepspeed.sh").read_text()
    launcher = command[: command.index("train.py")]
    finished = typed(command.replace(launcher, "python "), folder, packtrain, llama=tiny_base, out="tuned")
    assert finished.returncode == 0, finished.stderr
    tuned = folder / "tuned"
    assert AutoModelForCausalLM.from_pretrained(tuned).config.vocab_size == 301
    assert AutoTokenizer.from_pretrained(tuned).pad_token == "[PAD]"
    printed = finished.stderr[finished.stderr.index("# The recipe") : finished.stderr.index("left out: ")]
    (folder / "recipe.yaml").write_text(printed)
    settings = json.loads((tuned / "run.json").read_text())["settings"]
    assert {**settings, **load_recipe(str(folder / "recipe.yaml")).resolved()} == settings
    assert yaml.safe_load(printed)["train"]["global_batch_size"] == 32
    assert "left out: 1 of 41 rows (empty answer), which train.py learnt" in finished.stderr
    assert "order: by a hash of the seed" in finished.stderr
    steps = [json.loads(line) for line in (tuned / "metrics.jsonl").read_text().splitlines()]
    assert [round(step["lr"], 8) for step in steps] == [0, 2e-5, 1e-5]
    assert "trained: tuned" in finished.stdout

    again = typed(command.replace(launcher, "python "), folder, packtrain, llama=tiny_base, out="tuned")
    assert again.returncode == 2
    assert again.stderr.splitlines() == [
        "error: tuned exists already",
        "hint: choose another --output_dir, or give --overwrite_output_dir to replace it",
    ]


def test_what_an_interrupted_run_left(
    folder: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not touched without a flag, and the flags are named as train.py names them."""
    monkeypatch.chdir(folder)
    words = ["--model_name_or_path", str(tiny_base), "--data_path", "alpaca_data.json", "--output_dir", "tuned"]
    (folder / "tuned.partial").mkdir()
    (folder / "tuned.partial/.stage").write_text("train")
    with pytest.raises(UserError, match=r"an interrupted run left .*tuned\.partial") as caught:
        run([*words, "--max_steps", "1"], beside=COMPAT)
    assert caught.value.hint == (
        "give --resume_from_checkpoint True to go on with it, or --overwrite_output_dir to start again"
    )
    prepared = (folder / "tuned-data/train.jsonl").stat().st_mtime_ns
    run([*words, "--max_steps", "1", "--resume_from_checkpoint"], beside=COMPAT)
    assert (folder / "tuned/model.safetensors").is_file()
    assert (folder / "tuned-data/train.jsonl").stat().st_mtime_ns == prepared
    run([*words, "--max_steps", "1", "--overwrite_output_dir"], beside=COMPAT)
    with pytest.raises(UserError, match="--model_max_length is 4096, the context of .* is 512 tokens") as caught:
        run([*words, "--model_max_length", "4096", "--overwrite_output_dir"], beside=COMPAT)
    assert caught.value.hint == "give --model_max_length 512"
    assert "trained: tuned" in capsys.readouterr().out
