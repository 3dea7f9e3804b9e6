"""`packtrain env`: what to put into a bug report."""

from typing import Any

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, print_json

EXAMPLE = examples(
    "packtrain env",
    "packtrain env --json",
)


def env(as_json: Json = False) -> None:
    """Print versions, processor, GPUs, memory, disk and extras, for a bug report: no keys, no tokens, no paths."""
    from packtrain.pipeline.environment import environment

    found = environment()
    if as_json:
        print_json(found)
        return
    rows = _rows(found)
    width = max(len(name) for name, _ in rows)
    for name, figure in rows:
        print(f"{name:{width}}  {figure}")


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    system, processor, memory, torch = (found[key] for key in ("system", "processor", "memory", "torch"))
    cores = f"{processor['usable_cores']} of {processor['cores']} cores"
    return [
        ("packtrain", found["packtrain"] or "not installed (a source tree)"),
        ("python", found["python"]),
        ("system", ", ".join(each for each in system.values() if each)),
        ("processor", f"{processor['name']}, {cores}, {' '.join(processor['features']) or 'no known features'}"),
        ("memory", f"{_gb(memory['total_bytes'])}, available {_gb(memory['available_bytes'])}"),
        *((f"disk: {name}", f"{_gb(free)} free") for name, free in found["disk_free_bytes"].items()),
        *_torch_rows(torch),
        ("packages", _versions(found["packages"], "unknown, packtrain is not installed")),
        *((f"extra {extra}", _versions(packages, "needs no package")) for extra, packages in found["extras"].items()),
        ("programs", ", ".join(f"{name}{'' if there else ' (no)'}" for name, there in found["programs"].items())),
        ("loops of exact diffs", {True: "compiled", False: "NumPy", None: "unknown"}[found["compiled_diff_loops"]]),
        ("settings", " ".join(f"{name}={value}" for name, value in found["settings"].items()) or "none"),
        ("set, not shown", ", ".join(found["set"]) or "none"),
    ]


def _torch_rows(torch: dict[str, Any]) -> list[tuple[str, str]]:
    if "error" in torch:
        return [("torch", f"cannot be imported: {torch['error']}")]
    kind = f"CUDA {torch['cuda']}" if torch["cuda"] else "without CUDA"
    rows = [("torch", f"{torch['version']}, {kind}, {torch['threads']} threads, {torch['cpu_capability']}")]
    if "driver" in torch:
        rows.append(("driver", torch["driver"]))
    for gpu in torch["gpus"]:
        free = f"{_gb(gpu['bytes'])}, {_gb(gpu['free_bytes'])} free"
        rows.append(("GPU", f"{gpu['name']}, capability {gpu['capability']}, {free}"))
    return rows if torch["gpus"] else [*rows, ("GPU", "none that torch finds")]


def _versions(packages: dict[str, str | None], without: str) -> str:
    return ", ".join(f"{name} {version or '(no)'}" for name, version in packages.items()) or without


def _gb(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"
