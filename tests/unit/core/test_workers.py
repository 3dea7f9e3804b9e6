"""Worker processes: results in order, errors whole, and an end without noise however they end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from packtrain.core.errors import UserError
from packtrain.core.workers import workers


def square(number: int) -> int:
    if number == 7:
        raise UserError("seven", "take eight")
    if number == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_order_and_pieces_are_taken_when_needed(processes: int) -> None:
    taken = []

    def pieces() -> Iterator[int]:
        for number in range(100, 200):
            taken.append(number)
            yield number

    with workers(processes) as pool:
        results = pool.map(square, pieces())
        assert next(results) == 10_000
        assert len(taken) <= 1 + 3 * processes
        assert list(results) == [number * number for number in range(101, 200)]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_whole(processes: int) -> None:
    with pytest.raises(UserError) as raised, workers(processes) as pool:
        list(pool.map(square, range(5, 9)))
    assert (raised.value.message, raised.value.hint) == ("seven", "take eight")


def test_a_killed_process_is_told_with_what_to_do() -> None:
    with pytest.raises(UserError, match="a worker process was killed") as raised, workers(2) as pool:
        list(pool.map(square, [9] * 20))
    assert "memory" in raised.value.hint


BUSY = """
import time
from packtrain.cli.main import end
from packtrain.core.workers import workers

def slow(number):
    print(number, flush=True)
    time.sleep(0.3)

def run():
    with workers(2) as pool:
        list(pool.map(slow, range(1000)))

end(run, debug=False)
"""


@pytest.mark.parametrize("times", [1, 5])
def test_ctrl_c_ends_all_processes_without_noise(times: int) -> None:
    arguments = [sys.executable, "-c", BUSY]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.02)
        _, said = process.communicate(timeout=30)  # ends when the last process has closed them
    assert process.returncode == 130
    assert [line.partition(":")[0] for line in said.splitlines()] == ["error", "hint"]


def test_workers_end_with_a_parent_that_is_killed() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate(timeout=30)  # ends when the last process has closed it
    assert process.returncode == -signal.SIGKILL
