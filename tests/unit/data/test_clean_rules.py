"""Every cleaning rule: what it mends and into what, what it drops, and what looks alike and is left alone."""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.core.folder import module, names
from packtrain.data.checks import reason_to_drop
from packtrain.data.clean import Stage
from packtrain.data.cleaning import RULES, load_rules
from packtrain.data.page_text import markdown

Turn = str | tuple[str, str]
Apply = Callable[[Conversation], Conversation | str]

WITHOUT_ARGUMENT = [name for name in names(RULES, ".py") if name != "language"]


def talk(*turns: Turn) -> Conversation:
    """A conversation of alternating turns; a pair is a question with its context."""
    messages = []
    for index, turn in enumerate(turns):
        text, context = (turn, None) if isinstance(turn, str) else turn
        messages.append(Message(("user", "assistant")[index % 2], text, context))
    return Conversation("toy", "toy_0", tuple(messages))


def rule(name: str) -> Apply:
    [found] = load_rules([name])
    return found.apply


@pytest.mark.parametrize("name", names(RULES, ".py"))
def test_every_rule_says_what_it_does_and_where_it_comes_from(name: str) -> None:
    found = module(RULES, name, "cleaning rule")
    first, _, rest = (found.__doc__ or "").partition("\n")
    assert first.endswith((".", "...", "`."))
    assert "Source:" in rest
    assert isinstance(found.STAGE, Stage)
    assert hasattr(found, "apply") != hasattr(found, "choose")


ROSE = "A rose is a flower of many colours."
PAGE = (
    '<div class="markdown prose w-full break-words dark:prose-invert light"><p>Use <code>a &lt; b</code> with '
    '<strong>care</strong>:</p><pre><div class="bg-black rounded-md mb-4"><span>python</span><button class="flex '
    'ml-auto gap-2"><svg><path d="M0"></path></svg>Copy code</button></div><code class="!whitespace-pre hljs '
    'language-python"><span class="hljs-keyword">for</span> i in x:\n    print(i &lt; 3)\n\n    y()\n</code></pre>'
    "<ol><li><p>One</p><ul><li>a</li><li>b</li></ul></li><li>Two</li></ol></div>"
)
PAGE_AS_MARKDOWN = (
    "Use `a < b` with **care**:\n\n```python\nfor i in x:\n    print(i < 3)\n\n    y()\n```\n\n"
    "1. One\n\n   - a\n   - b\n2. Two"
)

MENDED: list[tuple[str, Conversation, Conversation]] = [
    ("html", talk("How?", PAGE), talk("How?", PAGE_AS_MARKDOWN)),
    ("html", talk("How?", "2 / 2\n\n" + PAGE, "And?", "x"), talk("How?", "2 / 2\n\n" + PAGE_AS_MARKDOWN, "And?", "x")),
    ("regenerate_counter", talk("Hi there", "2 / 3\n\nHello!"), talk("Hi there", "Hello!")),
    ("regenerate_counter", talk("Add 3 and 4", "1 / 1Sure, it is 7."), talk("Add 3 and 4", "Sure, it is 7.")),
    ("regenerate_counter", talk("Hi", "1 / 2\n\n2 / 2\n\nHello!"), talk("Hi", "Hello!")),
    ("copy_code", talk("Code?", "```\npythonCopy codex = 1\n```"), talk("Code?", "```python\nx = 1\n```")),
    ("copy_code", talk("Code?", "```sqlCopy code\nSELECT 1\n```"), talk("Code?", "```sql\nSELECT 1\n```")),
    ("copy_code", talk("See:\n\nglsl\nCopy code\nfloat a;", "Yes"), talk("See:\n\nglsl\nfloat a;", "Yes")),
    ("copy_code", talk("Code?", "Use\n\nbashCopy codels -l"), talk("Code?", "Use\n\nbash\nls -l")),
    ("copy_counts", talk("Hi", "That is all.Copy120 chars / 24 words"), talk("Hi", "That is all.")),
    ("copy_counts", talk("Hi", "One.\n\nCopy 5 chars / 1 words\nTwo."), talk("Hi", "One.\nTwo.")),
    *(
        ("placeholder_input", talk(("Name a lake.", text), "Lake Constance"), talk("Name a lake.", "Lake Constance"))
        for text in (
            "<noinput>", "<no input>", "noinput", "No input", "Noinput", "NO INPUT.", "< noinput >", "`<noinput>`",
            '"<noinput>"',
            "[noinput]", "(no input)", "<noinput>.", "<noinput", "\\<noinput\\>", "<noinputs>", "No input required.",
            "No input needed",
            "no input is required", "<none>", "none", "N/A", "<N/A>", "n.a.", "not applicable", " <no_input>\n",
            "null", "<empty>",
        )
    ),
    (
        "placeholder_input",
        talk(("Fill it in.", "Name: Ann\n\n<noinput>"), "Name: Ann Lee"),
        talk(("Fill it in.", "Name: Ann"), "Name: Ann Lee"),
    ),
    ("placeholder_input", talk("Name a lake.\nInput: <noinput>", "Como"), talk("Name a lake.", "Como")),
    ("control_tokens", talk("What is </s>?", "An end."), talk("What is < /s>?", "An end.")),
    ("empty_answer", talk("a", "b", "c", "\u200b", "d", "e"), talk("a", "b")),
    ("empty_answer", talk("a", "b", "c", " \n"), talk("a", "b")),
]  # fmt: skip

DROPPED: list[tuple[str, Conversation, str]] = [
    ("empty_answer", talk("a", "\u200b", "c", "d"), "nothing before the first empty answer"),
    (
        "too_many_requests",
        talk("a", "b", "c", "Too many requests in 1 hour. Try again later."),
        "an answer is the message of an overloaded server",
    ),
    ("too_short", talk(" Hi \n", "Hello"), "fewer than 16 characters"),
    ("vendor_words", talk("Hi", "I use the openai.com site"), "mentions OpenAI or ChatGPT"),
    ("vendor_words", talk(("Hi", "Chatgpt4"), ROSE), "mentions OpenAI or ChatGPT"),
    *(
        ("identity", talk("Who are you?", text), "names another assistant")
        for text in (
            "I was made by OpenAI.", "I am ChatGPT.", "I'm Chat GPT!", "GPT-3 is large.", "gpt3", "Try GPT 4.",
            "GPT-3.5-turbo", "GPT-4-based",
            "Ask Bing Chat.", "LAION collects data", "OpenAssistant", "Open Assistant helps", "PaLM is a model.",
            "Google Bard knows", "Bard is a chatbot by Google", "the language model Bard", "Palm, a language model,",
            "Claude 2 can", "Claude Instant", "I am Claude, an AI assistant", "I was made by Anthropic.",
            "Anthropic's model",
        )
    ),
    ("identity", talk(("Reverse the text.", "ChatGPT"), "TPGtahC, and no more."), "names another assistant"),
    *(
        ("no_output", talk("Design a chair.", text), "an answer is a placeholder")
        for text in (
            "<nooutput>", "<No Output>", "No output", "N/A", "n/a.", "nan", "null", "<none>", "<noinput>", "<logo>",
            "[Image of a chair]",
            "<output audio>", "<noinput>\n<output image>", "<No output. The task needs a drawing, not text.>",
        )
    ),
    ("no_output", talk(("Judge it.", "N/A"), "N/A"), "an answer is a placeholder"),
    *(
        ("merged_item", talk("What is a rose?", ROSE + text), "an answer runs on into another task")
        for text in (
            "\n11. Instruction: Name a tree.\n11. Input:\n<noinput>", "\n##\n8. Instruction: Sing.",
            "\n\n## 14 Instruction: Count.",
            "\n2 Instruction : Add.",
        )
    ),
    ("link_input", talk(("Summarize it.", "https://example.org/a"), ROSE), "the input is only a link"),
    ("link_input", talk(("Describe the photo.", "![x](https://e.org/a.png)"), ROSE), "the input is only a link"),
    ("link_input", talk(("Name the flower.", '<img src="https://e.org/a.png"/>'), ROSE), "the input is only a link"),
    ("link_input", talk(("Evaluate the site.", "Website: www.example.org"), ROSE), "the input is only a link"),
    ("link_input", talk(("Summarize the content of the URL.", "https://e.org"), ROSE), "the input is only a link"),
    *(
        ("link_input", talk(("Describe it.", text), ROSE), "the input is a placeholder for something attached")
        for text in (
            "<Picture Attached>", "[Image 1]\n\n[Image 2]", "(Insert Article)", "<LINK TO ARTICLE>", "[Image of shop]",
        )
    ),
    *(
        ("media", talk(text, ROSE), "asks about a picture or a recording that is not there")
        for text in (
            "Describe this photo.", "Analyze the following painting and name its hues", "Redesign the logo below.",
        )
    ),
    (
        "media",
        talk(("Name the theme of this painting.", "No input"), ROSE),
        "asks about a picture or a recording that is not there",
    ),
    *(
        ("media", talk(text, ROSE), "asks for a picture or a recording")
        for text in (
            "Draw a rose in a vase.", "Sketch a stick figure.", "Record a melody of 20 seconds",
            "Make a crayon drawing",
            "Create a 10-second animation of a village.", "Please generate an image of a rose.", "Photograph a street.",
        )
    ),
    ("media", talk(("Edit this photo, please.", "a.png"), "It is brighter."), "asks for a picture or a recording"),
    ("media", talk("Create a logo for a shop.", "![logo](https://e.org/a.png)"), "the answer is a link to an image"),
]  # fmt: skip

LEFT_ALONE: list[tuple[str, Conversation]] = [
    ("html", talk("Write a page.", '<div class="container"><p>Hello</p></div>')),
    ("html", talk("Write a page.", "<p>Hello &amp; welcome</p>")),
    ("html", talk("Is a < b?", "If a < b and c > d, then <b>yes</b>.")),
    ("html", talk("Show it.", "Here is the page:\n```html\n" + PAGE + "\n```")),
    ("html", talk(PAGE, "That is HTML.")),
    ("html", talk("How?", PAGE.replace("</button>", ""))),
    ("html", talk("How?", PAGE.replace("with", "&lt;div class='hljs'&gt;", 1).replace("Use ", "", 1).replace(
        "<code>a &lt; b</code>", "", 1).replace("<p> ", "<p>", 1))),
    ("regenerate_counter", talk("Halve it.", "1 / 2")),
    ("regenerate_counter", talk("How much flour?", "3 / 4 cup of flour")),
    ("regenerate_counter", talk("What is half of 1?", "1 / 2\n\nBecause it is half.")),
    ("regenerate_counter", talk("Hi there", "3 / 2\n\nHello!")),
    ("regenerate_counter", talk("Hi there", "1/2\n\nHello!")),
    ("regenerate_counter", talk("2 / 2\n\nHello", "Hello!")),
    ("copy_code", talk("What does the button do?", "Press Copy code to copy it.")),
    ("copy_code", talk("Which buttons?", "Buttons:\n\nCopy code\nPaste")),
    ("copy_counts", talk("Copy12 chars / 3 words", "Copy that to 12 chars")),
    ("copy_counts", talk("Hi", "Copy12 chars / 3 words")),
    ("placeholder_input", talk(("Which element is it?", "Na"), "Sodium, a metal")),
    ("control_tokens", talk("What is < /s > or <S>?", "Nothing.")),
    ("placeholder_input", talk(("Define the word.", "empty"), "Holding nothing")),
    ("placeholder_input", talk(("Complete it.", "He was <noinput>"), "He was strong")),
    ("placeholder_input", talk(("Correct it.", "No input was given by the user."), "Fine.")),
    ("placeholder_input", talk("Name a lake.", "<noinput>")),
    ("placeholder_input", talk(("", "<noinput>"), "What?")),
    ("empty_answer", talk("a", "\u200bYes", "c", "🙂", "d", ".")),
    ("too_many_requests", talk("What is 429?", "It stands for too many requests in 1 hour.")),
    ("too_short", talk(("Add up", "12 and 13"), "25 ")),
    ("too_short", talk("Sixteen letters.", "")),
    ("vendor_words", talk("Is AI open?", "Open AI is a wish; a chat GPT too")),
    *(
        ("identity", talk("Tell me more.", text))
        for text in (
            "Palm trees grow in Palm Beach.", "The palm of a hand", "Palm Springs, Palmer and Palmolive",
            "Palm made hand-held computers.",
            "Shakespeare is the Bard of Avon.", "A bard in Lombardy", "He plays as a Bard.", "John Bardeen",
            "Claude Monet painted it.",
            "Claude Debussy wrote music, and Claude Shannon information theory.", "Jean-Claude 2nd", "Claude 1-0 won",
            "The Anthropic principle", "Arguments like Anthropic reasoning", "anthropic change of climate",
            "An open assistant position", "A GPT model writes.", "GPT-2 is small.", "The GPT 30 disk", "a GPT-40 car",
            "Bing is a search engine; chat with friends.", "Philanthropic work", "The reopened air", "GPT partition",
        )
    ),
    ("no_output", talk("Which of these is a mammal: trout, hawk?", "None")),
    ("no_output", talk("What does f() return in Python?", "null")),
    ("no_output", talk(("What is the value?", "x = nan"), "nan")),
    ("no_output", talk("Answer n/a when it does not apply.", "N/A")),
    ("no_output", talk("Write a tag for images.", '<img src="a.png">')),
    ("no_output", talk("Write a heading.", "<h1>Image</h1>")),
    ("no_output", talk("Sort the list.", "[1, 2, 3]")),
    ("no_output", talk("Sort the words.", "[audio, video]")),
    ("no_output", talk("Begin a letter.", "Dear [Name],")),
    ("merged_item", talk("Write a task.", "1. Instruction: Name a tree.")),
    ("merged_item", talk("Cook.", "Stir.\n\nInstructions:\n1. Preheat\n2. Input: heat")),
    ("merged_item", talk("Explain step 2.", "The text 2. Instruction: means a task.")),
    ("merged_item", talk("What is a computer?", "Parts:\n\n1. Input: keys\n2. Output: a screen")),
    ("merged_item", talk("Answer.\n12. Instruction: Name a tree.", "An oak")),
    ("link_input", talk(("Name the domain of the URL.", "https://e.org/a"), "e.org")),
    ("link_input", talk(("Write Python code that fetches it.", "https://e.org/a"), "import requests")),
    ("link_input", talk(("Fetch this.", "https://e.org/a"), "```\ncurl https://e.org/a\n```")),
    ("link_input", talk(("Summarize it.", "https://e.org/a"), "Sorry, I cannot open links.")),
    ("link_input", talk(("Summarize it.", "Roses are red (https://e.org/a)."), ROSE)),
    ("link_input", talk(("Caption it.", "[photo of a person walking in the woods]"), ROSE)),
    ("link_input", talk(("Sort it.", "[3, 1, 2]"), "[1, 2, 3]")),
    ("link_input", talk(("Choose one.", "[red, green, file]"), "red")),
    ("link_input", talk(("Write an SQL query.", "[Table]"), "SELECT * FROM [Table];")),
    ("link_input", talk(("Which painting is meant?", "[The Starry Night by Vincent Van Gogh]"), ROSE)),
    *(
        ("media", talk(text, ROSE))
        for text in (
            "Draw a conclusion from it.", "Draw a comparison between two cities.",
            "Draw me a progression table of engineers.",
            "Design a logo for a shop.", "Create a poster about exercise.", "Write a song about rain.",
            "Create a chart of sales.",
            "Describe this photo: a dog in the snow", 'Describe the following painting, "Mona Lisa".',
            "Create a short biographical sketch of Tesla",
            "Generate a video game title.", "Write a caption for an image of a cat.",
            "Edit this article and make it sound better.",
            "Draw a circle with Python and turtle.", "Write the script of a video.",
            "Paint a picture of life in Rome.", "Explain this image classifier.",
            "Create an image gallery in HTML.", "What is the image of God?", "Draw on your experience.",
            "Film festivals in Europe?",
        )
    ),
    ("media", talk(("Describe the photo below.", "A dog in the snow"), ROSE)),
    ("media", talk("Draw a rose.", "I'm sorry, but I cannot draw.")),
    ("media", talk("Show me how Markdown embeds an image.", "![logo](https://e.org/a.png)")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given_", "expected"), MENDED)
def test_mends(name: str, given_: Conversation, expected: Conversation) -> None:
    assert rule(name)(given_) == expected


@pytest.mark.parametrize(("name", "given_", "reason"), DROPPED)
def test_drops(name: str, given_: Conversation, reason: str) -> None:
    assert rule(name)(given_) == reason


@pytest.mark.parametrize(("name", "given_"), LEFT_ALONE)
def test_leaves_alone(name: str, given_: Conversation) -> None:
    assert rule(name)(given_) is given_


def test_every_rule_is_tried_both_ways() -> None:
    acted = {entry[0] for entry in [*MENDED, *DROPPED]}
    assert acted == {entry[0] for entry in LEFT_ALONE} == set(WITHOUT_ARGUMENT)


def test_mending_keeps_everything_else() -> None:
    conversation = replace(talk(("Name a lake.", "<noinput>"), "Como"), provenance={"file": "a.json"})
    mended = rule("placeholder_input")(conversation)
    assert mended == replace(conversation, messages=talk("Name a lake.", "Como").messages)


def test_markdown_of_tables_links_and_what_is_not_closed() -> None:
    html = (
        "<h2>Data</h2><table><thead><tr><th>A</th><th>B|c</th></tr></thead><tbody><tr><td>1</td><td><em>2</em></td></tr>"
        '</tbody></table><blockquote>Said</blockquote><p>See <a href="https://e.org">this</a>.<br>End<hr>'
        '<img src="https://e.org/a.png" alt="x"><ol start="3"><li>three<li>four</ol><pre>a  b'
    )
    assert markdown(html) == (
        "## Data\n\n| A | B\\|c |\n| --- | --- |\n| 1 | *2* |\n\n> Said\n\nSee [this](https://e.org).\nEnd\n\n---\n\n"
        "![x](https://e.org/a.png)\n\n3. three\n4. four\n\n```\na  b\n```"
    )


def test_markdown_loses_no_words_of_broken_html() -> None:
    assert markdown("<table><tr><td>one<tr><td>two</td>three<td>four") == "| one |\n| --- |\nthree| two | four |"
    assert markdown("<pre>a b<code>c d") == "```\na bc d\n```"
    assert markdown("<li>one</ol></td></tr>two</a></code>") == "- one\n\ntwo`"


class FakeLanguages:
    """Stands in for py3langid: what has a Cyrillic letter is Russian, the rest English."""

    labels = ("en", "de", "ru")

    def classify(self, text: bytes) -> tuple[str, float]:
        words = text.decode()
        sure = 0.5 if "perhaps" in words else 1.0
        return ("ru" if any("\u0400" <= letter <= "\u04ff" for letter in words) else "en"), sure

    @classmethod
    def from_model_file(cls, name: str, *, norm_probs: bool) -> "FakeLanguages":
        assert (name, norm_probs) == ("model", True)
        return cls()


def fake_langid(monkeypatch: pytest.MonkeyPatch, module_: ModuleType | None) -> None:
    module(RULES, "language", "cleaning rule")._identifier.cache_clear()
    package = ModuleType("py3langid") if module_ else None
    for name, found in {"py3langid": package, "py3langid.langid": module_}.items():
        monkeypatch.setitem(sys.modules, name, found)


def test_language_keeps_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    langid = ModuleType("langid")
    vars(langid).update(LanguageIdentifier=FakeLanguages, MODEL_FILE="model")
    fake_langid(monkeypatch, langid)
    russian = talk("Скажи что-нибудь по-русски, пожалуйста, и говори подольше.", "Хорошо, вот мой длинный ответ тебе.")
    unsure = talk(russian.messages[0].content + " perhaps", russian.messages[1].content)
    short, english = talk("Да?", "Нет, спасибо."), talk(ROSE, ROSE)
    code = talk(ROSE, ROSE + "\n```\n# комментарий\n```")
    apply = rule("language=en+de")
    assert apply(russian) == "in another language: ru"
    assert [apply(kept) is kept for kept in (unsure, short, english, code)] == [True] * 4
    assert rule("language=ru")(russian) is russian
    with pytest.raises(UserError, match="unknown language: xx") as caught:
        rule("language=xx")
    assert caught.value.hint == "there are: de, en, ru"
    fake_langid(monkeypatch, None)
    with pytest.raises(UserError, match="the cleaning rule language: py3langid is not installed") as caught:
        rule("language=en")
    assert caught.value.hint == "pip install 'packtrain[language]'"


PIECES = st.sampled_from(
    [
        "1 / 2", "2 / 2\n\n", "Copy code", "```", "\n", " ", "python", "Copy12 chars / 3 words", "<noinput>",
        "noinput", "N/A", "<", ">", "\u200b",
        "<div class=\"markdown prose\">", "</div>", "<pre>", "</pre>", "<code class=\"hljs\">", "</code>", "&lt;",
        "&amp;lt;", "<p>", "<li>", "<ol>",
        "<table>", "<tr>", "<td>", "</td>", "</tr>", "<!", "<svg>", "</svg>", "<a href=\"x\">", "</a>", "\0",
        "OpenAI", "Palm", "14. Instruction:",
        "https://e.org/a", "![x](", ")", "Describe this photo", "Too many requests in 1 hour", "\ud800", "A", "é",
        "none", "Input: ", "##", "<br>",
    ]
)  # fmt: skip
TEXT = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=12).map("".join))
PAGES = st.lists(PIECES, max_size=10).map(lambda pieces: '<div class="markdown prose">' + "".join(pieces) + "</div>")
MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant"]),
        st.one_of(TEXT, PAGES),
        st.one_of(st.none(), TEXT),
    ),
    max_size=5,
)
ROUNDS = st.lists(st.tuples(st.tuples(TEXT, TEXT), st.one_of(TEXT, PAGES)), min_size=1, max_size=3).map(
    lambda pairs: talk(*(turn for pair in pairs for turn in pair))
)
CONVERSATIONS = st.one_of(MESSAGES.map(lambda messages: Conversation("toy", "toy_0", tuple(messages))), ROUNDS)


@given(conversation=CONVERSATIONS)
@example(conversation=talk("How?", PAGE))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rules_never_fail_are_idempotent_and_keep_conversations_sound(conversation: Conversation) -> None:
    sound = reason_to_drop(conversation) is None
    for loaded in load_rules():
        once = loaded.apply(conversation)
        if isinstance(once, str):
            assert once
            continue
        assert loaded.apply(once) is once, loaded.name
        assert (once == conversation) == (once is conversation), loaded.name
        if sound:
            assert once.messages
            assert reason_to_drop(once) is None, loaded.name


def test_a_placeholder_under_a_heading_goes_with_the_heading() -> None:
    conversation = talk("Name a lake.\n\nInput:\n<noinput>\n", "Como")
    assert rule("placeholder_input")(conversation) == talk("Name a lake.", "Como")
