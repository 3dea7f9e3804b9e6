"""How far an interrupted stage came, in a few words: told before it goes on."""

from pathlib import Path


def last_step(out: Path) -> str:
    """The step of the newest checkpoint that an interrupted training left."""
    from packtrain.train.checkpoint import complete_checkpoints
    from packtrain.train.stage import CHECKPOINTS

    found = complete_checkpoints(out.with_name(f"{out.name}.partial") / CHECKPOINTS)
    return f"after step {int(found[-1].name.removeprefix('step_')):,}" if found else "from the first step"


def lines_left(out: Path, name: str) -> str:
    """How many lines an interrupted stage left in its log of answers, the file of that name."""
    log = out.with_name(f"{out.name}.partial") / name
    if not log.exists():
        return "with no answer yet"
    with open(log, "rb") as file:
        return f"with the {sum(1 for _ in file):,} lines of {name}"
