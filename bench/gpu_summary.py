"""The part of bench/gpu.py that says in a few lines what was found."""

from collections.abc import Mapping
from typing import Any

GOALS = {"mfu": 0.5, "recipe_minutes": 30.0}
Records = Mapping[str, Mapping[str, Any]]


def summary(records: Records) -> dict[str, Any]:
    """What matters of all records: what is exact and equal, our figure, and how it stands beside the peers'."""
    ours = _fastest(records, "main.")
    peers = {}
    for contender in ("trainer", "trl"):
        theirs = _fastest(records, f"{contender}.7b") or _fastest(records, f"{contender}.1.3b, 4")
        beside = ours if theirs and theirs["model"] == "7b" else records.get(f"{contender}.1.3b, ours")
        if theirs and beside and beside.get("tokens_per_s"):
            peers[contender] = _beside(beside, theirs)
    return {
        "device": records.get("environment.machine", {}).get("device"),
        "rows": records.get("environment.rows", {}).get("rows"),
        "exact": {_item(name): one["exact"] for name, one in records.items() if "exact" in one},
        "chosen": {_item(name): one["chosen"] for name, one in records.items() if "chosen" in one},
        "equal": {_item(name): one["equal"] for name, one in records.items() if "equal" in one},
        "fits_one_device": ours is not None,
        "best": {key: ours[key] for key in _BEST if key in ours} if ours else None,
        "goals": {"mfu": GOALS["mfu"], "recipe_minutes": GOALS["recipe_minutes"]},
        "peers": peers,
        "peak_by_plan": {_item(name): one["peak_by_plan"] for name, one in records.items() if one.get("peak_by_plan")},
        "trouble": {name: _trouble(one) for name, one in records.items() if one["status"] not in ("ok", "under way")},
    }


_BEST = (
    "try", "attention", "tokens_per_s", "mfu", "share_of_measured_matrix_speed", "recipe_minutes", "peak_gb",
    "planned_gb", "step_s",
)  # fmt: skip


def _fastest(records: Records, prefix: str) -> Mapping[str, Any] | None:
    """The record with most tokens per second among those whose names begin so; of ours the long run if there is one."""
    found = [one for name, one in records.items() if name.startswith(prefix) and one.get("tokens_per_s")]
    long = records.get("main.long", {})
    if prefix == "main." and long.get("tokens_per_s"):
        return long
    return max(found, key=lambda one: one["tokens_per_s"], default=None)


def _beside(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    both = ours.get("peak_gb") and theirs.get("peak_gb")
    return {
        "model": theirs["model"],
        "batch": theirs["batch"],
        "recomputed": theirs["recomputed"],
        "tokens_per_s": theirs["tokens_per_s"],
        "mfu": theirs.get("mfu"),
        "peak_gb": theirs.get("peak_gb"),
        "ours_times_as_fast": ours["tokens_per_s"] / theirs["tokens_per_s"],
        "our_peak_by_theirs": ours["peak_gb"] / theirs["peak_gb"] if both else None,
    }


def _item(name: str) -> str:
    return name.partition(".")[2]


def _trouble(record: Mapping[str, Any]) -> str:
    told = str(record.get("reason") or record.get("error") or "").strip().splitlines()
    return f"{record['status']}: {told[0][:200] if told else ''}"


def told(found: Mapping[str, Any]) -> list[str]:
    """The summary as lines."""
    short = found["summary"]
    lines = [f"{short['device']}, rows: {short['rows']}, {found.get('finished_after_s', 0):.0f} s"]
    lines += [
        f"exact, {name}: {', '.join(names)}; chosen: {short['chosen'][name]}" for name, names in short["exact"].items()
    ]
    wrong = [name for name, equal in short["equal"].items() if not equal]
    lines.append(f"equal: {len(short['equal']) - len(wrong)} of {len(short['equal'])}{_named(wrong)}")
    best = short["best"]
    if best:
        lines.append(
            f"LLaMA-7B: {best['tokens_per_s']:,.0f} tokens/s, MFU {_percent(best['mfu'])} (goal 50 %), recipe "
            f"{_number(best['recipe_minutes'])} min (goal 30), peak {_number(best['peak_gb'])} GB, {best['try']}"
        )
    for name, one in short["peers"].items():
        lines.append(
            f"{name} ({one['model']}, batch {one['batch']}): {one['tokens_per_s']:,.0f} tokens/s, ours "
            f"{one['ours_times_as_fast']:.2f} times as fast; peak {_number(one['peak_gb'])} GB"
        )
    lines += [f"peak by plan, {name}: {ratio:.3f}" for name, ratio in short["peak_by_plan"].items()]
    return lines + [f"{name}: {what}" for name, what in short["trouble"].items()]


def _named(names: list[str]) -> str:
    return f" (not: {'; '.join(names)})" if names else ""


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"
