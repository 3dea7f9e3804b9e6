"""TyDiQA, gold passage task (arXiv 2003.05002): questions in nine languages, with the passage or closed book.

Data (google-research-datasets/tydiqa, Apache-2.0): `tydiqa/tydiqa-goldp-v1.1-dev.json` for the questions and
`tydiqa/tydiqa-goldp-v1.1-train.json` for the one example that all questions of a language are shown. Instead of them,
`tydiqa-goldp-dev-merged.json` and one `LANGUAGE_tydiqa_train.json` for each language are read. A language that has no
training questions takes its example from the questions of dev that are not asked, and the score says so.

Which questions: the 2023 script drew 100 of each language's, then one training question of each, from one generator
seeded with 42, language after language in the order of a Python set, which differs from run to run. Here languages come
in order of name, everything else alike. So numbers and method are the authors', questions and examples cannot be. With
the official files they are what the script draws in the version that sorts (November 2023). The example of a language
is the same however many questions are asked. Profile `fixed` asks every question.

A passage of more than 512 tokens, the tokenizer's first one counted, is cut there, also the example's. In `paper-2023`
the first token is then part of the text (a literal `<s>`), as the script decoded it; `fixed` leaves it out. A model
whose tokenizer nobody has gets whole passages. Decoding also took the space from before a full stop or comma with some
tokenizers of 2023 (OPT's, GPT-NeoX's, not LLaMA's); that is not repeated.

The sentences and labels around them, one set for each language, are an asset (`tydiqa_strings`). Up to 50 tokens are
generated, up to the end of the line. The column is the mean over languages of SQuAD's F1, which knows English articles
and ASCII punctuation only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.score import Score
from packtrain.evaluate.assets import asset, asset_notes
from packtrain.evaluate.benchmark import Answer, Grade, Item, Outcome, Request, Setting
from packtrain.evaluate.gold_passages import PassageQuestion, passage_questions
from packtrain.evaluate.means import macro
from packtrain.evaluate.squad import exact_match, f1
from packtrain.prompts.tokenizer import Tokenizer

LANGUAGES = ("arabic", "bengali", "english", "finnish", "indonesian", "korean", "russian", "swahili", "telugu")
DEV, TRAIN = "tydiqa-goldp-v1.1-dev.json", "tydiqa-goldp-v1.1-train.json"
MERGED_DEV, LANGUAGE_TRAIN = "tydiqa-goldp-dev-merged.json", "{}_tydiqa_train.json"
DRAWN, SEED = 100, 42
MAX_PASSAGE_TOKENS = 512
MAX_NEW_TOKENS = 50
STRINGS = "tydiqa_strings"
LABELS = {
    "with_passage": ("instruction", "passage_label", "question_label", "answer_label"),
    "without_passage": ("instruction", "question_label", "answer_label"),
}


class TydiQA:
    """The columns `tydiqa:gold` and `tydiqa:closed`."""

    columns: tuple[str, ...] = ("tydiqa:gold", "tydiqa:closed")
    version = 1
    outcome: Outcome = "read"

    def items(self, folder: Path, setting: Setting) -> list[Item]:
        """The drawn questions of each language, or all of them, each with the example that it is shown after."""
        strings = _strings(folder, "with_passage" if setting.column == "tydiqa:gold" else "without_passage")
        questions = _dev(folder / "tydiqa")
        asked, examples, held_out = _draw(questions, _train(folder / "tydiqa"))
        items = []
        for language, drawn in asked.items():
            example = examples[language]
            if setting.full or setting.profile == "fixed":
                drawn = [question for question in questions[language] if question.id != example.id]
            shared = {"strings": strings[language], "example": example.as_json(), "held_out": language in held_out}
            shared |= {"notes": asset_notes(folder, STRINGS)}
            items += [Item(question.id, {**question.as_json(), **shared}, language) for question in drawn]
        return items

    def request(self, item: Item, setting: Setting) -> Request:
        """Instruction, example and question, in the question's language; the answer begins with its label."""
        strings, example = item.content["strings"], item.content["example"]
        notes = [
            *item.content["notes"],
            *(["example taken from dev and not asked"] if item.content["held_out"] else []),
        ]
        blocks = [strings["instruction"]]
        if example is not None:
            shown = _block(example, strings, setting, notes, "the example's passage")
            blocks.append(f"{shown}\n{strings['answer_label']} {example['answers'][0]}")
        blocks.append(_block(item.content, strings, setting, notes, "passage"))
        prompt = "\n\n".join(blocks)
        return Request(
            messages=(Message("user", prompt.strip()),) if setting.chat else (),
            text=strings["answer_label"] if setting.chat else f"{prompt}\n{strings['answer_label']}",
            max_new_tokens=MAX_NEW_TOKENS,
            stop=("\n",),
            first_token=setting.profile == "fixed",
            notes=tuple(notes),
        )

    def grade(self, item: Item, answers: Sequence[Answer], setting: Setting) -> Grade:
        """F1 of the first answer against the best right one; `more` has its exact match."""
        found, golds = answers[0].text.strip(), item.content["answers"]
        equal = exact_match(found, golds)
        reason = "equal" if equal else f"expected {' or '.join(map(repr, dict.fromkeys(golds)))}"
        return Grade(item.id, f1(found, golds), found, reason, item.group, {"exact_match": equal})

    def total(self, grades: Sequence[Grade], setting: Setting) -> Score:
        """Mean F1 over the languages in percent; `details` has each language's own, and exact match alike."""
        percent, n, error, languages = macro(grades)
        equal, _, _, equal_languages = macro([replace(grade, value=grade.more["exact_match"]) for grade in grades])
        details = {f"language/{language}": value for language, value in languages.items()}
        details |= {"exact_match": equal}
        details |= {f"exact_match/{language}": value for language, value in equal_languages.items()}
        notes = []
        if setting.profile == "paper-2023" and not setting.full:
            notes.append(
                f"{DRAWN} questions and an example of each language, drawn in order of names: the authors' draw is lost"
            )
        if len(languages) < len(LANGUAGES):
            notes.append(f"mean of {len(languages)} languages, not {len(LANGUAGES)}")
        return Score(setting.column, percent, n, error, setting.profile, self.version, details, notes)


def cut_passage(text: str, tokenizer: Tokenizer, *, with_first_token: bool) -> str | None:
    """`text` up to its 512th token, the tokenizer's first one counted; None when it is not longer.

    `with_first_token`: with that token's name as the first characters, as decoding it with special tokens gave. A
    letter of several bytes that is cut apart ends in U+FFFD.
    """
    ids = tokenizer.ids(text)
    if len(ids) <= MAX_PASSAGE_TOKENS:
        return None
    kept, first_token = ids[:MAX_PASSAGE_TOKENS], tokenizer.first_token
    if first_token is None:
        return tokenizer.decode(kept, skip_special=False)
    rest = tokenizer.decode(kept[1:], skip_special=False)  # apart, for a space before the first word is not text
    return first_token + rest if with_first_token else rest


def _block(
    asked: Mapping[str, Any], strings: Mapping[str, str], setting: Setting, notes: list[str], passage_name: str
) -> str:
    """Passage, where there is one to be shown, and question under their labels; `notes` gets what was cut."""
    question = f"{strings['question_label']} {asked['question']}"
    if setting.column == "tydiqa:closed":
        return question
    passage = asked["context"]
    if setting.tokenizer is None:
        notes.append(f"{passage_name} not measured, whatever its length")
    else:
        cut = cut_passage(passage, setting.tokenizer, with_first_token=setting.profile == "paper-2023")
        if cut is not None:
            passage = cut
            notes.append(f"{passage_name} cut to {MAX_PASSAGE_TOKENS} tokens")
    return f"{strings['passage_label']} {passage}\n{question}"


def _draw(
    questions: Mapping[str, Sequence[PassageQuestion]], train: Mapping[str, Sequence[PassageQuestion]]
) -> tuple[dict[str, list[PassageQuestion]], dict[str, PassageQuestion], set[str]]:
    """Questions to ask of each language, its example, and the languages whose example is from dev.

    Such an example is one of the questions that were not drawn; where all were, it is one of them and not asked.
    """
    random = Random(SEED)
    asked = {
        language: random.sample(own, DRAWN) if len(own) > DRAWN else list(own) for language, own in questions.items()
    }
    examples = {}
    for language, own in questions.items():
        drawn = {question.id for question in asked[language]}
        spare = [question for question in own if question.id not in drawn] or own
        if len(own) == 1 and language not in train:
            raise UserError(
                f"TyDiQA has one question in {language}, {own[0].id!r}, and none to train",
                f"a question is asked after an example: give {TRAIN} or {LANGUAGE_TRAIN.format(language)}",
            )
        examples[language] = random.sample(train.get(language) or spare, 1)[0]
        asked[language] = [question for question in asked[language] if question.id != examples[language].id]
    return asked, examples, questions.keys() - train.keys()


def _dev(folder: Path) -> dict[str, list[PassageQuestion]]:
    """The questions that may be asked, by language: of the official file, or else of the merged one."""
    official, merged = folder / DEV, folder / MERGED_DEV
    return passage_questions(merged if merged.exists() and not official.exists() else official, LANGUAGES)


def _train(folder: Path) -> dict[str, list[PassageQuestion]]:
    """Training questions by language: of the official file if there is one, else of the languages' own files."""
    if (folder / TRAIN).exists():
        return passage_questions(folder / TRAIN, LANGUAGES)
    found: dict[str, list[PassageQuestion]] = {}
    for language in LANGUAGES:
        path = folder / LANGUAGE_TRAIN.format(language)
        if path.exists():
            found |= passage_questions(path, (language,))
    return found


def _strings(data: Path, form: str) -> dict[str, dict[str, str]]:
    """Instruction and labels of each language; UserError naming the language and what it lacks."""
    found = asset(data, STRINGS)
    forms = found.get(form) if isinstance(found, dict) else None
    for language in LANGUAGES:
        own = forms.get(language) if isinstance(forms, dict) else None
        lacking = [name for name in LABELS[form] if not isinstance(own, dict) or not isinstance(own.get(name), str)]
        if lacking:
            raise UserError(
                f"{data / 'prompt_assets' / STRINGS}.json: {form}, {language}, lacks {', '.join(lacking)}",
                "fetch it again: packtrain evaluate fetch --data DIR",
            )
    return {language: forms[language] for language in LANGUAGES} if isinstance(forms, dict) else {}


benchmark = TydiQA()
