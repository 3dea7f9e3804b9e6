"""Finds environment variables that change what happens and are easily forgotten: offline modes, proxies, old names.

No value of a variable that may hold an address or a key is told.
"""

import os
from collections.abc import Iterator

from huggingface_hub.constants import ENV_VARS_TRUE_VALUES

from packtrain.train.doctor_checks import Finding, fine, warning

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
"""Clients read them in small letters, too."""
OLD = {
    "TRANSFORMERS_CACHE": "transformers 5 does not read it: set HF_HOME, or HF_HUB_CACHE",
    "OPENAI_API_BASE": "the client does not read it since its version 1: set OPENAI_BASE_URL",
    "HF_HUB_ENABLE_HF_TRANSFER": "huggingface_hub 1 does not use it any more: unset it",
}
"""Names that were read once, and what to do about them."""
LAUNCHERS = ("WORLD_SIZE", "RANK", "LOCAL_RANK")


def check() -> Iterator[Finding]:
    """A warning for each that is set; one finding when none is."""
    found = list(_surprises())
    yield from found or [fine("no environment variable that surprises: offline modes, proxies, old names, launchers")]


def _surprises() -> Iterator[Finding]:
    there = {name for name, value in os.environ.items() if value.strip()}
    for name in OFFLINE:
        if os.environ.get(name, "").upper() in ENV_VARS_TRUE_VALUES:
            mend = f"unset {name}, unless what is needed is in the Hub's cache"
            yield warning("nothing is fetched from the Hub", f"{name}={os.environ[name]}", mend)
    proxies = [name for name in PROXIES if {name, name.lower()} & there]
    if proxies:
        what = "requests to the Hub and to models go through a proxy"
        mend = "when a server on this machine or network does not answer, name it in NO_PROXY"
        yield warning(what, ", ".join(proxies), mend)
    if "HF_ENDPOINT" in there:
        mend = "unset it to fetch from huggingface.co"
        yield warning("models and data come from another place than huggingface.co", "HF_ENDPOINT", mend)
    for name in sorted(OLD.keys() & there):
        yield warning(f"{name} is set and has no effect", name, OLD[name])
    left = [name for name in LAUNCHERS if name in there]
    if left:
        mend = f"unset {' '.join(left)}, unless a launcher such as torchrun started this"
        yield warning("packtrain takes itself for one process of several", ", ".join(left), mend)
