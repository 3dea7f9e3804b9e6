"""Finds token ids for which the token table has no row.

Tokenizers with a token more than their model are the usual case of 2023 (32,001 against 32,000: FastChat#486), and
end in an index error, or in a model that cannot be loaded when the padding id lies behind the table.
"""

from collections.abc import Iterator

from packtrain.prompts.tokenizer import Tokenizer
from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.doctor_checks.ids_agree import ids
from packtrain.train.examined import Examined
from packtrain.weights.model_files import CONFIG, GENERATION_CONFIG

NEEDS = ("tokenizer", "rows")
BEFORE_TRAINING = True
FINE = "every token has a row in the token table"
MOST_NEW_ROWS = 1000
"""More than anybody adds to a model as special tokens: the tokenizer is another model's."""


def check(examined: Examined) -> Iterator[Finding]:
    """What lies behind the table, and how many rows training will add."""
    tokenizer, rows = examined.tokenizer, examined.rows
    if tokenizer is None or rows is None:
        return
    pad = examined.setting("pad_token_id")
    if isinstance(pad, int) and pad >= rows:
        what = f"pad_token_id is {pad}, the token table has {rows} rows: the model cannot be loaded"
        yield error(what, str(examined.folder / CONFIG), f"give an id below {rows}, or null")
    yield from (_in_training if examined.recipe else _as_it_is)(examined, tokenizer, rows)


def _in_training(examined: Examined, tokenizer: Tokenizer, rows: int) -> Iterator[Finding]:
    ids_of = tokenizer.backend.get_vocab(with_added_tokens=True)
    last = max(ids_of, key=lambda token: ids_of[token])
    table, missing = max(rows, len(tokenizer)), len(tokenizer) - rows
    if ids_of[last] >= table:
        what = f"token {last!r} has id {ids_of[last]}, the token table will have {table} rows"
        mend = "ids must follow one another without gaps: mend the added tokens of tokenizer.json"
        yield error(what, str(examined.folder), mend)
    elif missing > MOST_NEW_ROWS:
        what = f"the tokenizer has {len(tokenizer)} tokens, the token table {rows} rows: {missing} will be added"
        yield warning(what, str(examined.folder), "check that the tokenizer is that of this base")
    elif missing > 0:
        yield fine(f"{missing} rows will be added to the token table, as the mean of its {rows}")


def _as_it_is(examined: Examined, tokenizer: Tokenizer, rows: int) -> Iterator[Finding]:
    ids_of = tokenizer.backend.get_vocab(with_added_tokens=True)
    behind = sorted((place, token) for token, place in ids_of.items() if place >= rows)
    roles = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    if behind:
        special = [token for _, token in behind if token in roles]
        place, token = behind[0]
        what = f"{len(behind)} tokens lie behind the {rows} rows of the token table: {token!r} has id {place}"
        mend = "fetch the tokenizer of this very model; packtrain train adds rows for new tokens by itself"
        yield (error if special else warning)(what, str(examined.folder), mend)
    for name, settings in ((CONFIG, examined.config), (GENERATION_CONFIG, examined.generation_config)):
        for role in ("bos", "eos", "pad"):
            wrong = sorted(one for one in ids((settings or {}).get(f"{role}_token_id")) if not 0 <= one < rows)
            if wrong and not (role == "pad" and name == CONFIG and wrong[-1] >= rows):
                where = str(examined.folder / name)
                yield warning(f"{role}_token_id is {wrong[0]}: there is no such token", where, "give a token's id")
