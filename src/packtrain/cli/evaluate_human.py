"""`packtrain evaluate human` and `packtrain evaluate human-export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json

if TYPE_CHECKING:
    from packtrain.evaluate.human.design import Design
    from packtrain.evaluate.human.figures import Agreement, Figures, Share

EXAMPLE = examples("packtrain evaluate human tulu.jsonl alpaca.jsonl --out study/ --annotators anna,ben,carl")
EXPORT_EXAMPLE = examples("packtrain evaluate human-export study/ --out judgements.json")


def human(
    outputs_a: Annotated[Path, typer.Argument(help="JSON Lines: id, instruction or prompt, output of one model.")],
    outputs_b: Annotated[Path, typer.Argument(help="The same ids with the outputs of the other model.")],
    out: Annotated[Path, typer.Option(help="Folder of the study; one that was begun is gone on with.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the page is served; 0: a free one.")] = 8321,
    host: Annotated[
        str, typer.Option(help="Address to serve at; this machine alone can reach the default.")
    ] = "127.0.0.1",
    annotators: Annotated[
        list[str] | None, typer.Option(help="Who may judge, as anna,ben,carl; default: whoever has the link.")
    ] = None,
    per_pair: Annotated[int, typer.Option(min=1, help="People who judge each pair of the overlap.")] = 2,
    share_of_overlap: Annotated[
        float, typer.Option(min=0, max=1, help="Share of pairs that so many people judge; the others are judged once.")
    ] = 1.0,
    pairs: Annotated[int | None, typer.Option(min=1, help="Draw so many pairs; default: all there are.")] = None,
    seed: Annotated[int, typer.Option(help="Draws pairs, their order, the overlap, and what stands left.")] = 0,
    name_a: Annotated[str | None, typer.Option(help="Name of the first model in figures; never on the page.")] = None,
    name_b: Annotated[str | None, typer.Option(help="Name of the second.")] = None,
    column: Annotated[str | None, typer.Option(help="Of answers.jsonl, take this benchmark column only.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Benchmark files, for prompts of answers.jsonl that it does not hold itself.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve a page on which people judge two models' outputs pair by pair, without knowing whose is whose."""
    from packtrain.core.errors import UserError
    from packtrain.core.page_server import serve_until_stopped
    from packtrain.core.progress import progress, say
    from packtrain.evaluate.human.answers import read_pairs
    from packtrain.evaluate.human.design import Design, drawn
    from packtrain.evaluate.human.folder import one_server
    from packtrain.evaluate.human.server import JudgingServer
    from packtrain.evaluate.human.study import annotator_names, model_names, open_study

    people = annotator_names(annotators or [], per_pair)
    chosen = drawn(read_pairs(outputs_a, outputs_b, column=column, data=data), seed, pairs)
    found_a, found_b = (name_a, name_b) if name_a and name_b else model_names(outputs_a, outputs_b)
    design = Design(name_a or found_a, name_b or found_b, seed, per_pair, share_of_overlap)
    if design.name_a == design.name_b:
        raise UserError(f"both models are called {design.name_a}", "name them: --name-a NAME --name-b NAME")
    same = sum(pair.output_a == pair.output_b for pair in chosen)
    if same:
        say(f"note: both outputs are the same in {same} of {len(chosen)} pairs")
    with open_study(out, design, chosen, (outputs_a, outputs_b)) as study, one_server(out):
        before = study.standing()
        with (
            progress("judgements", before.needed) as advance,
            JudgingServer(study, host, port, annotators=people, judged=advance) as server,
        ):
            advance(before.all)
            _print_links(server, people, as_json=as_json)
            if not server.is_local:
                say("note: whoever reaches this machine and has the link can judge; nothing is encrypted on the way")
            say(f"judgements are kept in {out}; stop with Ctrl-C, go on with the same command")
            serve_until_stopped(server)
        after = study.standing()
    say(f"stopped: {after.all} of {after.needed} judgements are there")
    say(f"figures: packtrain evaluate human-export {out} --out F.json")


def human_export(
    folder: Annotated[Path, typer.Argument(help="Folder of the study; it may be served meanwhile.")],
    out: Annotated[Path, typer.Option(help="JSON file for judgements and figures.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write all judgements of a study, with who won, how sure that is, and how far people agree."""
    from dataclasses import asdict

    from packtrain.core.atomic import check_output_file
    from packtrain.evaluate.human.store import Study
    from packtrain.evaluate.human.study import write_export

    check_output_file(out, overwrite)
    with Study(folder) as study:
        figures = write_export(study, out)
        design = study.design
    if as_json:
        print_json({"out": str(out), "study": asdict(design), "figures": asdict(figures)})
    else:
        _print_figures(figures, design)


def _print_links(server: Any, people: tuple[str, ...], *, as_json: bool) -> None:
    import sys
    from urllib.parse import quote

    links = {name: f"{server.link}#{quote(name)}" for name in people}
    if as_json:
        print_json({"link": server.link, "annotators": links})
    else:
        lines = [f"{name}: {link}" for name, link in links.items()] or [server.link]
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _print_figures(figures: "Figures", design: "Design") -> None:
    from packtrain.cli.options import print_table

    rows = [("judgements", f"{figures.judgements:,}"), ("pairs judged", f"{figures.pairs:,}")]
    rows += [(f"by {name}", f"{count:,}") for name, count in figures.annotators.items()]
    if figures.outcome is not None:
        acceptable, preference = figures.outcome.acceptable, figures.outcome.preference
        rows += [
            (f"{design.name_a}: acceptable", _percent(acceptable["a"])),
            (f"{design.name_b}: acceptable", _percent(acceptable["b"])),
            (f"{design.name_a} is better", _percent(preference["a_wins"])),
            ("tie", _percent(preference["tie"])),
            (f"{design.name_b} is better", _percent(preference["b_wins"])),
            (f"{design.name_a}: wins and half the ties", _percent(preference["a_win_rate"])),
        ]
    rows.append(("left one is better, where one is", _percent(figures.left_preferred)))
    questions = {
        "acceptable": "agreement: acceptable",
        "preference": "agreement: which is better",
        "preference_without_ties": "agreement: the same without ties",
        "preference_steps": "agreement: the five steps",
    }
    rows += [(title, _agreement(figures.agreement[name])) for name, title in questions.items()]
    print_table(f"{design.name_a} and {design.name_b}, judged by people", rows)


def _percent(share: "Share") -> str:
    if share.percent is None:
        return "-"
    error = "" if share.standard_error is None else f" ± {share.standard_error:.1f}"
    return f"{share.percent:.1f}{error} %"


def _agreement(agreement: "Agreement") -> str:
    if agreement.raw_percent is None:
        return "no pair was judged twice"
    figures = [f"{agreement.raw_percent:.1f} %"]
    if agreement.half_ties_percent is not None:
        figures.append(f"{agreement.half_ties_percent:.1f} % with half for a tie")
    coefficients = {
        "Cohen's kappa": agreement.cohen_kappa,
        "Fleiss' kappa": agreement.fleiss_kappa,
        "Krippendorff's alpha": agreement.krippendorff_alpha,
    }
    figures += [f"{name} {value:.2f}" for name, value in coefficients.items() if value is not None]
    return ", ".join(figures) + f" (n = {agreement.units:,})"
