"""The part of bench/gpu.py that runs in a process of its own: measures sections, and notes each measurement at once.

python bench/gpu_worker.py WORK SECTION=DEADLINE ...
"""

import json
import math
import os
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = {
    "environment": "gpu_machine",
    "self_test": "gpu_attention",
    "equality": "gpu_equality",
    "main": "gpu_speed",
    "memory": "gpu_speed",
    "trainer": "gpu_peers",
    "trl": "gpu_peers",
    "tests": "gpu_machine",
}
NOT_TINY = (
    *("opt", "neox", "llama, float32", "heads of 1", "heads of 2", "heads of 8", "own ", "resumed, float32"),
    *("lora", "dora", "qlora", "32k", "8k, ", "1.3b", "160m, 8192, bfloat16", "7b, 8", "7b, 16"),
)
"""What a trial with tiny models leaves out, because it would only repeat what others show."""
LONGEST_ERROR = 1500
"""Characters of an error's end that are kept."""
NO_GPU = 3
"""The status of a process that finds no GPU."""
Record = dict[str, Any]


def items_of(section: str, tiny: bool) -> dict[str, Any]:
    """The measurements of a section by name: functions of a Setting that return figures."""
    items: dict[str, Any] = getattr(import_module(MODULES[section]), f"{section}_items")()
    return {name: one for name, one in items.items() if not (tiny and name.startswith(NOT_TINY))}


def records_in(path: Path) -> dict[str, Record]:
    """The newest record of each measurement."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found: dict[str, Record] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # half written when its process was ended
            continue
        found[record["name"]] = record
    return found


def plain(value: Any) -> Any:
    """The same without numbers that JSON has not, which become text."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def worker(work: Path, deadlines: dict[str, float]) -> None:
    """Measure in this process what is not measured yet; each record is a line of the file of records."""
    import torch
    from gpu_setup import Setting, free

    arguments = json.loads((work / "arguments.json").read_text(encoding="utf-8"))
    device = torch.device(arguments["device"])
    path = work / "records.jsonl"
    done = records_in(path)
    given = {name: Path(arguments[name]) for name in ("rows", "tokenizer") if arguments[name]}
    if device.type == "cuda":
        if torch.cuda.device_count() <= (device.index or 0):
            sys.exit(NO_GPU)
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
    for section, deadline in deadlines.items():
        setting = Setting(device, work, arguments["tiny"], deadline=deadline, done=done, **given)
        try:
            items = items_of(section, setting.tiny)
        except Exception:
            note(
                path, {"name": f"{section}.start", "status": "failed", "error": traceback.format_exc()[-LONGEST_ERROR:]}
            )
            continue
        for item, measure in items.items():
            name = f"{section}.{item}"
            if name in done:
                continue
            note(path, {"name": name, "status": "under way"})
            free(device)
            done[name] = _measured(name, measure, setting)
            free(device)
            note(path, done[name])
            if _broken(torch, device):
                os._exit(9)  # nothing on this device works in this process any more


def _measured(name: str, measure: Any, setting: Any) -> Record:
    """The record of one measurement, whatever befalls it."""
    import torch
    from gpu_setup import LeftOut, peak_gb

    begun = time.time()
    held = torch.cuda.memory_allocated() / 1e9 if setting.on_gpu else None
    record: Record = {"name": name}
    try:
        setting.needs(2)
        record |= {"status": "ok", **measure(setting)}
    except LeftOut as reason:
        record |= {"status": "left out", "reason": str(reason)}
    except torch.OutOfMemoryError as error:
        record |= {"status": "out of memory", "error": str(error)[:400]}
    except Exception as error:
        told = f"{error}\n{getattr(error, 'hint', '')}\n{traceback.format_exc()[-LONGEST_ERROR:]}"
        record |= {"status": "failed", "error": told.strip()}
    return record | {"item_s": time.time() - begun, "held_before_gb": held, "item_peak_gb": peak_gb(setting.device)}


def _broken(torch: Any, device: Any) -> bool:
    """Whether the device answers no more, as after an assertion in a kernel."""
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError:
        return True
    return False


def note(path: Path, record: Record) -> None:
    """Append a record."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(plain(record)) + "\n")


if __name__ == "__main__":
    pairs = (text.partition("=") for text in sys.argv[2:])
    worker(Path(sys.argv[1]), {name: float(deadline) for name, _, deadline in pairs})
