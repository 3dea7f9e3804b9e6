"""Engine settings beside a recipe's: taken apart, and named in errors as they were written."""

import pytest

from packtrain.core.engine import Engine, split_engine
from packtrain.core.errors import UserError


def test_settings_of_the_engine_and_of_the_recipe_are_told_apart() -> None:
    given = ["train.lr=1e-5", "engine.packing=off", "engine.trackers=wandb", "engine.micro_batch_tokens=512"]
    assert split_engine(given) == (
        Engine(packing="off", trackers=("wandb",), micro_batch_tokens=512),
        ["train.lr=1e-5"],
    )
    assert split_engine([]) == (Engine(), [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["engine.micro_batch_tokens=0"],
            "engine settings: engine.micro_batch_tokens: input should be greater than 0 (found 0)",
        ),
        (["engine.packin=on"], "engine settings: unknown key engine.packin (did you mean engine.packing?)"),
        (
            ["engine.probes=-1", "engine.trackers=[wand]"],
            "engine settings: engine.trackers.0: input should be 'tensorboard' or 'wandb' (found 'wand'); "
            "engine.probes: input should be greater than or equal to 0 (found -1)",
        ),
        (["engine.packing"], "not an override: 'engine.packing'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_settings_are_named_as_written(given: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        split_engine(given)
    assert caught.value.message == message
