"""The stages around the weights in a plan: the base that must be there, training, diff, recovery, card."""

from packtrain.diff.size_plan import DISK_BYTES_PER_S, DiffSizes, plan_sizes
from packtrain.pipeline.recipe_plan.stage_plan import StagePlan, left_out
from packtrain.train.plan.plan import Plan
from packtrain.weights.shard_jobs import MAX_WORKERS, worker_count

CARD_SECONDS = 2.0
"""`packtrain card alpaca-7b` on two cores."""


def plan_base(plan: Plan) -> StagePlan:
    """The base on disk: no stage, but something that takes room."""
    return StagePlan("base", "must be there", runs=False, seconds=0.0, disk_bytes=plan.disk.terms["base"])


def plan_train(plan: Plan) -> StagePlan:
    """The training that was planned, in a line; checkpoints go when it is done."""
    kind = plan.setting.hardware.kind
    kept = {name: size for name, size in plan.disk.terms.items() if name.startswith(("tuned model", "token cache"))}
    passing = sum(plan.disk.terms.values()) - sum(kept.values()) - plan.disk.terms["base"]
    machines = plan.setting.hardware.machines
    elsewhere = f"packtrain run starts torchrun on one machine; on {machines}: --launch (docs/training.md)"
    return StagePlan(
        "train",
        "yes",
        seconds=plan.time.seconds,
        memory_bytes=plan.memory.device_peak,
        memory_of="GPU" if kind == "gpu" else "host",
        fits=plan.fits_device and plan.fits_host,
        disk_bytes=sum(kept.values()),
        passing_disk_bytes=passing,
        notes=(elsewhere,) if machines > 1 else (),
    )


def plan_diff(plan: Plan) -> list[StagePlan]:
    """Making the diff, and recovering the model from it to see that it can be; nothing where the model itself goes."""
    release = plan.setting.recipe.release
    if release.form == "full":
        return [left_out(name, "no: the model itself is published") for name in ("diff", "recover")]
    form = release.diff_form
    threads = worker_count() if plan.setting.hardware.kind == "cpu" else MAX_WORKERS
    sizes = plan_sizes(plan.shape.weights, plan.disk.terms["base"], release.dtype, form, threads)
    speed = f"{threads} threads as fast as measured ones, {DISK_BYTES_PER_S / 1e9:g} GB/s of disk assumed"
    share = f"{form} diff of {release.dtype}, {100 * sizes.diff_bytes / sizes.tuned_bytes:.0f} % of the tuned model"
    return [
        _diff_stage("diff", sizes.make_seconds, sizes.diff_bytes, sizes, f"{share}; {speed}"),
        _diff_stage("recover", sizes.recover_seconds, sizes.tuned_bytes, sizes, "compared with the tuned model"),
    ]


def _diff_stage(name: str, seconds: float, disk: int, sizes: DiffSizes, note: str) -> StagePlan:
    return StagePlan(name, "yes", seconds=seconds, memory_bytes=sizes.peak_bytes, disk_bytes=disk, notes=(note,))


def plan_card() -> StagePlan:
    """The model card."""
    return StagePlan("card", "yes", seconds=CARD_SECONDS)
