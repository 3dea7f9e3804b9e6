"""Where packtrain keeps what it can make again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$PACKTRAIN_CACHE`, else `packtrain` in `$XDG_CACHE_HOME` or `~/.cache`; may not exist yet."""
    given = os.environ.get("PACKTRAIN_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "packtrain"
