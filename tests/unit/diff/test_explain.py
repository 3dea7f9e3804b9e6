"""Proves that diff explain counts right, whatever form the change is published in, and says only what is there."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from packtrain.cli import diff as diff_command
from packtrain.core.errors import UserError
from packtrain.diff import change_rank
from packtrain.diff.change_figures import GroupChange, TensorChange
from packtrain.diff.change_rank import ChangeRank, choose
from packtrain.diff.explain import Explanation, explain
from packtrain.diff.explain_plot import write_plot
from packtrain.diff.findings import Finding
from packtrain.diff.groups import places
from packtrain.diff.make import make_diff

EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
WIDTH, ROWS = 16, 40
DOCS = Path(__file__).parents[3] / "docs/formats.md"

Tensors = dict[str, torch.Tensor]


def layer(number: int, kind: str) -> str:
    return f"model.layers.{number}.{kind}.weight"


def base_tensors(layers: int = 4, width: int = WIDTH) -> Tensors:
    torch.manual_seed(3)
    tensors = {EMBED: torch.randn(ROWS, width) * 0.02}
    for number in range(layers):
        tensors[layer(number, "self_attn.q_proj")] = torch.randn(width, width) * 0.02
        tensors[layer(number, "mlp.up_proj")] = torch.randn(width + 8, width) * 0.02
        tensors[layer(number, "input_layernorm")] = 1 + torch.randn(width) * 0.1
    return tensors | {NORM: torch.ones(width), HEAD: torch.randn(ROWS, width) * 0.02}


def write(folder: Path, tensors: Tensors, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(
        {name: each.contiguous() for name, each in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    known = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(known | config))
    return folder


class Pair:
    """A base and a tuned model on disk, and every form in which the change can be given to explain."""

    def __init__(self, work: Path, base: Tensors, tuned: Tensors, base_dtype: torch.dtype, dtype: torch.dtype) -> None:
        self.work = work
        self.base_tensors = {name: each.to(base_dtype) for name, each in base.items()}
        self.tuned_tensors = {name: each.to(dtype) for name, each in tuned.items()}
        self.base, self.tuned = write(work / "base", self.base_tensors), write(work / "tuned", self.tuned_tensors)

    def given_as(self, form: str) -> Path:
        if form == "models":
            return self.tuned
        out = self.work / form
        make_diff(self.base, self.tuned, out, form="exact" if form == "exact" else "float")
        if form == "legacy":
            (out / "manifest.json").unlink()
        return out

    def explain(self, form: str = "models", **options: Any) -> Explanation:
        return explain(self.given_as(form), self.base, **options)


MakePair = Callable[..., Pair]


@pytest.fixture
def make_pair(tmp_path: Path) -> MakePair:
    """Builds a `Pair`: `change` alters a copy of the base's float32 tensors; types of base and tuned model."""

    def build(
        change: Callable[[Tensors], Any] = lambda tensors: None,
        base: Tensors | None = None,
        base_dtype: torch.dtype = torch.float32,
        dtype: torch.dtype = torch.float32,
    ) -> Pair:
        base = base if base is not None else base_tensors()
        tuned = {name: each.to(base_dtype).float().clone() for name, each in base.items()}
        change(tuned)
        return Pair(tmp_path, base, tuned, base_dtype, dtype)

    return build


def train(scale: float = 1e-3, only: str = "") -> Callable[[Tensors], None]:
    """A change of everything whose name contains `only`."""

    def change(tensors: Tensors) -> None:
        torch.manual_seed(11)
        for name, each in tensors.items():
            if only in name:
                each += torch.randn_like(each) * scale

    return change


def of(explanation: Explanation, name: str) -> TensorChange:
    return next(each for each in explanation.tensors if each.name == name)


def group(explanation: Explanation, name: str) -> GroupChange:
    return next(each for each in explanation.groups if each.group == name)


def sentences(explanation: Explanation) -> list[str]:
    return [each.sentence for each in explanation.findings]


def finding(explanation: Explanation, about: str) -> Finding:
    found = [each for each in explanation.findings if each.about == about]
    assert len(found) == 1, explanation.findings
    return found[0]


FORMS = ["models", "exact", "float", "legacy"]


@pytest.mark.parametrize("form", FORMS)
def test_the_figures_of_every_form_are_those_that_numpy_computes(make_pair: MakePair, form: str) -> None:
    def change(tensors: Tensors) -> None:
        train()(tensors)
        tensors[layer(1, "mlp.up_proj")][3, 5] -= 0.02
        tensors[layer(2, "self_attn.q_proj")][:4] = base_tensors()[layer(2, "self_attn.q_proj")][:4].half().float()

    pair = make_pair(change, base_dtype=torch.float16)
    explanation = pair.explain(form)
    squares: dict[str, list[float]] = {}
    for name, tuned_tensor in pair.tuned_tensors.items():
        tuned, base = tuned_tensor.double().numpy(), pair.base_tensors[name].double().numpy()
        delta, found = tuned - base, of(explanation, name)
        assert found.norm == pytest.approx(np.linalg.norm(delta), rel=1e-5)
        assert found.rms == pytest.approx(np.sqrt(np.mean(delta**2)), rel=1e-5)
        assert found.relative_norm == pytest.approx(np.linalg.norm(delta) / np.linalg.norm(base), rel=1e-5)
        assert found.largest == pytest.approx(np.abs(delta).max(), rel=1e-5)
        assert found.largest_at == np.unravel_index(np.abs(delta).argmax(), delta.shape)
        assert (found.changed, found.weights) == ((tuned != base).sum(), base.size)
        assert (found.shape, found.nan, found.infinite, found.all_zero, found.frozen) == (
            base.shape,
            0,
            0,
            False,
            False,
        )
        assert found.dtype == ("float32" if form != "legacy" else None)
        sums = squares.setdefault(found.group, [0.0, 0.0, 0.0, 0.0])
        for place, value in enumerate(((delta**2).sum(), (base**2).sum(), (tuned != base).sum(), base.size)):
            sums[place] += value
    assert [each.group for each in explanation.groups] == ["embeddings", "0", "1", "2", "3", "final norm", "head"]
    for each in explanation.groups:
        _check_group(each, squares[each.group])
    _check_group(explanation.total, [sum(sums) for sums in zip(*squares.values(), strict=True)])
    assert (explanation.total.largest_in, explanation.total.largest_at) == (layer(1, "mlp.up_proj"), (3, 5))
    assert group(explanation, "2").share_changed < 1
    assert (explanation.with_base, explanation.findings) == (True, ())


def _check_group(found: GroupChange, sums: list[float]) -> None:
    squares, base_squares, changed, weights = sums
    assert found.norm == pytest.approx(math.sqrt(squares), rel=1e-5)
    assert found.rms == pytest.approx(math.sqrt(squares / weights), rel=1e-5)
    assert found.relative_norm == pytest.approx(math.sqrt(squares / base_squares), rel=1e-5)
    assert (found.changed, found.weights) == (changed, weights)
    assert found.share_changed == changed / weights


@pytest.mark.parametrize("form", ["float", "legacy"])
def test_without_the_base_everything_but_what_is_relative_is_there(make_pair: MakePair, form: str) -> None:
    pair = make_pair(train(only="layers.1"))
    alone, beside = explain(pair.given_as(form)), explain(pair.work / form, pair.base)
    assert (alone.with_base, alone.total.relative_norm, alone.total.base_norm) == (False, None, None)
    for mine, other in zip(alone.tensors, beside.tensors, strict=True):
        assert (mine.name, mine.changed, mine.largest_at, mine.frozen) == (
            other.name,
            other.changed,
            other.largest_at,
            other.frozen,
        )
        assert mine.norm == pytest.approx(other.norm, rel=1e-4)
        assert (mine.relative_norm, mine.base_norm, mine.all_zero) == (None, None, None)
    assert sentences(alone) == sentences(beside)


def test_what_was_not_trained_is_frozen_even_if_it_was_saved_in_another_type(make_pair: MakePair) -> None:
    pair = make_pair(train(only="layers.3"), dtype=torch.bfloat16)
    for form in ("models", "exact", "float"):
        explanation = pair.explain(form)
        frozen = {each.name for each in explanation.tensors if each.frozen}
        assert frozen >= {name for name in pair.base_tensors if "layers.3" not in name}
        assert sentences(explanation)[:2] == [
            "never trained: all of layers 0-2",
            "the embeddings and the head are frozen",
        ]


def test_frozen_layers_kinds_and_tensors_are_told_apart(make_pair: MakePair) -> None:
    def change(tensors: Tensors) -> None:
        train(only="q_proj")(tensors)
        train(only="lm_head")(tensors)
        tensors[layer(1, "input_layernorm")] += 0.01
        for number in (0, 4):
            tensors[layer(number, "self_attn.q_proj")] = base[layer(number, "self_attn.q_proj")].clone()

    base = base_tensors(layers=5)
    assert sentences(make_pair(change, base).explain(sample=0)) == [
        "never trained: all of layers 0 and 4",
        "the embeddings and the final norm are frozen",
        "never trained in the other layers: mlp.up_proj",
        f"frozen, unlike what is around: {layer(2, 'input_layernorm')}, {layer(3, 'input_layernorm')}",
    ]


def test_vectors_that_16_bits_cannot_move_are_not_called_untrained(make_pair: MakePair) -> None:
    pair = make_pair(train(1e-4), base_dtype=torch.bfloat16, dtype=torch.bfloat16)
    assert sentences(pair.explain(sample=0)) == [
        "frozen, or changed by less than bfloat16 can show: the final norm; input_layernorm in all layers"
    ]
    # all norms of the diff are zero: it is known for a diff all the same
    for base in (pair.base, None):
        assert sentences(explain(pair.given_as("legacy") if base else pair.work / "legacy", base, sample=0)) == [
            "frozen, or changed by less than their type can show: the final norm; input_layernorm in all layers"
        ]


def test_a_model_that_equals_its_base(make_pair: MakePair) -> None:
    explanation = make_pair().explain("exact")
    assert sentences(explanation) == ["tuned model and base are the same to the bit: nothing was trained"]
    assert explanation.ranks == ()
    assert explanation.total.norm == 0.0
    assert explanation.total.frozen_tensors == explanation.total.tensors


@pytest.mark.parametrize("form", FORMS)
def test_nan_and_infinities_are_counted_and_named_and_spoil_no_figure(make_pair: MakePair, form: str) -> None:
    spoilt = layer(2, "mlp.up_proj")

    def change(tensors: Tensors) -> None:
        train()(tensors)
        tensors[spoilt][0, :3] = math.nan
        tensors[spoilt][1, 1] = -math.inf
        tensors[HEAD][0, 0] = math.nan

    explanation = make_pair(change).explain(form)
    found = of(explanation, spoilt)
    assert (found.nan, found.infinite) == (3, 1)
    assert (explanation.total.nan, explanation.total.infinite) == (4, 1)
    assert sentences(explanation)[:2] == [
        f"4 NaN in 2 tensors: {spoilt}, {HEAD}",
        f"1 infinite in 1 tensor: {spoilt}",
    ]
    assert 0 < found.norm < 1
    assert 0 < found.largest < 1
    json.dumps(asdict(explanation), allow_nan=False)


def test_nan_that_the_base_has_too_is_no_change(make_pair: MakePair) -> None:
    base = base_tensors()
    base[EMBED][2] = math.nan
    found = of(make_pair(lambda tensors: None, base).explain(), EMBED)
    assert (found.nan, found.changed, found.frozen, found.norm) == (WIDTH, 0, True, 0.0)


@pytest.mark.parametrize("form", ["models", "exact"])
def test_types_that_no_difference_is_taken_of_are_compared_all_the_same(make_pair: MakePair, form: str) -> None:
    pair = make_pair()
    odd = {
        "wide": (torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0 + 1e-12]).double()),
        "whole": (torch.tensor([1, 2, 2**40]), torch.tensor([1, 5, 2**40])),
        "mask": (torch.tensor([True, False]), torch.tensor([True, False])),
        "none": (torch.zeros(0, 4), torch.zeros(0, 4)),
        "alone": (torch.tensor(2.0), torch.tensor(-1.0)),
    }
    odd["wide"][1][2] = 3.0 + 1e-12
    write(pair.base, pair.base_tensors | {name: each for name, (each, _) in odd.items()})
    write(pair.tuned, pair.tuned_tensors | {name: each for name, (_, each) in odd.items()})
    explanation = pair.explain(form)
    assert [(of(explanation, name).changed, of(explanation, name).weights) for name in odd] == [
        (1, 3),
        (1, 3),
        (0, 2),
        (0, 0),
        (1, 1),
    ]
    assert of(explanation, "wide").largest == pytest.approx(1e-12, rel=1e-3)
    assert (of(explanation, "whole").largest, of(explanation, "whole").largest_at) == (3.0, (1,))
    assert (of(explanation, "alone").norm, of(explanation, "alone").largest_at) == (3.0, ())


def test_zeros_and_norms_near_zero(make_pair: MakePair) -> None:
    base = base_tensors()
    base[layer(0, "mlp.up_proj")].zero_()

    def change(tensors: Tensors) -> None:
        train(only="q_proj")(tensors)
        tensors[layer(1, "self_attn.q_proj")].zero_()
        tensors[layer(3, "input_layernorm")] *= 1e-5

    explanation = make_pair(change, base).explain("exact", sample=0)
    assert of(explanation, layer(1, "self_attn.q_proj")).all_zero is True
    assert of(explanation, layer(0, "mlp.up_proj")).relative_norm is None
    assert sentences(explanation)[:3] == [
        f"nothing but zeros in both models: {layer(0, 'mlp.up_proj')}",
        f"nothing but zeros in the tuned model alone: {layer(1, 'self_attn.q_proj')}",
        f"the norm is near zero, less than 0.001 of the base's: {layer(3, 'input_layernorm')}",
    ]


def test_a_layer_that_changed_far_more_and_one_that_hardly_changed(make_pair: MakePair) -> None:
    def change(tensors: Tensors) -> None:
        train(1e-3)(tensors)
        tensors[layer(1, "mlp.up_proj")] += torch.randn(WIDTH + 8, WIDTH)
        for kind in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm"):
            tensors[layer(2, kind)] = base_tensors()[layer(2, kind)] * (1 + 1e-6)

    explanation = make_pair(change).explain("exact")
    outlier, hardly = finding(explanation, "outlier"), finding(explanation, "hardly")
    assert outlier.sentence.startswith("layer 1: its relative change (")
    assert outlier.sentence.endswith(f"most of it in {layer(1, 'mlp.up_proj')}")
    assert hardly.sentence.startswith("layer 2: its relative change (")
    assert "times less than the median" in hardly.sentence


@pytest.mark.parametrize("form", ["models", "exact", "float"])
@pytest.mark.parametrize("rows", [1, 3])
def test_new_rows_that_were_never_trained(make_pair: MakePair, form: str, rows: int) -> None:
    def change(tensors: Tensors) -> None:
        train()(tensors)
        base = base_tensors()
        tensors[EMBED] = torch.cat([tensors[EMBED], base[EMBED].mean(0).repeat(rows, 1)])
        tensors[HEAD] = torch.cat([tensors[HEAD], torch.zeros(rows, WIDTH)])

    explanation = make_pair(change).explain(form)
    embed, head = of(explanation, EMBED), of(explanation, HEAD)
    assert (embed.grown_rows, embed.rows_at_mean, embed.rows_zero, embed.weights) == (rows, rows, 0, ROWS * WIDTH)
    assert (head.grown_rows, head.rows_at_mean, head.rows_zero) == (rows, 0, rows)
    assert [each.tensors for each in explanation.findings] == [(EMBED,), (HEAD,)]
    which = "the new row" if rows == 1 else "3 of the 3 new rows"
    assert sentences(explanation)[0].startswith(f"{which} of {EMBED} ")
    assert sentences(explanation)[0].endswith(" the mean of the base's rows: never trained")


def test_new_rows_that_were_trained_are_nothing_to_speak_of(make_pair: MakePair) -> None:
    def change(tensors: Tensors) -> None:
        train()(tensors)
        for name in (EMBED, HEAD):
            tensors[name] = torch.cat([tensors[name], torch.randn(2, WIDTH) * 0.02])

    pair = make_pair(change)
    assert pair.explain("exact").findings == ()
    assert of(explain(pair.given_as("float")), EMBED).grown_rows == 2


def test_one_matrix_of_low_rank_makes_no_lora(make_pair: MakePair) -> None:
    def change(tensors: Tensors) -> None:
        train()(tensors)
        tensors[layer(1, "mlp.up_proj")][3, 5] -= 0.5

    explanation = make_pair(change).explain()
    assert [each.lora_rank for each in explanation.ranks].count(1) == 1
    assert "lora" not in {each.about for each in explanation.findings}


def lora(rank: int, scale: float = 1e-3) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        torch.manual_seed(5)
        for name, each in tensors.items():
            if "q_proj" in name:
                each += torch.randn(each.shape[0], rank) @ torch.randn(rank, each.shape[1]) * scale

    return change


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["models", "exact", "float"])
def test_a_merged_lora_is_found_with_its_rank(make_pair: MakePair, form: str, dtype: torch.dtype) -> None:
    pair = make_pair(lora(5), base_tensors(layers=2, width=64), base_dtype=dtype, dtype=dtype)
    explanation = pair.explain(form)
    assert [each.lora_rank for each in explanation.ranks] == [5, 5]
    assert finding(explanation, "lora").sentence == (
        "looks like a merged LoRA: all 2 sampled matrices changed by a product of rank 5, of 64 possible"
    )
    assert finding(explanation, "lora").tensors == (layer(0, "self_attn.q_proj"), layer(1, "self_attn.q_proj"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_full_fine_tuning_is_not_taken_for_a_lora(make_pair: MakePair, decay: float, dtype: torch.dtype) -> None:
    def change(tensors: Tensors) -> None:
        torch.manual_seed(5)
        for name, each in tensors.items():
            if "q_proj" in name:
                u, _, v = torch.linalg.svd(torch.randn_like(each))
                each += u @ torch.diag(torch.arange(1.0, 65) ** -decay) @ v * 0.05

    pair = make_pair(change, base_tensors(layers=2, width=64), base_dtype=dtype, dtype=dtype)
    explanation = pair.explain(sample=4)
    assert [each.lora_rank for each in explanation.ranks] == [None, None]
    assert "lora" not in {each.about for each in explanation.findings}


def test_the_ranks_are_those_of_numpy_s_singular_values(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(train())
    names = {each.name for each in pair.explain(sample=3).ranks}
    assert len(names) == 3
    for max_elements in (1 << 26, WIDTH * 4):
        monkeypatch.setattr(change_rank, "MAX_ELEMENTS", max_elements)
        for rank in pair.explain(sample=100).ranks:
            delta = (pair.tuned_tensors[rank.name] - pair.base_tensors[rank.name]).numpy()
            rows = min(len(delta), max_elements // WIDTH)
            assert rank.rows == rows
            values = np.linalg.svd(delta[np.arange(rows) * len(delta) // rows], compute_uv=False)
            shares = values**2 / (values**2).sum()
            assert rank.stable_rank == pytest.approx(1 / shares[0], rel=1e-4)
            assert rank.entropy_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
            assert rank.rank_90 == np.searchsorted(shares.cumsum(), 0.9) + 1
            assert rank.rank_99 == np.searchsorted(shares.cumsum(), 0.99) + 1
            assert [place for place, _ in rank.spectrum] == list(range(1, rank.full_rank + 1))
            assert [value for _, value in rank.spectrum] == pytest.approx(list(values), rel=1e-3)


def test_the_sample_is_even_over_layers_and_kinds(make_pair: MakePair) -> None:
    explanation = make_pair(train(), base_tensors(layers=9)).explain(sample=0)
    chosen = choose(explanation.tensors, 4)
    assert chosen == choose(explanation.tensors, 4)
    assert [(each.layer, each.kind) for each in chosen] == [
        (0, "mlp.up_proj"),
        (3, "q_proj"),
        (5, "mlp.up_proj"),
        (8, "q_proj"),
    ]
    assert len(choose(explanation.tensors, 1000)) == 18
    assert explanation.ranks == ()


def test_names_of_other_architectures_find_their_place() -> None:
    found = places(
        [
            "transformer.h.3.attn.c_attn.bias",
            "transformer.wte.weight",
            "model.decoder.layers.0.fc1.weight",
            "model.decoder.embed_positions.weight",
            "model.decoder.final_layer_norm.weight",
            "score.weight",
        ]
    )
    assert [(each.group, each.kind) for each in found.values()] == [
        ("embeddings", "wte"),
        ("embeddings", "embed_positions"),
        ("transformer.h 3", "c_attn.bias"),
        ("model.decoder.layers 0", "fc1"),
        ("final norm", "final_layer_norm"),
        ("other", "score"),
    ]


def test_tied_tables_need_the_base_and_are_right_with_it(make_pair: MakePair) -> None:
    base = base_tensors()
    del base[HEAD]
    pair = make_pair(train(), base)
    for folder, tensors in ((pair.base, pair.base_tensors), (pair.tuned, pair.tuned_tensors)):
        write(folder, tensors, tie_word_embeddings=True)
    beside = explain(pair.tuned, pair.base)
    for form in ("exact", "float", "legacy"):
        other = explain(pair.given_as(form), pair.base)
        for mine, its in zip(other.tensors, beside.tensors, strict=True):
            assert (mine.name, mine.changed, mine.largest_at) == (its.name, its.changed, its.largest_at)
            assert mine.norm == pytest.approx(its.norm, rel=1e-4)
            assert mine.relative_norm == pytest.approx(its.relative_norm, rel=1e-4)
        if form != "exact":
            alone = explain(pair.work / form)
            assert finding(alone, "untold").tensors == (EMBED,)
            assert len(alone.tensors) == len(beside.tensors) - 1


@pytest.mark.real_data
@pytest.mark.parametrize("diff", ["alpaca_bin", "alpaca_safetensors", "open_instruct_bin", "open_instruct_safetensors"])
@pytest.mark.parametrize("model", ["llama", "opt"])
def test_diffs_of_the_original_scripts_say_what_their_models_say(shared: Path, model: str, diff: str) -> None:
    folder = shared / "data/oracles/weight_diff" / model
    beside, other = explain(folder / "tuned", folder / "raw"), explain(folder / f"diff_{diff}", folder / "raw")
    assert (beside.form, other.form) == ("models", "alpaca (no manifest)")
    alone = {each.name: each for each in explain(folder / f"diff_{diff}").tensors}
    others = {each.name: each for each in other.tensors}
    for each in beside.tensors:
        assert others[each.name].norm == pytest.approx(each.norm, rel=1e-5)
        if each.relative_norm is None:  # OPT's biases are zero in the base
            assert others[each.name].relative_norm is None
        else:
            assert others[each.name].relative_norm == pytest.approx(each.relative_norm, rel=1e-5)
        if each.name in alone and not each.grown_rows:
            assert alone[each.name].norm == pytest.approx(each.norm, rel=1e-5)
    assert len(alone) == len(beside.tensors) - (model == "opt")


def test_a_reward_model_s_diff_is_not_taken_for_a_model(make_pair: MakePair, tmp_path: Path) -> None:
    """Its names have a prefix, and the head that the base lacks is stored as it is."""
    pair = make_pair(train())
    stored = {f"backbone_model.{name}": each - pair.base_tensors[name] for name, each in pair.tuned_tensors.items()}
    diff = write(tmp_path / "reward", stored | {"reward_head.weight": torch.ones(1, WIDTH)})
    explanation = explain(diff, pair.base)
    head = of(explanation, "reward_head.weight")
    assert (explanation.form, head.weights, head.frozen, head.norm) == ("alpaca-farm (no manifest)", 0, False, 0.0)
    beside = explain(pair.tuned, pair.base).total
    assert explanation.total.norm == pytest.approx(beside.norm, rel=1e-4)
    assert explanation.total.weights == beside.weights


def test_a_damaged_diff_is_named_and_not_explained(make_pair: MakePair) -> None:
    pair = make_pair(train())
    diff = pair.given_as("float")
    tensors = load_file(diff / "model.safetensors")
    tensors[layer(1, "mlp.up_proj")][4, 4] += 1
    save_file(tensors, diff / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=f"damaged diff: tensor {layer(1, 'mlp.up_proj')}"):
        explain(diff, pair.base)


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(UserError) as raised:
        explain(*arguments, **options)
    assert "\n" not in raised.value.message + raised.value.hint
    return f"{raised.value.message}; {raised.value.hint}"


def test_what_cannot_be_explained(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair(train())
    exact = pair.given_as("exact")
    assert refusal(exact).endswith("without the base it says nothing; give the base that it was made with: --base")
    assert refusal(pair.tuned).endswith("to compare a tuned model with its base, give the base: --base")
    assert refusal(pair.tuned, exact).startswith(f"the base {exact} is itself a diff")
    assert refusal(pair.base, pair.base).startswith("base and tuned model are the same folder")
    assert refusal(pair.tuned, pair.base, sample=-1).startswith("cannot sample -1 matrices")
    wider = write(tmp_path / "wider", base_tensors(width=24))
    assert refusal(wider, pair.base).startswith(f"tensor {HEAD} is [40, 24] in the tuned model {wider}, [40, 16]")
    deeper = write(tmp_path / "deeper", base_tensors(layers=5))
    assert refusal(deeper, pair.base).startswith(f"the base {pair.base} has no tensor {layer(4, 'input_layernorm')}")


def test_the_json_is_what_the_docs_say(make_pair: MakePair) -> None:
    plain = json.loads(json.dumps(asdict(make_pair(lora(2)).explain(sample=2)), allow_nan=False))
    section = DOCS.read_text(encoding="utf-8").split("\n## Explanation of a diff\n")[1].split("\n## ")[0]
    for kind, found in (
        (Explanation, plain),
        (GroupChange, plain["total"]),
        (GroupChange, plain["groups"][0]),
        (TensorChange, plain["tensors"][0]),
        (ChangeRank, plain["ranks"][0]),
        (Finding, plain["findings"][0]),
    ):
        assert list(found) == [field.name for field in fields(kind)]
        for name in found:
            assert f"`{name}`" in section, name


def test_the_command_prints_tables_and_json_and_draws(make_pair: MakePair, packtrain: Any) -> None:
    pair = make_pair(lora(1))
    plot = pair.work / "figure.png"
    # a backend that needs a display would fail here
    arguments = ["diff", "explain", pair.tuned, "--base", pair.base, "--sample", "2", "--plot", plot]
    finished = packtrain(*arguments, "--tensors", MPLBACKEND="TkAgg", DISPLAY="")
    assert finished.returncode == 0, finished.stderr
    for text in ("embeddings", "final norm", "stable", layer(3, "mlp.up_proj"), "looks like a merged LoRA"):
        assert text in finished.stdout
    data = plot.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert 1200 < width < 4000
    assert 600 < height < 3000


def test_the_command_prints_json_alone(make_pair: MakePair, capsys: pytest.CaptureFixture[str]) -> None:
    pair = make_pair(lora(1))
    (registered,) = (each for each in diff_command.app.registered_commands if each.callback is diff_command.explain)
    assert "Examples:\n  packtrain diff explain" in str(registered.epilog)
    diff_command.explain(diff=str(pair.tuned), base=str(pair.base), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(asdict(pair.explain())))
    with pytest.raises(UserError, match="no model folder at missing"):
        diff_command.explain(diff="missing", base=str(pair.base))


def test_figures_of_every_kind_and_size(make_pair: MakePair, tmp_path: Path) -> None:
    """One layer or forty, without base, without a sample, with nothing changed: there is always a figure."""
    small, same = make_pair(train(), base_tensors(layers=1)), tmp_path / "same"
    explanation = small.explain()
    write_plot(explanation, tmp_path / "a.svg", "tuned")
    write_plot(explanation, tmp_path / "b.svg", "tuned")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    write_plot(explain(small.given_as("float")), tmp_path / "a.pdf", "$cost_1$ diff")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    same.mkdir()
    many = base_tensors(layers=40)
    deep = Pair(same, many, many, torch.float32, torch.float32)
    write_plot(deep.explain(), tmp_path / "a.svg", "deep", overwrite=True)
    assert not list(tmp_path.glob(".*.tmp"))


def test_figures_that_cannot_be_drawn(make_pair: MakePair, tmp_path: Path) -> None:
    explanation = make_pair(train()).explain(sample=0)
    (tmp_path / "there.png").write_text("precious")
    for name, message in (
        ("there.png", "exists already"),
        ("figure.jpeg", "cannot tell what to draw"),
        ("figure", "cannot tell what to draw"),
    ):
        with pytest.raises(UserError, match=message):
            write_plot(explanation, tmp_path / name, "tuned")
    assert (tmp_path / "there.png").read_text() == "precious"
