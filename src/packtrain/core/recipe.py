"""Recipes: everything that decides what a model becomes, in one YAML file readable alone.

Sections: `base`, `data`, `train`, `evaluate`, `release`, `generate`. Unknown keys are errors, all
errors are reported together, and `section.key=value` overrides any of them from the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PositiveInt, Tag
from pydantic_core import PydanticCustomError

from packtrain.core.adapter import parse_adapter
from packtrain.core.errors import UserError

Share = Annotated[float, Field(ge=0, lt=1)]
Wording = Literal["apart", "plain", "random"]


def _one_or_several(value: Any) -> Any:
    """A list of what may be given as one text, too."""
    return [value] if isinstance(value, str) else value


def _place(path: str) -> Path:
    """A file or folder, a beginning `~` resolved."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user
        return Path(path)


def _adapter(value: str) -> str:
    """An adapter that can be read; the error says what there is."""
    try:
        parse_adapter(value)
    except UserError as error:
        raise PydanticCustomError("adapter", "{told}", {"told": f"{error.message} ({error.hint})"}) from error
    return value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Base(_Section):
    """The model that training starts from."""

    path: str
    """Folder of a Hugging Face model, or a Hub id."""
    name: str = ""
    """What the card calls it; the Hub id or the last part of `path` when empty."""
    license: str = ""
    """Licence of the base weights, as an identifier of `card/licences`."""


class Source(_Section):
    """One data set."""

    format: str
    """A name in `data/formats`; `auto` is the one whose shape the first records have."""
    path: str
    """The raw file or folder, in the form that its publishers gave it; or a Hub id, `owner/name@revision`."""
    max_examples: PositiveInt | None = None
    """At most so many conversations, chosen by a hash of their identity."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """This share of the conversations, chosen the same way."""
    repeat: PositiveInt = 1
    """How often each conversation is in the training data; the copies have ids of their own."""
    wording: Wording = "apart"
    """How an instruction and its input are laid out: `apart` leaves it to the prompt template, `plain` puts a blank
    line between them, `random` draws one of the 28 wordings of Open-Instruct."""
    clean: Annotated[tuple[str, ...], BeforeValidator(_one_or_several)] = ()
    """Cleaning rules (names in `data/clean`) or presets: `paper` is none of them, `clean` all."""
    options: dict[str, Any] = {}
    """What the format itself can be told."""
    license: str = ""
    """Licence of the data, as an identifier of `card/licences`."""

    @property
    def file(self) -> Path:
        """The raw file or folder, a beginning `~` resolved."""
        return _place(self.path)


class Data(_Section):
    """What the model is trained on."""

    sources: dict[str, Source] = Field(min_length=1)
    held_out: int = Field(default=0, ge=0)
    """Conversations kept out of training to measure the loss on, chosen by a hash of their identity."""
    duplicates: Annotated[str, Field(pattern=r"^(keep|exact|near(:0\.[0-9]+|:1)?)$")] = "keep"
    """`exact`: of equal conversations the first stays, within and across sources. `near`: of conversations whose
    user's words are nearly the same, too; `near:0.9` gives the Jaccard similarity from which they are (0.8)."""


class Mixture(Data):
    """Several data sets as one: the `data` section of a recipe as a file of its own."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str = ""
    """One line on what it is."""
    seed: int = 42
    """Decides, with each record's own identity, which conversations are drawn."""


class Train(_Section):
    """The optimisation; the defaults are those shared by the models of 2023."""

    lr: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    epochs: PositiveInt
    max_steps: PositiveInt | None = None
    """Stop after so many optimizer steps; the schedule is then laid over these steps."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate climbs from 0."""
    warmup_rounding: Literal["ceil", "floor"] = "ceil"
    """HF Trainer rounds the warm-up steps up, Open-Instruct's finetune.py down."""
    global_batch_size: PositiveInt = 128
    """Conversations per optimizer step, over all devices."""
    micro_batch_size: PositiveInt = 4
    """Conversations that `microbatch_mean` averages first; what one forward pass holds is the engine's business."""
    max_length_tokens: PositiveInt = 512
    weight_decay: float = Field(default=0.0, ge=0)
    adam_betas: tuple[Share, Share] = (0.9, 0.999)
    adam_epsilon: float = Field(default=1e-8, gt=0)
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this global L2 norm."""
    loss_averaging: Literal["token", "microbatch_mean", "example_mean"] = "token"
    """`token`: mean over all learnt tokens of the global batch. `microbatch_mean`: mean of the means
    of the micro-batches, as the trainers of 2023 did. `example_mean`: mean of the conversations' means."""
    order: Literal["shuffled", "sequential"] = "shuffled"
    last_batch: Literal["keep", "drop"] = "keep"
    """What becomes of the rows left over at the end of an epoch: a smaller batch, or left out of that epoch
    (as HF Trainer did for Alpaca: 406 steps of 128 for 52,002 rows)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute precision; master weights are float32 always. `auto`: bfloat16 where the device multiplies it."""
    adapter: Annotated[str, AfterValidator(_adapter)] = "none"
    """`none` tunes all weights; `lora`, `rslora`, `dora` and `qlora` an adapter, as in `lora:r=64,alpha=16`
    (core/adapter.py)."""
    encoding: Literal["default", "compat"] = "default"
    """`compat` reproduces the token ids and labels of the original code, its quirks included."""
    checkpoint_every_steps: PositiveInt = 500


class Evaluate(_Section):
    """What is measured when the model is ready."""

    columns: tuple[str, ...] = ()
    """Names in `evaluate/benchmarks`."""
    data: str = ""
    """Folder that holds the benchmark files."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the model computes in while it answers; `auto` is bfloat16 where the device multiplies it, else float32."""

    @property
    def folder(self) -> Path:
        """The folder that holds the benchmark files, a beginning `~` resolved; meaningless when none is named."""
        return _place(self.data)


def _selection(value: Any) -> Any:
    """A field with answers to choose from; the error shows one."""
    options = value["options"] if isinstance(value, dict) and value.keys() == {"type", "options"} else None
    if not isinstance(options, list) or not options or value["type"] != "select" or not all(map(_is_option, options)):
        shown = "{type: select, options: [Research, {label: Something else, value: other}]}"
        raise PydanticCustomError("selection", "a choice looks so: {shown}", {"shown": shown})
    return value


def _is_option(value: Any) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"label", "value"} and all(isinstance(text, str) for text in value.values())
    return isinstance(value, str)


def _kind_of_field(value: Any) -> str:
    """Which of both forms is meant, so that the error is about that one."""
    return "select" if value == "select" or isinstance(value, dict) else "type"


GateField = Annotated[
    Annotated[Literal["text", "checkbox", "date_picker", "country"], Tag("type")]
    | Annotated[dict[str, Any], BeforeValidator(_selection), Tag("select")],
    Discriminator(_kind_of_field),
]
"""What a field of a form asks for (hub-docs, models-gated.md)."""


class Gate(_Section):
    """The form that readers fill in before they get the files."""

    prompt: Annotated[str, Field(pattern=r"\S")]
    """What the form says."""
    fields: dict[str, GateField] = Field(min_length=1)
    """Question to the kind of its answer; a choice is `{type: select, options: [one, another]}`."""


class Release(_Section):
    """How the result is published."""

    form: Literal["diff", "float-diff", "full"] = "diff"
    """`diff`: exact; `float-diff`: additive, as the scripts of 2023 read it; `full`: the model itself."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the exported weights."""
    license: str = ""
    gate: Gate | None = None

    @property
    def diff_form(self) -> Literal["exact", "float"]:
        """What `packtrain diff` calls the form, where the release is a difference."""
        return "float" if self.form == "float-diff" else "exact"


class Generate(_Section):
    """How instruction data are made with a language model, when the recipe makes its own."""

    model: str
    """`openai:NAME` or `local:DIR`; `scripted:NAME` says that the caller brings a program of that name."""
    count: PositiveInt
    novelty: float = Field(default=0.7, gt=0, le=1)
    """An instruction is dropped when its ROUGE-L with an earlier one is above this."""


class Recipe(_Section):
    """A whole model: one file names everything that decides what comes out."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str
    """One line for the card."""
    family: Literal["alpaca", "open_instruct", "galpaca", "packtrain"]
    """Which published project the recipe reproduces: decides card text and citations."""
    template: str
    """A name in `prompts`, or the path of a Jinja file; `own` is the base's chat template, `auto` that or else tulu."""
    seed: int = 42
    base: Base
    data: Data
    train: Train
    evaluate: Evaluate = Evaluate()
    release: Release = Release()
    generate: Generate | None = None

    def resolved(self) -> dict[str, Any]:
        """All values, defaults included, as plain JSON types."""
        return self.model_dump(mode="json")
