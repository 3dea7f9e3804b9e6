"""Memory is what control groups leave of it: a container of few gigabytes on a large host has few."""

import os
from pathlib import Path

import pytest

from packtrain.core.machine_memory import free_memory_bytes, memory_of_host

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MIB = 1 << 20
HOST = {"proc/meminfo": f"MemTotal: {1 << 28} kB\nMemFree: 1 kB\nMemAvailable: {1 << 27} kB\n"}
INSIDE = {
    "sys/fs/cgroup/memory.max": f"{64 * MIB}\n",
    "sys/fs/cgroup/memory.current": f"{40 * MIB}\n",
    "sys/fs/cgroup/memory.stat": f"anon 1\nfile {12 * MIB}\ninactive_file {10 * MIB}\nactive_file 5\n",
    "proc/self/cgroup": "0::/\n",
}
"""A container that sees its own group as the root."""
BELOW = {
    "sys/fs/cgroup/user.slice/memory.max": f"{64 * MIB}\n",
    "sys/fs/cgroup/user.slice/memory.current": f"{40 * MIB}\n",
    "sys/fs/cgroup/user.slice/mine.scope/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/mine.scope/memory.current": f"{MIB}\n",
    "proc/self/cgroup": "0::/user.slice/mine.scope\n",
}
"""A process whose limit is that of the group around its own."""
FIRST = {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{64 * MIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{40 * MIB}\n",
    "sys/fs/cgroup/memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {10 * MIB}\n",
    "proc/self/cgroup": "5:cpu:/\n4:hugetlb,memory:/docker/0123\n0::/\n",
}
"""Version 1, and a container whose group is named as the host names it."""


def system(folder: Path, files: dict[str, str]) -> Path:
    """A folder that holds these files as the root of a system does."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(("files", "free"), [(INSIDE, 34 * MIB), (BELOW, 24 * MIB), (FIRST, 34 * MIB)])
def test_a_control_group_leaves_its_limit_less_what_is_used(tmp_path: Path, files: dict[str, str], free: int) -> None:
    """Pages of files that can be dropped are not counted as used."""
    root = system(tmp_path, HOST | files)
    assert memory_of_host(root) == 64 * MIB
    assert free_memory_bytes(root) == free


def test_without_a_limit_it_is_the_machines(tmp_path: Path) -> None:
    no_limit = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}
    root = system(tmp_path, HOST | no_limit)
    assert memory_of_host(root) == PHYSICAL
    assert free_memory_bytes(root) == 1 << 37
    assert free_memory_bytes(tmp_path / "another system") == PHYSICAL


def test_more_used_than_there_is_leaves_nothing(tmp_path: Path) -> None:
    files = HOST | INSIDE | {"sys/fs/cgroup/memory.current": f"{80 * MIB}\n"}
    assert free_memory_bytes(system(tmp_path, files)) == 0


def test_of_this_machine_both_are_sensible() -> None:
    assert 1e7 < free_memory_bytes() <= memory_of_host() < 1e14
