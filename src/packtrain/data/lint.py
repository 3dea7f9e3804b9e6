"""Linting: what is wrong with the records of a conversation file, by named rules.

Two folders hold the rules: `lint_rules`, which only report, and `clean`, where each rule that would
drop or mend a record is a finding too.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from packtrain.core.atomic import atomic_file, check_output_file
from packtrain.core.conversation import Conversation, read_conversations
from packtrain.core.errors import UserError
from packtrain.core.folder import module, names, unknown
from packtrain.core.progress import progress
from packtrain.data.clean import Stage
from packtrain.data.cleaning import Rule, load_rules
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import texts

RULES = "packtrain.data.lint_rules"
EXAMPLES = 3
_ADVANCE_EVERY = 500
_AROUND_CHARACTERS, _MARKED_CHARACTERS = 60, 160

Find = Callable[[Conversation], Place | None]


@dataclass(frozen=True, slots=True)
class LintRule:
    """One lint rule, ready to run."""

    name: str
    severity: Severity
    what: str
    """What it finds, in one line."""
    mend: str
    """What to do about it."""
    find: Find


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of one record."""

    rule: str
    severity: Severity
    dataset: str
    id: str
    record: int
    """From 1, in file order."""
    message: int
    """From 0."""
    what: str
    """What is wrong there; "" when the rule's name says it."""
    before: str
    marked: str
    """The text at fault, cut to its first characters when long; between what stands before and after it."""
    after: str


@dataclass
class LintReport:
    """What was found, by rule."""

    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Rule -> records in which it found something."""
    examples: dict[str, list[Finding]] = field(default_factory=dict)
    """Rule -> the first findings."""


def load_lint_rules(wanted: Sequence[str] = ()) -> tuple[LintRule, ...]:
    """The rules that `wanted` names, all of them when it is empty; errors first, then by name.

    Raises UserError, listing the names, for an unknown one.
    """
    mends = {rule.name: rule for rule in load_rules()}
    there = [*names(RULES, ".py"), *mends]
    for name in wanted:
        if name not in there:
            raise unknown("lint rule", name, sorted(there))
    rules = [
        _from_cleaning(mends[name]) if name in mends else _from_folder(name)
        for name in there
        if name in wanted or not wanted
    ]
    order: list[Severity] = ["error", "warning", "note"]
    return tuple(sorted(rules, key=lambda rule: (order.index(rule.severity), rule.name)))


def _from_folder(name: str) -> LintRule:
    found = module(RULES, name, "lint rule")
    find: Find = found.start() if hasattr(found, "start") else found.find
    return LintRule(name, found.SEVERITY, (found.__doc__ or "").partition("\n")[0], found.MEND, find)


def _from_cleaning(rule: Rule) -> LintRule:
    severity: Severity = "note" if rule.stage is Stage.CHOICE else "error" if rule.stage is Stage.FAULT else "warning"
    does = "drops" if rule.stage in (Stage.FAULT, Stage.CHOICE) else "mends"
    return LintRule(rule.name, severity, rule.what, f"the cleaning rule {rule.name} {does} it", partial(_cleaned, rule))


def _cleaned(rule: Rule, conversation: Conversation) -> Place | None:
    """Where a cleaning rule would do something to the conversation."""
    found = rule.apply(conversation)
    if found is conversation:
        return None
    if isinstance(found, str):
        return _sign(rule, conversation, found)
    for number, (old, new) in enumerate(zip(conversation.messages, found.messages, strict=False)):
        if old.content != new.content:
            return Place(number, *_changed(old.content, new.content), "would be mended")
        if old.context != new.context:
            return Place(number, *_changed(old.context or "", new.context or ""), "would be mended", in_context=True)
    return Place(len(found.messages), what="would be cut off from here")


def _sign(rule: Rule, conversation: Conversation, what: str) -> Place:
    """The first place that makes the rule drop the conversation, where it names its patterns; else the beginning."""
    for number, text, in_context in texts(conversation):
        for pattern in rule.signs:
            found = pattern.search(text)
            if found:
                return Place(number, found.start(), found.end(), what, in_context)
    return Place(0, what=what)


def _changed(old: str, new: str) -> tuple[int, int]:
    """Beginning and end of the part of `old` that is not in `new`."""
    shorter = min(len(old), len(new))
    start = next((index for index in range(shorter) if old[index] != new[index]), shorter)
    same = next((index for index in range(shorter - start) if old[-1 - index] != new[-1 - index]), shorter - start)
    return start, len(old) - same


def lint(conversations: Iterable[Conversation], rules: Iterable[LintRule]) -> Iterator[Finding]:
    """Findings in file order, at most one for each record and rule: the first place."""
    rules = tuple(rules)
    for record, conversation in enumerate(conversations, start=1):
        for rule in rules:
            place = rule.find(conversation)
            if place is not None:
                yield _finding(rule, conversation, record, place)


def _finding(rule: LintRule, conversation: Conversation, record: int, place: Place) -> Finding:
    message = conversation.messages[place.message]
    text = (message.context or "") if place.in_context else message.content
    start, end = place.start, place.end
    if start == end:  # nothing in particular: what is asked and answered
        parts = [text[:_AROUND_CHARACTERS] for _, text, _ in islice(texts(conversation), 3)]
        before, marked, after = "", "", " | ".join(parts)
    else:
        before = text[max(start - _AROUND_CHARACTERS, 0) : start]
        marked = text[start : min(end, start + _MARKED_CHARACTERS)]
        after = text[start + len(marked) : start + len(marked) + _AROUND_CHARACTERS]
    identity, *evidence = map(_writable, (conversation.id, place.what, before, marked, after))
    return Finding(
        rule.name, rule.severity, _writable(conversation.dataset), identity, record, place.message, *evidence
    )


def _writable(text: str) -> str:
    """The text with half surrogate pairs, which UTF-8 cannot hold, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def lint_file(
    path: Path, rules: Sequence[LintRule], *, examples: int = EXAMPLES, out: Path | None = None, overwrite: bool = False
) -> LintReport:
    """What `rules` find in a conversation file, with the first `examples` findings of each; streams.

    `out` gets every finding as JSON Lines. Raises UserError for a line that is no conversation, naming
    it, for a file without any, and for an `out` that exists or is the file itself.
    """
    if out is not None:
        if out.resolve() == path.resolve():
            raise UserError(f"{out} would replace its own input", "choose another --out")
        check_output_file(out, overwrite)
    report = LintReport(counts=Counter({rule.name: 0 for rule in rules}), examples={rule.name: [] for rule in rules})
    with ExitStack() as stack:
        file = stack.enter_context(atomic_file(out)) if out is not None else None
        advance = stack.enter_context(progress(f"linting {path.name}", None))

        def counted() -> Iterator[Conversation]:
            for conversation in read_conversations(path):
                report.records += 1
                if report.records % _ADVANCE_EVERY == 0:
                    advance(_ADVANCE_EVERY)
                yield conversation

        for finding in lint(counted(), rules):
            report.counts[finding.rule] += 1
            if report.counts[finding.rule] <= examples:
                report.examples[finding.rule].append(finding)
            if file is not None:
                file.write(json.dumps(asdict(finding), ensure_ascii=False) + "\n")
        if not report.records:
            raise UserError(f"{path} holds no conversations", "`packtrain data prepare` makes conversation files")
    return report
