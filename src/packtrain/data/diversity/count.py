"""How varied instructions are: which verbs they begin from, and what those verbs act upon.

The counts behind the figure of the Self-Instruct paper (arXiv 2212.10560, figure 3) and of Stanford Alpaca's README.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import Any

from packtrain.core.conversation import Conversation
from packtrain.core.progress import progress
from packtrain.data.diversity.parser import InstructionParser, Root

_EXAMPLE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ObjectCount:
    """A direct object of one verb."""

    object: str
    count: int
    """Instructions with this verb and this object."""
    examples: tuple[str, ...] = ()
    """The first few of them that differ, on one line each, cut after 200 characters."""


@dataclass(frozen=True, slots=True)
class VerbCount:
    """A root verb with its direct objects, the most frequent first, ties in the order of the alphabet."""

    verb: str
    count: int
    """Instructions with this verb and any object."""
    objects: tuple[ObjectCount, ...]

    @property
    def shown(self) -> int:
        """Instructions whose objects are among `objects`: all of them, or less after `DiversityReport.top`."""
        return sum(each.count for each in self.objects)


@dataclass(frozen=True, slots=True)
class DiversityReport:
    """Root verbs and direct objects of all instructions of a file."""

    parser: str
    """Who found them."""
    instructions: int
    """First user messages: all that follows is counted in them."""
    with_both: int
    """With a verb and a direct object."""
    verb_only: int
    """Such as `Explain why ...`, `Come up with ...` and most questions."""
    without_verb: int
    without_user_message: int
    """Conversations that are no instruction."""
    verbs: tuple[VerbCount, ...]
    """Those with an object, the most frequent first, ties in the order of the alphabet."""

    @property
    def pairs(self) -> int:
        """Different pairs of verb and object."""
        return sum(len(verb.objects) for verb in self.verbs)

    def top(self, verbs: int, objects: int) -> tuple[VerbCount, ...]:
        """The most frequent verbs, each with its most frequent objects."""
        return tuple(VerbCount(each.verb, each.count, each.objects[:objects]) for each in self.verbs[:verbs])

    def share(self, count: int) -> float:
        """A count as a part of all instructions, from 0 to 1."""
        return count / self.instructions if self.instructions else 0.0

    def figures(self, verbs: int, objects: int) -> dict[str, Any]:
        """The report for machines: totals, and the most frequent verbs and objects with their shares of all."""
        top = self.top(verbs, objects)
        return {
            "parser": self.parser,
            "instructions": self.instructions,
            "with_verb_and_object": self.with_both,
            "with_verb_only": self.verb_only,
            "without_verb": self.without_verb,
            "without_user_message": self.without_user_message,
            "different_verbs": len(self.verbs),
            "different_pairs": self.pairs,
            "shown": sum(verb.shown for verb in top),
            "share_shown": self.share(sum(verb.shown for verb in top)),
            "verbs": [
                {
                    "verb": verb.verb,
                    "count": verb.count,
                    "share": self.share(verb.count),
                    "objects": [
                        {"object": each.object, "count": each.count, "share": self.share(each.count)}
                        for each in verb.objects
                    ],
                }
                for verb in top
            ],
        }


def count_diversity(
    conversations: Iterable[Conversation], parser: InstructionParser, *, examples: int = 0
) -> DiversityReport:
    """Verbs and objects of the first user message of each conversation, in one pass.

    Memory grows with the number of different pairs, not with that of conversations; `examples` instructions at most
    are kept for each pair.
    """
    counts: Counter[Root] = Counter()
    kept: dict[Root, dict[str, None]] = {}
    skipped: list[str] = []
    with progress("parsing instructions", None) as advance:
        texts, to_parse = tee(_instructions(conversations, skipped))
        for text, root in zip(texts, parser.roots(to_parse), strict=True):
            advance()
            counts[root] += 1
            if examples and root.object is not None:
                found = kept.setdefault(root, {})
                if len(found) < examples:
                    found[_one_line(text)] = None
    both = {root: count for root, count in counts.items() if root.verb is not None and root.object is not None}
    total = sum(counts.values())
    with_both = sum(both.values())
    without_verb = sum(count for root, count in counts.items() if root.verb is None)
    return DiversityReport(
        parser=parser.name,
        instructions=total,
        with_both=with_both,
        verb_only=total - with_both - without_verb,
        without_verb=without_verb,
        without_user_message=len(skipped),
        verbs=_by_verb(both, kept),
    )


def _instructions(conversations: Iterable[Conversation], skipped: list[str]) -> Iterator[str]:
    """First user message of each conversation; what has none is noted in `skipped`."""
    for conversation in conversations:
        asked = next((message.content for message in conversation.messages if message.role == "user"), None)
        if asked is None:
            skipped.append(conversation.id)
        else:
            yield asked


def _one_line(text: str) -> str:
    line = " ".join(text[: 2 * _EXAMPLE_CHARACTERS].split())
    return line if len(line) <= _EXAMPLE_CHARACTERS else line[: _EXAMPLE_CHARACTERS - 1].rstrip() + "…"


def _by_verb(counts: dict[Root, int], kept: dict[Root, dict[str, None]]) -> tuple[VerbCount, ...]:
    objects: dict[str, list[ObjectCount]] = {}
    for root, count in counts.items():
        each = ObjectCount(root.object or "", count, tuple(kept.get(root, ())))
        objects.setdefault(root.verb or "", []).append(each)
    verbs = [
        VerbCount(verb, sum(each.count for each in found), tuple(sorted(found, key=lambda n: (-n.count, n.object))))
        for verb, found in objects.items()
    ]
    return tuple(sorted(verbs, key=lambda verb: (-verb.count, verb.verb)))
