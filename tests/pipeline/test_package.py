"""The package as users get it: wheel and source archive, built offline, installed into an empty environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ("src", "compat", "docs", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
LIBRARY = "packtrain/diff/_kernels.so"
EXTRAS = {
    "web",
    "vllm",
    "deepspeed",
    "lora",
    "quant",
    "parser",
    "language",
    "plot",
    "tensorboard",
    "wandb",
    "docs",
    "test",
}
EARLIER_EXTRAS = {"qlora", "spacy", "dev"}


@dataclass(frozen=True)
class Built:
    """What a build made of a copy of the repository."""

    tree: Path
    wheel: Path
    sdist: Path

    def wheel_files(self) -> dict[str, bytes]:
        with zipfile.ZipFile(self.wheel) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}

    def sdist_files(self) -> dict[str, bytes]:
        with tarfile.open(self.sdist) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            return {member.name.partition("/")[2]: _content(archive, member) for member in members}

    def metadata(self) -> Message:
        files = self.wheel_files()
        return Parser().parsestr(files[next(name for name in files if name.endswith(".dist-info/METADATA"))].decode())


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def build(tree: Path, out: Path, *targets: str, **environment: str) -> None:
    """What `pip` and `build` do with hatchling, without fetching it."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    for target in targets:
        command += ["-t", target]
    done = subprocess.run(
        command, cwd=tree, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def copy_of_the_repository(place: Path) -> Path:
    place.mkdir()
    leave_out = shutil.ignore_patterns("__pycache__", "*.so", "*.pyc")
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, place / part, ignore=leave_out)
        else:
            shutil.copy(source, place / part)
    return place


def source_files(tree: Path) -> dict[str, bytes]:
    """Every file of the package, code and data, by its name in a wheel."""
    root = tree / "src"
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found if path.name != "_kernels.so"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Wheel and source archive of this tree."""
    place = tmp_path_factory.mktemp("package")
    tree, out = copy_of_the_repository(place / "tree"), place / "dist"
    build(tree, out, "sdist", "wheel")
    return Built(tree, next(out.glob("*.whl")), next(out.glob("*.tar.gz")))


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: Built) -> None:
    files = built.wheel_files()
    expected = source_files(built.tree)
    packed = {name: content for name, content in files.items() if ".dist-info/" not in name and name != LIBRARY}
    assert sorted(packed) == sorted(expected)
    assert packed == expected
    for kind in (
        ".yaml",
        ".jinja",
        ".txt",
        ".jsonl",
        ".json",
        ".safetensors",
        ".html",
        ".css",
        ".js",
        ".sql",
        ".bib",
        ".c",
    ):
        assert any(name.endswith(kind) for name in packed), kind


def test_the_wheel_is_for_this_platform_when_there_is_a_compiler(built: Built) -> None:
    compiler = shutil.which("cc") is not None
    assert (LIBRARY in built.wheel_files()) == compiler
    platform = re.sub(r"\W", "_", sysconfig.get_platform()) if compiler else "any"
    assert built.wheel.name.endswith(f"-py3-none-{platform}.whl"), "one wheel for every Python"


def test_a_wheel_of_the_source_archive_is_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    tree = next(path for path in tmp_path.iterdir() if path.is_dir())
    build(tree, tmp_path / "dist", "wheel")
    again = Built(tree, next((tmp_path / "dist").glob("*.whl")), built.sdist)
    assert again.wheel.name == built.wheel.name
    left, right = again.wheel_files(), built.wheel_files()
    assert sorted(left) == sorted(right)
    assert [name for name in left if left[name] != right[name]] in ([], [LIBRARY])
    names = set(built.sdist_files())
    assert {"PKG-INFO", "LICENSE", "README.md", "pyproject.toml", "hatch_build.py"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name.startswith(".git/")]


def test_without_a_compiler_the_wheel_is_for_every_platform(built: Built, tmp_path: Path) -> None:
    tree = copy_of_the_repository(tmp_path / "tree")
    build(tree, tmp_path / "dist", "wheel", CC="/nowhere/cc")
    wheel = next((tmp_path / "dist").glob("*.whl"))
    assert wheel.name.endswith("-py3-none-any.whl")
    files = Built(tree, wheel, built.sdist).wheel_files()
    assert LIBRARY not in files
    assert set(built.wheel_files()) - set(files) <= {LIBRARY} | {
        name for name in built.wheel_files() if "dist-info" in name
    }


def test_the_metadata_say_what_is_needed(built: Built) -> None:
    metadata = built.metadata()
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert extras == EXTRAS | EARLIER_EXTRAS
    assert (metadata["Name"], metadata["License-Expression"], metadata["License-File"]) == (
        "packtrain",
        "Apache-2.0",
        "LICENSE",
    )
    assert metadata["Requires-Python"] == ">=3.11"
    classifiers = metadata.get_all("Classifier") or []
    assert [each for each in classifiers if "Python :: 3." in each] == [
        f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)
    ]


def test_extras_bring_what_a_missing_one_is_named_for(built: Built) -> None:
    from packtrain.core.extras import EXTRAS as KNOWN

    brought: dict[str, set[str]] = {}
    for line in built.metadata().get_all("Requires-Dist") or []:
        found = re.fullmatch(r"([\w.-]+)[^;]*; extra == '([\w-]+)'", line)
        if found is not None:
            brought.setdefault(found[2], set()).add(found[1].replace("-", "_"))
    assert {extra: brought.get(extra, set()) for extra in KNOWN} == {
        extra: set(packages) for extra, packages in KNOWN.items()
    }
    assert (brought["qlora"], brought["spacy"]) == (brought["quant"], brought["parser"])  # earlier names


# Installed


class Installed:
    """An environment that holds the wheel alone, and sees the libraries of this one."""

    def __init__(self, wheel: Path, place: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
        self.python = place / "bin" / "python"
        self.command = place / "bin" / "packtrain"
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
        site = next((place / "lib").glob("python*/site-packages"))
        (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.place = place
        self.elsewhere = place / "elsewhere"
        self.elsewhere.mkdir()

    def __call__(self, *command: object) -> str:
        """What a command prints, run in an empty folder with none of this repository on the path."""
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.elsewhere,
            env={**environment, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, installed."""
    return Installed(built.wheel, tmp_path_factory.mktemp("installed") / "environment")


def test_the_installed_command_is_the_wheels(installed: Installed, built: Built) -> None:
    where = installed(installed.python, "-c", "import packtrain; print(packtrain.__file__)").strip()
    assert Path(where).is_relative_to(installed.place)
    assert installed(installed.command, "--version") == f"packtrain {built.metadata()['Version']}\n"
    assert "packtrain demo" in installed(installed.command, "--help")
    assert "--work" in installed(installed.command, "demo", "--help")


def test_everything_that_has_a_name_is_there_when_installed(installed: Installed, packtrain: Any) -> None:
    listed = json.loads(installed(installed.command, "ls", "--json"))
    assert listed == json.loads(packtrain("ls", "--json").stdout)
    assert len(listed) >= 12


DATA = """
import json
from importlib.resources import files
from packtrain.card.known import citations, read
from packtrain.core.recipe_file import load_recipe, recipe_names
from packtrain.generate.presets import load_preset
from packtrain.prompts.template import load_template
from packtrain.weights.source import model_folder

found = {
    "recipes": [load_recipe(name).name for name in recipe_names()],
    "citations": len(citations()) > 5,
    "licences": len(read("licences")) > 5,
    "assets": len((files("packtrain.evaluate.own_assets") / "gsm_exemplars.json").read_bytes()) > 1000,
    "seeds": load_preset("alpaca").seeds.is_file(),
    "demo base": sorted(path.name for path in model_folder("packtrain:demo_base").iterdir()),
    "tulu": load_template("tulu").name,
    "page": (files("packtrain.evaluate.human") / "schema.sql").is_file(),
}
print(json.dumps(found))
"""


def test_the_data_of_every_stage_are_read_from_the_wheel(installed: Installed) -> None:
    found = json.loads(installed(installed.python, "-c", DATA))
    assert "tulu-65b" in found.pop("recipes")
    assert "model.safetensors" in found.pop("demo base")
    assert found == dict.fromkeys(("citations", "licences", "assets", "seeds", "page"), True) | {"tulu": "tulu"}


DEMO = """
import json, sys
from pathlib import Path
from packtrain.core.recipe_file import load_recipe
from packtrain.pipeline.demo import world_teacher
from packtrain.pipeline.run import stages_of
from packtrain.pipeline.stages import run_stages

changes = ["generate.count=24", "train.max_steps=2", "train.global_batch_size=8", "evaluate.columns=[]"]
recipe = load_recipe("demo", changes)
work = Path("work")
results = run_stages(stages_of(recipe, work, world_teacher()), work, recipe.name)
print(json.dumps([[result.name, result.done] for result in results]))
"""


def test_the_demos_stages_run_from_the_wheel(installed: Installed) -> None:
    """Generation to card, offline; the demo itself, at its full length, is `tests/pipeline/test_demo.py`."""
    results = dict(json.loads(installed(installed.python, "-c", DEMO).splitlines()[-1]))
    assert results == dict.fromkeys(("generate", "data", "train", "diff", "recover", "card"), True)
    card = (installed.elsewhere / "work" / "card" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    dry = installed(installed.command, "push", "work/diff", "--repo", "org/demo", "--json")
    assert json.loads(dry)["tensors_checked"] is True


def test_a_report_of_the_environment_names_the_installed_version(installed: Installed, built: Built) -> None:
    found = json.loads(installed(installed.command, "env", "--json"))
    assert found["packtrain"] == built.metadata()["Version"]
    assert found["compiled_diff_loops"] == (LIBRARY in built.wheel_files())
    assert found["packages"]["torch"]
