"""Judging: which of two answers to an instruction is the better one, by a language model's verdict.

Two forms. `batch` is AlpacaFarm's `greedy_gpt4`, which the cards' column was made with: five comparisons in one
prompt, pairs with and without an input apart, a line `Output (a)` or `Output (b)` for each; when their number is
another, none of the five is read. `pair` is AlpacaEval's `alpaca_eval_gpt4`: one comparison, answered with a ranking.
The wording is our own unless a file gives another.

Which output stands first is drawn by a hash of the seed and the pair's identity; with both orders each pair is judged
twice, and two verdicts that contradict each other are a tie. Equal outputs are a tie that nobody is asked about. A
verdict that cannot be read counts as unread and is never guessed, and so does one on a prompt that the judge's context
is too short for: no judge is shown a part of it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from packtrain.core.errors import UserError
from packtrain.core.json_text import as_unicode
from packtrain.core.manifest import digest
from packtrain.core.progress import progress, say
from packtrain.evaluate.judging.budget import Budget
from packtrain.evaluate.judging.log import FINISH_TOO_LONG, Judged, JudgeLog, answers_in
from packtrain.evaluate.judging.reading import UnreadError, read_batch, read_ranking
from packtrain.evaluate.judging.requests import JudgeRequest, Pair, drawn_orders, requests_for
from packtrain.evaluate.judging.wording import FORMS, MAX_NEW_TOKENS, Form, load_wordings
from packtrain.models.base import Completion, LanguageModel, Sampling
from packtrain.models.prices import estimated_tokens, price_of

Order = Literal["reference first", "answer first", "both", "equal"]
TOO_LONG = "the prompt is longer than the judge's context"
"""Why a verdict is unread that nobody could give."""
FORM_OF_PROFILE: dict[str, Form] = {"paper-2023": "batch", "fixed": "pair"}
"""The judge of the cards; the one that agrees better with people."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one pair."""

    id: str
    preference: float | None
    """1 where the answer is better than the reference, 0 where it is worse, 0.5 for a tie; None: not read."""
    order: Order
    """What stood first; `equal`: the outputs are the same and nobody was asked."""
    texts: tuple[str, ...] = ()
    """What the judge said, once for each order; of a batch the whole."""
    unread: str = ""
    """Why the verdict could not be read."""


@dataclass(slots=True)
class _Read:
    """What has been read of one pair so far: an entry for each order in which it was shown."""

    preferences: list[float] = field(default_factory=list)
    answer_first: list[bool] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def judge(
    pairs: Sequence[Pair],
    ids: Sequence[str],
    judge_model: LanguageModel,
    out: Path,
    *,
    form: Form = "pair",
    wording: Path | None = None,
    both_orders: bool = False,
    render: Callable[[str], str] | None = None,
    seed: int = 0,
    max_new_tokens: int | None = None,
    price_in: float | None = None,
    price_out: float | None = None,
    budget_usd: float | None = None,
    earlier: Path | None = None,
) -> list[Verdict]:
    """A verdict on each pair, in order; every answer of the judge is in the file `out` before it is used.

    A pair has the fields `instruction`, `input`, `reference` and `answer`; `ids` are their identities. `wording`: a
    file, or a folder of two, as in judging/wording.py. `render` puts a prompt into the judge's own format; without it
    the judge sees the bare text, which is right for an endpoint. `max_new_tokens`: the form's own by default. Prices
    are in dollars per million tokens, by default OpenAI's list prices where the judge is one of its models.
    `budget_usd` bounds what all answers in `out` cost together, earlier runs included: nothing is asked that could
    cross it.

    What is in `out` already is not asked again. `earlier` is another such file: what would be asked, and is answered
    there, is taken over. UserError for an unknown form, a wording that is none, a budget that the estimate exceeds
    (nothing is asked then) or that is used up (finished answers stay in `out`), and whatever the judge raises.
    """
    if form not in FORMS:
        raise UserError(f"unknown form of judging: {form}", f"there are: {', '.join(FORMS)}")
    by_id = dict(zip(ids, pairs, strict=True))
    if len(by_id) < len(ids):
        raise ValueError("two pairs have one identity")
    differing = [one for one, pair in by_id.items() if pair["reference"] != pair["answer"]]
    wordings = load_wordings(form, wording)
    orders = drawn_orders(differing, seed)
    requests = requests_for(by_id, orders, wordings, seed)
    if both_orders:
        requests += requests_for(by_id, {one: not first for one, first in orders.items()}, wordings, seed)
    shown = render or str
    requests = [replace(request, prompt=as_unicode(shown(request.prompt))) for request in requests]
    budget = Budget(price_of(judge_model.name, price_in, price_out), budget_usd)
    sampling = Sampling(max_new_tokens or MAX_NEW_TOKENS[form], too_long="cut")
    with JudgeLog(out) as log:
        answers = _ask(requests, judge_model, sampling, log, budget, answers_in(earlier) if earlier else {})
    verdicts = _verdicts(ids, zip(requests, answers, strict=True), form)
    _say_result(verdicts, budget)
    return verdicts


def check_read(verdicts: Sequence[Verdict], column: str, name: str, log: Path) -> None:
    """Raise UserError when nothing could be read of all that the judge `name` said, which the file `log` keeps.

    A win rate would be 0, or that of the equal outputs alone, and say nothing of the answers.
    """
    reasons = Counter(verdict.unread for verdict in verdicts if verdict.order != "equal")
    if not reasons or "" in reasons:
        return
    [(reason, _)] = reasons.most_common(1)
    raise UserError(
        f"{column}: none of the {reasons.total()} verdicts of {name} could be read ({reason})",
        f"see what it said in {log.parent.name}/{log.name}; then go on with --resume and another judge, "
        "or another --judge-form or --judge-prompt (packtrain evaluate)",
    )


def _ask(
    requests: Sequence[JudgeRequest],
    judge_model: LanguageModel,
    sampling: Sampling,
    log: JudgeLog,
    budget: Budget,
    earlier: Mapping[str, Judged],
) -> list[Judged]:
    """The answer to each request: from the log or from `earlier` where it was asked before, else from the judge.

    A prompt that was too long is asked again, which costs nothing: the endpoint may have another context now.
    """
    identity = judge_model.identity
    keys = [digest([identity, sampling.max_new_tokens, request.prompt]) for request in requests]
    for key in keys:
        if key in earlier and key not in log.answers and not earlier[key].too_long:
            log.add(earlier[key])
    for answer in log.answers.values():
        budget.pay(answer.prompt_tokens, answer.completion_tokens)
    missing = {
        key: request
        for key, request in zip(keys, requests, strict=True)
        if key not in log.answers or log.answers[key].too_long
    }
    if len(missing) < len(set(keys)):
        say(f"judging: {len(set(keys)) - len(missing)} of {len(set(keys))} answers are there already")
    if missing:
        _estimate([request.prompt for request in missing.values()], sampling.max_new_tokens, budget, judge_model.name)
    with progress("judging", sum(len(request.ids) for request in missing.values())) as advance:
        while missing:
            asked = _affordable(missing, sampling.max_new_tokens, budget, log)
            prompts = [request.prompt for _, request in asked]
            for index, completion in judge_model.generate_each(prompts, sampling):
                key, request = asked[index]
                answer = _answered(key, judge_model.name, request, completion)
                log.add(answer)
                budget.pay(answer.prompt_tokens, answer.completion_tokens)
                del missing[key]
                advance(len(request.ids), note=f"${budget.paid_usd:.2f}" if budget.price else "")
    return [log.answers[key] for key in keys]


def _answered(key: str, name: str, request: JudgeRequest, completion: Completion) -> Judged:
    """The answer for the log: an empty one, that costs nothing, where the judge has not seen the whole prompt."""
    about = (key, name, request.ids, request.answer_first)
    if completion.too_long or completion.cut_tokens:
        return Judged(*about, "", FINISH_TOO_LONG, 0, 0)
    tokens_in = completion.prompt_tokens or estimated_tokens(request.prompt)
    tokens_out = completion.completion_tokens or estimated_tokens(completion.text)
    return Judged(*about, completion.text, completion.finish_reason, tokens_in, tokens_out)


def _estimate(prompts: Sequence[str], max_new_tokens: int, budget: Budget, name: str) -> None:
    """Say what asking will cost; UserError when that is more than the budget leaves."""
    tokens_in, tokens_out = sum(map(estimated_tokens, prompts)), len(prompts) * max_new_tokens
    said = f"judging with {name}: {len(prompts)} prompts, about {tokens_in:,} tokens in, at most {tokens_out:,} out"
    if budget.price is None:
        say(f"{said}; its price is not known")
        return
    cost_usd = budget.price.cost_usd(tokens_in, tokens_out)
    say(f"{said}: up to ${cost_usd:.2f}")
    if budget.limit_usd is not None and budget.paid_usd + cost_usd > budget.limit_usd:
        before = f" beside ${budget.paid_usd:.2f} that are paid" if budget.paid_usd else ""
        raise UserError(
            f"judging may cost ${cost_usd:.2f}{before}; the budget is ${budget.limit_usd:.2f}, and nothing was asked",
            "raise --budget-usd, choose a cheaper judge, or judge fewer items (packtrain evaluate --limit)",
        )


def _affordable(
    missing: dict[str, JudgeRequest], max_new_tokens: int, budget: Budget, log: JudgeLog
) -> list[tuple[str, JudgeRequest]]:
    """The first of the missing requests, as many as cannot cross the budget; UserError when that is none."""
    waiting = list(missing.items())
    count = budget.affordable([request.prompt for _, request in waiting], max_new_tokens)
    if not count:
        raise UserError(
            f"the budget of ${budget.limit_usd:.2f} is used up: ${budget.paid_usd:.2f} are paid, "
            f"{len(waiting)} prompts are left, and the next one could cross it",
            f"the answers so far are in {log.path}; go on with a larger --budget-usd (packtrain evaluate: --resume)",
        )
    return waiting[:count]


def _verdicts(ids: Sequence[str], answered: Iterable[tuple[JudgeRequest, Judged]], form: Form) -> list[Verdict]:
    """The verdict on each pair, of one or two orders."""
    read: dict[str, _Read] = defaultdict(_Read)
    for request, answer in answered:
        shares, unread = ([], TOO_LONG) if answer.too_long else _shares(answer.text, request.size, form)
        for place, (one, answer_first) in enumerate(zip(request.ids, request.answer_first, strict=True)):
            entry = read[one]
            entry.answer_first.append(answer_first)
            entry.texts.append(answer.text)
            if unread:
                entry.unread.append(unread)
            else:
                entry.preferences.append(shares[place] if answer_first else 1 - shares[place])
    return [_verdict(one, read[one]) if one in read else Verdict(one, 0.5, "equal") for one in ids]


def _shares(text: str, size: int, form: Form) -> tuple[list[float], str]:
    """The first outputs' shares, or why they cannot be read."""
    try:
        return (read_batch(text, size) if form == "batch" else read_ranking(text)), ""
    except UnreadError as error:
        return [], str(error)


def _verdict(one: str, read: _Read) -> Verdict:
    """Two orders that agree are as one, two that contradict each other a tie; one that is unread leaves nothing."""
    texts = tuple(read.texts)
    order: Order = "both" if len(texts) > 1 else "answer first" if read.answer_first[0] else "reference first"
    if read.unread:
        return Verdict(one, None, order, texts, read.unread[0])
    return Verdict(one, sum(read.preferences) / len(read.preferences), order, texts)


def _say_result(verdicts: Sequence[Verdict], budget: Budget) -> None:
    reasons: dict[str, int] = defaultdict(int)
    for verdict in verdicts:
        if verdict.preference is None:
            reasons[verdict.unread] += 1
    if reasons:
        said = ", ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()))
        say(f"note: {sum(reasons.values())} of {len(verdicts)} verdicts could not be read and do not count ({said})")
    if budget.price is not None:
        say(f"judging has cost ${budget.paid_usd:.2f} so far")
