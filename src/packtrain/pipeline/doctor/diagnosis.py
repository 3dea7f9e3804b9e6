"""What `packtrain doctor` says: of the installation, of a recipe, of a model and training data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from packtrain.core.engine import split_engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.pipeline.doctor.checks import installation_findings, recipe_findings
from packtrain.pipeline.doctor.model import model_findings
from packtrain.pipeline.doctor.wanted import Wanted, here, load_recipe_here
from packtrain.train.doctor_checks import Finding

AFTER_DATA = ("train", "diff", "recover", "evaluate", "card")
"""The stages that are to be done when the training data are given."""


@dataclass(frozen=True)
class Part:
    """The findings about one thing."""

    name: Literal["installation", "recipe", "model"]
    of: str
    """The recipe's name, the model as it was given; "" for the installation."""
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Diagnosis:
    """All findings, part by part."""

    parts: Sequence[Part]
    recipe: str | None
    model: str | None
    """The folder that was looked at; None when there is none on this machine."""

    def count(self, severity: str) -> int:
        """How many findings there are of that severity."""
        return sum(one.severity == severity for part in self.parts for one in part.findings)

    def as_json(self) -> dict[str, Any]:
        """The diagnosis as plain JSON values; its keys stay."""
        found = [{"part": part.name, **asdict(one)} for part in self.parts for one in part.findings]
        keys = ("part", "severity", "check", "what", "where", "mend")
        return {
            "recipe": self.recipe,
            "model": self.model,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "findings": [{key: finding[key] for key in keys} for finding in found],
        }


@dataclass(frozen=True)
class Asked:
    """What the doctor is asked to look at."""

    model: str | None = None
    """A model folder or Hub id; with a recipe the base that it is to train."""
    recipe: str | None = None
    """A shipped name or a YAML file."""
    overrides: Sequence[str] = ()
    """`KEY=VALUE` of the recipe and of the engine."""
    data: Path | None = None
    template: str | None = None
    out: Path | None = None


def diagnose_all(asked: Asked) -> Diagnosis:
    """What is to be said of what was asked for; with neither model nor recipe of the installation alone.

    A recipe whose base is not on this machine gets all findings but those about the base. UserError for a recipe that
    cannot be read, a model that was named and is not there, and data that are not there.
    """
    if asked.recipe is None and asked.model is None:
        if asked.data or asked.template or asked.out:
            raise UserError("nothing to look at", "give a model folder, or --recipe NAME")
        return Diagnosis([Part("installation", "", installation_findings())], None, None)
    file = _data_file(asked.data)
    if asked.recipe is None:
        from packtrain.weights.source import model_folder

        folder = model_folder(asked.model or "")
        part = Part("model", asked.model or "", _of_model(folder, None, asked, file))
        return Diagnosis([part], None, str(folder))
    recipe, wanted = _wanted(asked)
    stages = None if file is None else AFTER_DATA
    parts = [
        Part("installation", "", installation_findings()),
        Part("recipe", recipe.name, recipe_findings(wanted, stages)),
    ]
    if wanted.base is not None:
        findings = _of_model(wanted.base, recipe, asked, file)
        parts.append(Part("model", recipe.base.path, findings))
    return Diagnosis(parts, recipe.name, None if wanted.base is None else str(wanted.base))


def _wanted(asked: Asked) -> tuple[Recipe, Wanted]:
    """The recipe with its overrides, and what is known of the way in which it will be run."""
    engine, overrides = split_engine(asked.overrides)
    if asked.model is not None:
        from packtrain.weights.source import model_folder

        model_folder(asked.model)  # named on purpose: fetched when it is an id of the Hub
        overrides.append(f"base.path={asked.model}")
    recipe = load_recipe_here(asked.recipe or "", overrides)
    return recipe, Wanted(recipe, here(recipe.base.path), engine)


def _data_file(data: Path | None) -> Path | None:
    """The file of a data folder; UserError when there is none."""
    file = data / "train.jsonl" if data is not None and data.is_dir() else data
    if file is not None and not file.is_file():
        raise UserError(f"no training data at {file}", "make it with: packtrain data prepare")
    return file


def _of_model(folder: Path, recipe: Recipe | None, asked: Asked, file: Path | None) -> list[Finding]:
    return model_findings(folder, recipe, template=asked.template, data=file, out=asked.out)
