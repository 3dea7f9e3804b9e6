"""The plan of a whole recipe: all that `packtrain run` does and what is done by hand, around a planned training."""

from typing import Any

from packtrain.pipeline.judge import Judge
from packtrain.pipeline.recipe_plan.data_stages import plan_data, plan_generate
from packtrain.pipeline.recipe_plan.evaluation_stages import plan_evaluation
from packtrain.pipeline.recipe_plan.model_stages import plan_base, plan_card, plan_diff, plan_train
from packtrain.pipeline.recipe_plan.stage_plan import RecipePlan
from packtrain.train.plan.plan import Plan


def plan_whole(plan: Plan, config: Any, judge: Judge) -> RecipePlan:
    """Every stage of the recipe whose training is planned, in the order of pipeline/run.py; `config` is the base's.

    Nothing is loaded and nobody is asked. Where the recipe names no folder with benchmark files, evaluation is planned
    all the same, and says that it needs one.
    """
    recipe, workload = plan.setting.recipe, plan.setting.workload
    return RecipePlan(
        (
            plan_base(plan),
            plan_generate(recipe, recipe.generate),
            plan_data(recipe, workload),
            plan_train(plan),
            *plan_diff(plan),
            *plan_evaluation(plan, config, judge),
            plan_card(),
        )
    )
