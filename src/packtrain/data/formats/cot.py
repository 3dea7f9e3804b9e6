"""Chain of thought from FLAN V2: `inputs`, `targets`, in a zero-shot and a few-shot file.

A folder is read whole, zero-shot before few-shot, in compat too. The original draws 50,000 rows of each file that has
more: give the two files as two sources with `max_examples: 50000` each. Which rows it drew is not repeated.
"""

from collections.abc import Iterator

from packtrain.core.conversation import Conversation, Message
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.records import Dropped, Record, not_text

ABOUT = About(
    dataset="cot",
    title="Chain of thought of FLAN V2",
    source="https://github.com/google-research/FLAN",
    license="apache-2.0",
    citation="longpre2023flan",
    files=("cot_zsopt.jsonl", "cot_fsopt.jsonl"),
    elsewhere=("https://huggingface.co/datasets/SirNeural/flan_v2 (cot_zs_opt_train and cot_fs_opt_train.jsonl.gz)",),
    rows=100_000,
    rounds=1.0,
    prompt_tokens=266.0,
    completion_tokens=53.2,
)
FIELDS = ("inputs", "targets")


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """One round; the prompt ends in a line feed or a colon, the answer is untouched."""
    record.require(*FIELDS)
    identity = f"{conversion.dataset}_{record.number}"
    inputs, targets = (record.fields[name] for name in FIELDS)
    wrong = not_text(("inputs", inputs), ("targets", targets))
    if wrong:
        yield Dropped(identity, wrong)
        return
    messages = Message("user", ended_prompt(inputs)), Message("assistant", targets)
    yield Conversation(conversion.dataset, identity, messages)


def ended_prompt(inputs: str) -> str:
    """`inputs` with a line feed behind, unless it ends in one or, but for white space, in a colon.

    The rule of `reformat_datasets.py` in Open-Instruct, July 2023.
    """
    return inputs if inputs.endswith("\n") or inputs.rstrip().endswith(":") else inputs + "\n"
