"""Time of `packtrain --help`: median of ten runs, with that of an empty Python beside it in the same run.

python bench/startup.py
"""

import statistics
import subprocess
import sys
import time

RUNS = 10
BOUND_S = 0.3


def seconds_of(command: list[str]) -> float:
    """Wall time of one run of `command`."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Print both medians and whether the bound holds; exit status 1 when it does not."""
    python, command = [sys.executable, "-c", "pass"], [sys.executable, "-m", "packtrain", "--help"]
    seconds_of(command)
    pairs = [(seconds_of(python), seconds_of(command)) for _ in range(RUNS)]
    empty, help_text = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(f"python -c pass:      {empty:.3f} s (median of {RUNS})")
    print(f"packtrain --help:    {help_text:.3f} s (median of {RUNS}; bound {BOUND_S} s)")
    sys.exit(0 if help_text < BOUND_S else 1)


if __name__ == "__main__":
    main()
