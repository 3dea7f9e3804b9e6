"""Memory of the host as this process may use it: limits of control groups, such as a container's, count.

Their files are those of the kernel's admin guide: cgroup-v2.rst (`memory.max`, `memory.current`) and
cgroup-v1/memory.rst (`memory.limit_in_bytes`, `memory.usage_in_bytes`).
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SYSTEM = Path("/")


@dataclass(frozen=True, slots=True)
class _Version:
    """Where a version of control groups is mounted, and what it calls its figures."""

    mount: str
    controller: str
    """As `/proc/self/cgroup` names it."""
    limit: str
    usage: str
    droppable: str
    """In `memory.stat`: cached pages of files, not used lately, which the kernel drops before a limit is reached."""


_VERSIONS = (
    _Version("sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file"),
    _Version("sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def memory_of_host(system: Path = SYSTEM) -> int:
    """Bytes of memory that this process may use: the machine's, or those of a control group if that has fewer."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(limit for limit, _ in _limits(system))])


def free_memory_bytes(system: Path = SYSTEM) -> int:
    """What this process can still have of the host's memory, and of each control group's; caches give way in both."""
    return max(0, min([_available(system), *(limit - used for limit, used in _limits(system))]))


def _available(system: Path) -> int:
    """By the kernel's own estimate; where there is none, all memory of the machine."""
    stated = _fields(system / "proc/meminfo").get("MemAvailable:")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if stated is None else stated * 1024


def _limits(system: Path) -> Iterator[tuple[int, int]]:
    """Limit and usage in bytes of this process's control groups, of those around them as well, as far as they limit."""
    for version in _VERSIONS:
        mount = system / version.mount
        for folder in _folders(mount, _own_group(system, version)):
            limit = _number(folder / version.limit)
            if limit is not None:
                droppable = _fields(folder / "memory.stat").get(version.droppable, 0)
                yield limit, max(0, (_number(folder / version.usage) or 0) - droppable)


def _own_group(system: Path, version: _Version) -> str:
    """Path of the process's group below the mount, "" where none is told; a container may name it from outside."""
    for line in _text(system / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if version.controller in controllers.split(","):
            return path.strip("/")
    return ""


def _folders(mount: Path, group: str) -> list[Path]:
    """The group's folder and those around it, up to the mount itself."""
    inner = mount / group
    return [inner, *(folder for folder in inner.parents if folder.is_relative_to(mount))] if group else [mount]


def _number(path: Path) -> int | None:
    """None where there is no such file, and for `max`."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
