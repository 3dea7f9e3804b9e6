"""Finds conversations that cannot be learnt from: empty turns, roles that do not alternate, control tokens ..."""

from packtrain.core.conversation import Conversation
from packtrain.data.checks import reason_to_drop
from packtrain.data.lint_rules import Place, Severity

SEVERITY: Severity = "error"
MEND = "`packtrain data prepare` drops them and counts the reasons"


def find(conversation: Conversation) -> Place | None:
    """The first message, with the reason."""
    reason = reason_to_drop(conversation)
    return Place(0, what=reason) if reason else None
