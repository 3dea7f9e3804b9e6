"""Cleaning: the chosen rules, in order, on one conversation after the other."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.core.folder import module, names, unknown
from packtrain.data.clean import Stage

RULES = "packtrain.data.clean"
PAPER, CLEAN = "paper", "clean"
"""The presets: no rule at all, as the sets of 2023 were trained on, and every rule."""

Apply = Callable[[Conversation], Conversation | str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One cleaning rule, ready to run."""

    name: str
    stage: Stage
    what: str
    """What it does, in one line."""
    apply: Apply
    signs: tuple[re.Pattern[str], ...] = ()
    """Patterns that are found where a conversation is dropped by it, to point to the place."""


def load_rules(wanted: Sequence[str] = (CLEAN,)) -> tuple[Rule, ...]:
    """The rules that `wanted` names, in the order in which they run.

    An entry is a rule, `rule=argument` for one that needs to be told something, a preset (`paper`,
    `clean`), a `-rule` to leave out, or several of these with commas between. Raises UserError, listing
    the names, for an unknown one, for an argument too many or missing, and for a rule left out that is not chosen.
    """
    there = names(RULES, ".py")
    arguments: dict[str, str] = {}
    left_out: set[str] = set()
    for entry in (entry.strip() for item in wanted for entry in item.split(",")):
        name, _, argument = entry.removeprefix("-").partition("=")
        if name and name not in (PAPER, CLEAN, *there):
            raise unknown("cleaning rule", name, [PAPER, CLEAN, *there])
        if entry.startswith("-"):
            left_out.add(name)
        elif name == CLEAN:
            arguments = {**{rule: "" for rule in there if not _needs_argument(rule)}, **arguments}
        elif name and name != PAPER:
            arguments[name] = argument
    absent = left_out - arguments.keys()
    if absent:
        raise UserError(
            f"rules to leave out are not among those chosen: {', '.join(sorted(absent))}", "such as: clean,-identity"
        )
    rules = [_rule(name, argument) for name, argument in arguments.items() if name not in left_out]
    return tuple(sorted(rules, key=lambda rule: (rule.stage, rule.name)))


def _needs_argument(name: str) -> bool:
    return hasattr(module(RULES, name, "cleaning rule"), "choose")


def _rule(name: str, argument: str) -> Rule:
    found = module(RULES, name, "cleaning rule")
    if _needs_argument(name) != bool(argument):
        problem = "needs an argument" if not argument else "takes no argument"
        raise UserError(f"the cleaning rule {name} {problem}", (found.__doc__ or "").partition("\n")[0])
    apply: Apply = found.choose(argument) if argument else found.apply
    return Rule(name, found.STAGE, (found.__doc__ or "").partition("\n")[0], apply, getattr(found, "SIGNS", ()))


class Cleaner:
    """Applies cleaning rules and counts what they did. It can be sent to a worker process, counts included.

    `rules` as in `load_rules`. With no rule every conversation comes back as the same object.
    """

    def __init__(self, rules: Sequence[str]) -> None:
        self.rules = load_rules(rules)
        self.mended: Counter[str] = Counter()
        """Rule -> conversations that it changed and that were kept."""
        self.changed_by: tuple[str, ...] = ()
        """The rules that changed the conversation that was applied last, when it was kept."""
        self.dropped: Counter[str] = Counter()
        """`rule: reason` -> conversations."""

    def apply(self, conversation: Conversation) -> Conversation | str:
        """The conversation, mended where need be, or `rule: reason` when it is to be dropped."""
        mended: list[str] = []
        self.changed_by = ()
        for rule in self.rules:
            found = rule.apply(conversation)
            if isinstance(found, str):
                reason = f"{rule.name}: {found}"
                self.dropped[reason] += 1
                return reason
            if found is not conversation:
                mended.append(rule.name)
                conversation = found
        self.mended.update(mended)
        self.changed_by = tuple(mended)
        return conversation
