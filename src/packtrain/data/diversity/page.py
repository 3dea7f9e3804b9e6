"""The diversity of instructions as one page of HTML that explains itself: no network, no other file.

The page's own script draws it. Words and instructions of the data are only ever values: they stand in a block of JSON
that is no script, and reach the page as text. A policy in the page names the script by its hash, so that a browser runs
nothing else.
"""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Any

from packtrain.data.diversity.colours import ink_on, wheel
from packtrain.data.diversity.count import DiversityReport

_OBJECTS_OF_ONE_VERB = 24
"""Objects that are shown when a reader looks at one verb; all others are one slice."""


def page(report: DiversityReport, name: str, *, verbs: int = 20, objects: int = 4) -> str:
    """The page as text; `name` is what was counted. The same report gives the same text."""
    from jinja2 import Environment

    folder = files("packtrain.data.diversity")
    script = (folder / "page.js").read_text(encoding="utf-8")
    template = (folder / "page.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    top = report.top(verbs, objects)
    return environment.from_string(template).render(
        name=name,
        report=report,
        top=top,
        most=max((len(verb.objects) for verb in top), default=0),
        shown=sum(verb.shown for verb in top),
        data=_data(report, verbs, objects),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )


def _data(report: DiversityReport, verbs: int, objects: int) -> dict[str, Any]:
    """What the script draws."""
    top = report.top(verbs, max(objects, _OBJECTS_OF_ONE_VERB))
    return {
        "instructions": report.instructions,
        "objects": objects,
        "verbs": [
            {
                "verb": verb.verb,
                "count": verb.count,
                "different": len(all_of_it.objects),
                "colour": colour,
                "ink": ink_on(colour),
                "objects": [
                    {"object": each.object, "count": each.count, "examples": list(each.examples)}
                    for each in verb.objects
                ],
            }
            for verb, all_of_it, colour in zip(top, report.verbs, wheel(len(top)), strict=False)
        ],
    }
