"""The `packtrain` command: finds the verb, and turns every failure into two lines and an exit status."""

import errno
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from packtrain import __version__
from packtrain.cli import (
    card,
    chat,
    convert,
    data,
    demo,
    diff,
    doctor,
    env,
    evaluate,
    generate,
    plan,
    plot,
    push,
    recipes,
    run,
    train,
)
from packtrain.cli.examples import examples
from packtrain.core import once
from packtrain.core.errors import UserError
from packtrain.core.interrupt import one_interrupt_at_a_time

app = typer.Typer(
    name="packtrain",
    help="Generate, prepare, fine-tune, publish as a weight diff, recover, chat, evaluate, write the card.",
    epilog=examples("packtrain demo") + "\n\nTracebacks: --debug. Every verb has --help with an example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"packtrain {__version__}")
        raise typer.Exit


@app.callback()
def before_any_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before the verb."""


app.command("demo", epilog=demo.EXAMPLE)(demo.demo)
app.command("run", epilog=run.EXAMPLE)(run.run)
app.add_typer(generate.app, name="generate")
app.add_typer(data.app, name="data")
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)
app.command("plan", epilog=plan.EXAMPLE)(plan.plan)
app.command("train", epilog=train.EXAMPLE)(train.train)
app.command("plot", epilog=plot.EXAMPLE)(plot.plot)
app.add_typer(diff.app, name="diff")
app.add_typer(convert.app, name="convert")
app.command("chat", epilog=chat.EXAMPLE)(chat.chat)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(card.app, name="card")
app.command("push", epilog=push.EXAMPLE)(push.push)
app.command("ls", epilog=recipes.LS_EXAMPLE)(recipes.ls)
app.command("show", epilog=recipes.SHOW_EXAMPLE)(recipes.show)
app.command("env", epilog=env.EXAMPLE)(env.env)

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_INTERRUPTED, _UNEXPECTED = 130, 70
_KEPT = "what was finished is kept; --resume goes on, where the command has it"
_LONGEST = 2000
"""Characters of an error or a hint: a file that is no data may have a field whose name is a megabyte."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 a check failed, 2 the user's error, 130 interrupted, 70 a bug."""
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    if arguments in ([], ["data"], ["diff"], ["convert"], ["evaluate"], ["generate"]):
        arguments.append("--help")
    end(lambda: app(arguments, standalone_mode=False), debug=debug)


def end(command: Callable[[], int | None], *, debug: bool) -> NoReturn:
    """Run `command` and exit with the status that it returns; every failure becomes two lines and a status.

    Of several processes of one launch, the one that met the cause writes the lines.
    """
    with once.stoppable(), one_interrupt_at_a_time():
        try:
            status = command() or 0
            if status == _INTERRUPTED:  # the command line parser turns Ctrl-C into this status without a word
                raise KeyboardInterrupt
            once.leave(status)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(0)
        except (Exception, KeyboardInterrupt, once.Stopped) as error:
            if debug:
                traceback.print_exc()
            message, hint, status = _explain(error)
            if once.has_cause_elsewhere(error):
                once.wait_for_the_cause()
            if once.first_to_tell():
                sys.stderr.write(f"error: {_on_one_line(message)}\nhint: {_on_one_line(hint)}\n")
            once.leave(status)


def _on_one_line(text: str) -> str:
    """The text with line ends and characters that act on a terminal as escapes: names in data may hold them."""
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)


def _explain(error: BaseException) -> tuple[str, str, int]:
    """What happened, what to do about it, and the exit status."""
    if isinstance(error, once.Stopped):
        return "stopped by the launcher", f"its log says why; {_KEPT}", _INTERRUPTED
    if once.has_cause_elsewhere(error):
        lost = "the connection to another process of this run was lost"
        return lost, f"that one was killed (out of memory?) or failed on another machine; {_KEPT}", 2
    if isinstance(error, UserError):
        return error.message, error.hint, 2
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted", _KEPT, _INTERRUPTED
    if isinstance(error, OSError):
        if error.errno in _DISK_FULL:
            return f"no space left while writing {error.filename or 'the output'}", f"free some disk; {_KEPT}", 2
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", "check the path and its permissions", 2
    if type(error).__name__ == "OutOfMemoryError":
        return "the device is out of memory", "give it less at once: in training engine.micro_batch_tokens=1024", 2
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in ("", "packtrain"):
        return f"the package {package} is not installed", "see what the installation lacks with: packtrain doctor", 2
    if hasattr(error, "format_message"):  # a usage error of the command line parser
        context = getattr(error, "ctx", None)
        return error.format_message(), f"see {context.command_path if context else 'packtrain'} --help", 2
    reason = " ".join(str(error).split())[:300]
    return (
        f"unexpected {type(error).__name__}: {reason}",
        "this is a bug: run it again with --debug and report it",
        _UNEXPECTED,
    )
