"""Finds a machine on which model-written programs cannot be contained: `codex`, packtrain evaluate execute.

One harmless program is tried; whether the walls hold is tried by the evaluation itself, before it runs any other.
"""

from collections.abc import Iterator

from packtrain.train.doctor_checks import Finding, fine, warning

_START_S = 10.0


def check() -> Iterator[Finding]:
    """The first wall that a program can be run behind; a warning without one."""
    from packtrain.evaluate.sandbox.layers import bubblewrap, landlock
    from packtrain.evaluate.sandbox.program import Program
    from packtrain.evaluate.sandbox.trial import try_program

    harmless = Program("harmless", 0, "def one():\n    return 1\n", "def check(one):\n    assert one() == 1\n", "one")
    reasons = []
    for name, layer in (("bubblewrap", bubblewrap()), ("Landlock and user namespaces", landlock())):
        if layer is None:
            reasons.append(f"{name}: not there")
            continue
        verdict = try_program(harmless, layer, _START_S)
        if verdict.passed:
            yield fine(f"model-written programs run behind walls: {name}")
            return
        reasons.append(f"{name}: {verdict.detail or verdict.kind}")
    yield warning(
        "model-written programs (codex) cannot be contained here",
        "; ".join(reasons),
        "install bubblewrap (Debian, Ubuntu: apt install bubblewrap), or run them on another machine: "
        "packtrain evaluate execute",
    )
