"""Licences: the statements of the five published cards, what must be shipped, and claims that cannot both be true."""

from pathlib import Path
from typing import Any

import pytest

from packtrain.card import known
from packtrain.card.claims import Claim, claims_of
from packtrain.card.licence_terms import identifier, terms, terms_on_output
from packtrain.card.licences import applying, judge, judge_recipe, statements
from packtrain.card.shipping import ship_licences
from packtrain.core.errors import UserError
from packtrain.core.recipe_file import load_recipe, recipe_names

OPENAI = (
    "Part of the data was written by somebody's language model, and terms on that model's output apply to {} "
    "They restrict above all the making of models that compete with it."
)
STATEMENTS = {
    "alpaca-7b": [
        "Licence of these files: CC BY-NC 4.0; base and data ask for what follows beside it.",
        "This model is for research without commercial purpose only, because of these files (CC BY-NC 4.0), the base "
        "llama-7b (LLaMA licence of February 2023) and the data set stanford_alpaca (CC BY-NC 4.0).",
        OPENAI.format("the data set stanford_alpaca (OpenAI terms of use)."),
        "Name the authors of the data set stanford_alpaca.",
        "Licence texts that must lie beside the files: `llama_license.txt`.",
    ],
    "code-alpaca-7b": [
        "Licence of these files: AI model licence of Open-Instruct; base and data ask for what follows beside it.",
        "This model is for research without commercial purpose only, because of the base llama-7b (LLaMA licence of "
        "February 2023) and the data set code_alpaca (CC BY-NC 4.0).",
        "Read also these files (AI model licence of Open-Instruct): what is allowed there cannot be said in one word.",
        OPENAI.format("the data set code_alpaca (OpenAI terms of use)."),
        "Name the authors of the data set code_alpaca.",
        "Licence texts that must lie beside the files: `LICENSE.txt` and `llama_license.txt`.",
    ],
    "oasst1-13b": [
        "Licence of these files: AI model licence of Open-Instruct; base and data ask for what follows beside it.",
        "This model is for research without commercial purpose only, because of the base llama-13b (LLaMA licence of "
        "February 2023).",
        "Read also these files (AI model licence of Open-Instruct): what is allowed there cannot be said in one word.",
        "Name the authors of the data set oasst1.",
        "Licence texts that must lie beside the files: `LICENSE.txt` and `llama_license.txt`.",
    ],
    "tulu-65b": [
        "Licence of these files: AI model licence of Open-Instruct; base and data ask for what follows beside it.",
        "This model is for research without commercial purpose only, because of the base llama-65b (LLaMA licence of "
        "February 2023), the data set gpt4_alpaca (CC BY-NC 4.0) and the data set code_alpaca (CC BY-NC 4.0).",
        "Read also these files (AI model licence of Open-Instruct) and the data set sharegpt (No licence stated "
        "(ShareGPT)): what is allowed there cannot be said in one word.",
        OPENAI.format(
            "the data set gpt4_alpaca (OpenAI terms of use), the data set code_alpaca (OpenAI terms of use) and the "
            "data set sharegpt (OpenAI terms of use)."
        ),
        "Whoever passes on something derived from the data set dolly (CC BY-SA 3.0) keeps it under the same licence.",
        "Name the authors of the data set flan_v2, the data set cot_zero_shot, the data set cot_few_shot, the data set "
        "dolly, the data set oasst1, the data set gpt4_alpaca and the data set code_alpaca.",
        "Licence texts that must lie beside the files: `LICENSE.txt` and `llama_license.txt`.",
    ],
    "galpaca-6.7b": [
        "Licence of these files: CC BY-NC 4.0; base and data ask for what follows beside it.",
        "This model is for research without commercial purpose only, because of these files (CC BY-NC 4.0), the base "
        "facebook/galactica-6.7b (CC BY-NC 4.0) and the data set stanford_alpaca (CC BY-NC 4.0).",
        OPENAI.format("the data set stanford_alpaca (OpenAI terms of use)."),
        "Name the authors of the base facebook/galactica-6.7b and the data set stanford_alpaca.",
    ],
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_five_published_cases_give_the_five_statements(name: str) -> None:
    assert statements(judge_recipe(load_recipe(name))) == STATEMENTS[name]


@pytest.mark.parametrize(
    ("licences", "use"),
    [
        (["apache-2.0", "mit"], "any"),
        (["cc-by-sa-4.0", "cc0-1.0"], "any"),
        (["sharegpt", "mit"], "unclear"),
        (["openai-terms", "mit"], "any"),
        (["open-instruct", "llama"], "research"),
        (["cc-by-nc-4.0"], "research"),
        (["", "mit"], "unknown"),
        (["", "sharegpt"], "unknown"),
        (["", "cc-by-nc-4.0"], "research"),
        (["openai-terms"], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_strictest_licence_decides_the_use(licences: list[str], use: str) -> None:
    assert judge(Claim(licence, "data", f"d{number}") for number, licence in enumerate(licences)).use == use


def test_terms_on_output_are_counted_apart_from_licences() -> None:
    verdict = judge([Claim("mit", "data", "mine"), Claim("openai-terms", "data", "mine")])
    assert verdict.output_terms == (Claim("openai-terms", "data", "mine"),)
    assert verdict.unclear == ()
    assert statements(verdict, "data") == [
        "All licences allow any use of these data, commercial use included, within their conditions.",
        OPENAI.format("the data set mine (OpenAI terms of use)."),
        "Name the authors of the data set mine.",
    ]


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        ("openai:gpt-4o-mini", ["openai-terms"]),
        ("openai:text-davinci-003", ["openai-terms"]),
        ("openai:o3", ["openai-terms"]),
        ("openai:openai/gpt-4.1", ["openai-terms"]),
        ("openai:gpt-oss-20b", []),
        ("openai:qwen3-8b", []),
        ("local:gpt-neo", []),
        ("scripted:answers", []),
    ],
)
def test_terms_follow_from_the_model_that_wrote_the_data(model: str, terms: list[str]) -> None:
    assert terms_on_output(model) == terms


def test_a_result_without_a_licence_is_said_to_have_none() -> None:
    assert statements(judge([Claim("mit", "base", "b")]))[0] == (
        "Nobody has said under which licence these files are: ask before you use them."
    )


@pytest.mark.parametrize("wide", ["apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "llama2"])
@pytest.mark.parametrize(("narrow", "part"), [("llama", "base"), ("cc-by-nc-4.0", "data"), ("baize", "data")])
def test_a_result_cannot_allow_the_commerce_that_a_part_forbids(wide: str, narrow: str, part: str) -> None:
    with pytest.raises(UserError) as caught:
        judge([Claim(wide, "result"), Claim(narrow, "base" if part == "base" else "data", "x")])
    assert caught.value.message == (
        f"the licence {wide} of the result allows commercial use, which is forbidden by {narrow} of its {part} x"
    )


@pytest.mark.parametrize("kept", ["cc-by-nc-4.0", "llama", "open-instruct", "opt"])
def test_a_result_as_narrow_as_its_parts_is_no_contradiction(kept: str) -> None:
    assert judge([Claim(kept, "result"), Claim("llama", "base", "x")]).use == "research"


def test_whole_weights_of_a_base_that_may_not_be_passed_on_are_refused() -> None:
    with pytest.raises(UserError, match=r"from which the base llama-7b could be had, and its licence llama forbids"):
        judge_recipe(load_recipe("alpaca-7b", ["release.form=full"]))
    assert judge_recipe(load_recipe("alpaca-7b", ["release.form=float-diff"])).use == "research"
    assert judge_recipe(load_recipe("galpaca-6.7b")).use == "research"


def test_a_published_set_is_not_given_a_wider_licence_than_its_publishers_gave() -> None:
    with pytest.raises(UserError) as caught:
        judge_recipe(load_recipe("alpaca-7b", ["data.sources.stanford_alpaca.license=mit"]))
    assert caught.value.message == (
        "the data set stanford_alpaca was published under cc-by-nc-4.0, and the recipe says mit"
    )
    assert "give data of your own another name" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "mine: {format: code_alpaca, path: x, license: mit}",
            "mine was published under cc-by-nc-4.0, and .* says mit",
        ),
        ("mine: {format: baize, path: x, license: MIT}", "mine was published under baize, and the recipe says mit"),
        ("sharegpt: {format: auto, path: x, license: mit}", "sharegpt was published under sharegpt, and .* says mit"),
        ("dolly: {format: dolly, path: x, license: mit}", "dolly was published under cc-by-sa-3.0, and .* says mit"),
    ],
)
def test_a_format_of_one_set_alone_names_the_set(source: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        judge_recipe(load_recipe("default", [f"data.sources={{{source}}}"]))


@pytest.mark.parametrize("form", ["alpaca", "sharegpt", "messages", "auto:dolly"])
def test_a_shape_of_peoples_own_data_names_no_set(form: str) -> None:
    own = load_recipe("default", [f"data.sources={{mine: {{format: '{form}', path: x, license: mit}}}}"])
    assert [claim.licence for claim in claims_of(own) if claim.part == "data"] == ["", "mit"]
    assert judge_recipe(own).use == "unknown"


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ("stanford_alpaca: {format: alpaca, path: x}", "cc-by-nc-4.0 of its data stanford_alpaca"),
        ("mine: {format: baize, path: x}", "baize of its data mine"),
    ],
)
def test_where_the_recipe_is_silent_on_a_known_set_its_publishers_speak(sources: str, told: str) -> None:
    open_licences = ["base.license=apache-2.0", "release.license=apache-2.0"]
    with pytest.raises(UserError, match=f"which is forbidden by {told}"):
        judge_recipe(load_recipe("default", [*open_licences, f"data.sources={{{sources}}}"]))


def test_what_nobody_said_a_licence_of_is_named_and_never_taken_for_allowed() -> None:
    base = ["base.license=apache-2.0", "base.name=B"]
    mixed = "data.sources={dolly: {format: dolly, path: x}, own: {format: alpaca, path: y}}"
    verdict = judge_recipe(load_recipe("default", [*base, "release.license=apache-2.0", mixed]))
    assert (verdict.use, verdict.silent) == ("unknown", (Claim("", "data", "own"),))
    assert statements(verdict) == [
        "Licence of these files: Apache License 2.0; base and data ask for what follows beside it.",
        "Nobody has said under which licence these are: the data set own. Ask before you use this model.",
        "Whoever passes on something derived from the data set dolly (CC BY-SA 3.0) keeps it under the same licence.",
        "Name the authors of the base B and the data set dolly.",
        "Licence texts that must lie beside the files: `LICENSE`.",
    ]
    nothing = judge_recipe(load_recipe("default", ["base.name=B"]))
    assert statements(nothing) == [
        "Nobody has said under which licence these files are: ask before you use them.",
        "Nobody has said under which licence these are: the base B and the data set mine. Ask before you use this "
        "model.",
    ]
    assert statements(nothing, language="zh") == [
        "这些文件的许可证未作说明：使用前请询问。",
        "以下各项的许可证未作说明：基座 B 和 数据集 mine。使用本模型前请询问。",
    ]
    research = judge_recipe(load_recipe("default", ["base.license=llama", "release.form=diff", "base.name=B"]))
    assert statements(research)[1:3] == [
        "This model is for research without commercial purpose only, because of the base B (LLaMA licence of February "
        "2023).",
        "Nobody has said under which licence these are: the data set mine. Ask before you use this model.",
    ]


def test_a_data_set_keeps_the_share_alike_of_its_sources() -> None:
    dolly = Claim("cc-by-sa-3.0", "data", "dolly")
    with pytest.raises(UserError) as caught:
        judge([Claim("cc-by-4.0", "result"), dolly], of_data=True)
    assert caught.value.message == (
        "a data set under cc-by-4.0 cannot hold dolly (cc-by-sa-3.0), which is to be passed on under its own licence"
    )
    assert judge([Claim("cc-by-sa-4.0", "result"), dolly], of_data=True).use == "any"
    with pytest.raises(UserError, match="a data set under cc-by-nc-sa-4.0 cannot hold dolly") as caught:
        judge([Claim("cc-by-nc-sa-4.0", "result"), dolly], of_data=True)
    assert caught.value.hint.startswith("give the whole cc-by-sa-3.0 or cc-by-sa-4.0, or none: ")
    assert judge([Claim("cc-by-4.0", "result"), dolly]).share_alike == (dolly,)
    assert judge([dolly], of_data=True).use == "any"


def test_an_unknown_licence_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match="unknown licence: cc-by-nc-5") as caught:
        judge([Claim("CC-BY-NC-5", "base", "b")])
    assert caught.value.hint.startswith("did you mean cc-by-nc-")
    assert "apache-2.0" in caught.value.hint


@pytest.mark.parametrize(
    ("base", "result"), [("cc-by-sa-4.0", "mit"), ("llama2", "apache-2.0"), ("llama3.2", "mit"), ("gemma", "cc-by-4.0")]
)
def test_whole_weights_stay_under_the_licence_of_a_base_that_asks_for_it(base: str, result: str) -> None:
    claims = [Claim(result, "result"), Claim(base, "base", "b")]
    with pytest.raises(UserError) as caught:
        judge(claims, whole_weights=True)
    assert caught.value.message == (
        f"whole weights of the base b are passed on under its licence {base}, and the result claims {result}"
    )
    assert f"release.license={base}" in caught.value.hint
    assert judge([Claim(base, "result"), claims[1]], whole_weights=True).claims == (Claim(base, "result"), claims[1])
    assert judge(claims).claims == tuple(claims)
    if base != "cc-by-sa-4.0":  # a narrower licence of one's own beside the base's
        assert judge([Claim("cc-by-nc-4.0", "result"), claims[1]], whole_weights=True).use == "research"


@pytest.mark.parametrize(
    ("licence", "part", "title"),
    [
        ("openai-terms", "result", "OpenAI terms of use"),
        ("sharegpt", "result", "No licence stated (ShareGPT)"),
        ("sharegpt", "base", "No licence stated (ShareGPT)"),
        ("other", "result", "a licence of its own"),
    ],
)
def test_what_is_no_licence_for_a_part_is_refused_for_it(licence: str, part: Any, title: str) -> None:
    with pytest.raises(UserError) as caught:
        judge([Claim(licence, part, "x" if part == "base" else "")])
    named = f"the {part} x" if part == "base" else "the result"
    assert caught.value.message == f"{licence} ({title}) cannot be the licence of {named}"
    assert "OpenAI" not in caught.value.hint


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("MIT", "mit"), ("CC BY 4.0", "cc-by-4.0"), (" Apache  License 2.0 ", "apache-2.0"), ("llama3.2", "llama3.2"),
        ("GPL-3.0", "gpl-3.0"), ("gemma", "gemma"), ("other", "other"), ("unknown", None), ("", None), ("cc-by", None),
    ],
)  # fmt: skip
def test_licences_go_by_identifier_or_name_in_any_case(said: str, meant: str | None) -> None:
    assert identifier(said) == meant


def test_a_licence_of_the_hubs_list_alone_is_unclear_but_for_what_its_name_says() -> None:
    assert judge([Claim("GPL-3.0", "base", "b")]).unclear == (Claim("gpl-3.0", "base", "b"),)
    assert judge([Claim("cc-by-nc-3.0", "data", "d")]).use == "research"
    assert terms("gpl-3.0", "zh") == {
        "id": "gpl-3.0",
        "hub": "gpl-3.0",
        "link": "https://huggingface.co/docs/hub/repositories-licenses",
        "commercial": None,
        "title": "GNU General Public License v3.0",
        "text": "Hub 许可证列表中的一种：使用前请阅读其文本。",
    }
    assert not known.read("licences").keys() & known.read("hub_licences").keys()


def test_words_of_a_record_that_name_no_known_licence_are_shown_as_unclear() -> None:
    odd = Claim("My own\nlicence", "data", "d", recorded=True)
    verdict = judge([Claim("", "data", "d"), odd])
    assert (verdict.use, verdict.silent) == ("unclear", ())
    assert [licence["shown"] for licence in applying(verdict)] == ["My own licence"]
    assert len(terms("x" * 500)["title"]) < 100
    with pytest.raises(UserError, match="unknown licence: my own licence"):
        judge([Claim("My own\nlicence", "data", "d")])
    in_part = judge([Claim("", "data", "d"), Claim("mit", "data", "d"), Claim("", "data", "d", recorded=True)])
    assert (in_part.use, in_part.silent) == ("unknown", (Claim("", "data", "d"),))


def test_every_shipped_recipe_has_a_verdict_and_every_licence_all_its_words() -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        assert len(applying(judge_recipe(recipe))) == len({claim.licence for claim in claims_of(recipe)} - {""})
    for name, licence in known.read("licences").items():
        assert {"title", "hub", "link", "commercial", "text"} <= set(licence), name
        assert set(licence) <= {
            "title", "hub", "link", "commercial", "text", "files", "notice", "attribution", "share_alike", "form",
            "output_terms", "models", "kept", "covers",
        }, name  # fmt: skip


def test_texts_and_notices_are_copied_under_the_names_that_the_licences_want(tmp_path: Path) -> None:
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    (given / "tulu_license.txt").write_text("AI model licence")
    (given / "llama_license.txt").write_text("LLaMA licence")
    (given / "else.txt").write_text("not asked for")
    written = ship_licences(judge_recipe(load_recipe("tulu-65b")), given, out)
    assert written == [out / "LICENSE.txt", out / "llama_license.txt"]
    assert [path.read_text() for path in written] == ["AI model licence", "LLaMA licence"]
    assert sorted(path.name for path in out.iterdir()) == ["LICENSE.txt", "llama_license.txt"]
    with pytest.raises(UserError, match="exists already"):
        ship_licences(judge_recipe(load_recipe("tulu-65b")), given, out)


def test_the_base_licence_does_not_take_the_name_of_the_results_own(tmp_path: Path) -> None:
    verdict = judge(
        [Claim("open-instruct", "result"), Claim("llama2", "base", "llama-2-7b"), Claim("mit", "data", "d")]
    )
    assert verdict.files == {
        "LICENSE.txt": ("LICENSE.txt", "tulu_license.txt"),
        "LICENSE-llama2.txt": ("LICENSE-llama2.txt",),
    }
    (tmp_path / "LICENSE.txt").write_text("AI model licence")
    with pytest.raises(UserError, match=r"has no text of: LICENSE-llama2\.txt"):
        ship_licences(verdict, tmp_path, tmp_path / "out")
    (tmp_path / "LICENSE-llama2.txt").write_text("Llama 2")
    written = ship_licences(verdict, tmp_path, tmp_path / "out")
    assert [path.name for path in written] == ["LICENSE.txt", "LICENSE-llama2.txt", "NOTICE.txt"]
    assert written[2].read_text() == (
        "Llama 2 is licensed under the LLAMA 2 Community License, Copyright (c) Meta Platforms, Inc. All Rights "
        "Reserved.\n"
    )


def test_missing_and_empty_texts_are_all_named_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "llama_license.txt").write_text(" \n")
    with pytest.raises(UserError) as caught:
        ship_licences(judge_recipe(load_recipe("tulu-65b")), tmp_path, tmp_path / "out")
    assert caught.value.message == f"{tmp_path} has no text of: LICENSE.txt, llama_license.txt"
    assert not (tmp_path / "out").exists()
