"""Where packtrain keeps what it can make again."""

import os
from pathlib import Path

from packtrain.core.errors import UserError


def cache_folder() -> Path:
    """`$PACKTRAIN_CACHE`, else `packtrain` in `$XDG_CACHE_HOME` or `~/.cache`; may not exist yet.

    UserError when it is to be in the home of a user who has none, as in some containers.
    """
    given = os.environ.get("PACKTRAIN_CACHE")
    place = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "packtrain"
    try:
        return place.expanduser()
    except RuntimeError as error:
        raise UserError(
            f"there is no home folder to cache in: {place}", "name a folder for it: PACKTRAIN_CACHE=FOLDER"
        ) from error
