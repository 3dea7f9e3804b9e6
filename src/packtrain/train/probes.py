"""Probes: does the finished model answer prompts of its own training data, and stop by itself?

A model that never stops is the commonest report about fine-tuned models, and nothing in the loss shows it. The probes
are taken from the training data, not from a list: a model of one narrow task owes nobody a poem, but behind a prompt
that it was trained on, in the format that it was trained in, it must come to an end. They are those with the shortest
answers among some that a hash chooses, so that a healthy model ends well within the limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from packtrain.core.conversation import Conversation, Message, read_conversations
from packtrain.core.errors import UserError
from packtrain.core.machine_memory import free_memory_bytes
from packtrain.core.manifest import digest
from packtrain.core.progress import progress, say
from packtrain.models.base import LanguageModel, Sampling
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.weights.info import torch_dtype
from packtrain.weights.store import open_store
from packtrain.weights.writer import amount

PROBES = 8
MAX_NEW_TOKENS = 128
CHOSEN_PER_PROBE = 64
"""Conversations that the hash chooses for each probe; the shortest answers among them are taken."""
MEMORY_MARGIN = 1.2
"""Memory that is asked for, as a multiple of the weights: activations and the cache of keys and values are small."""


@dataclass(frozen=True, slots=True)
class ProbePrompt:
    """What a model is asked."""

    messages: tuple[Message, ...]
    """Up to the answer."""
    answer: str
    """What the training data answer."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What a model answered."""

    prompt: str
    """The text that it was given."""
    text: str
    ended: bool
    """By a stop id, within the limit."""
    could_end: bool
    """The answer in the training data is within the limit, too."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """How a model fared."""

    answers: tuple[ProbeAnswer, ...]
    left_out: str = ""
    """Why nothing was asked; "" when something was."""

    @property
    def asked(self) -> int:
        """Prompts that were answered."""
        return len(self.answers)

    @property
    def ended(self) -> int:
        """Answers that ended by a stop id."""
        return sum(answer.ended for answer in self.answers)

    @property
    def never_stops(self) -> bool:
        """True when no answer ended although some could: the model has not learnt to stop, or does not know its ids."""
        return not self.ended and any(answer.could_end for answer in self.answers)


def probe_prompts(data: Path, tokenizer: Tokenizer, template: PromptTemplate, count: int = PROBES) -> list[ProbePrompt]:
    """At most `count` prompts of a conversation file: the first learnt answer's of each conversation, no prompt twice.

    The choice depends on the conversations' identities alone. Left out is what the template cannot show.
    """
    with progress(f"choosing probes from {data.name}", None) as advance:

        def rank(conversation: Conversation) -> str:
            advance(1)
            return digest([conversation.dataset, conversation.id])

        chosen = nsmallest(CHOSEN_PER_PROBE * count, read_conversations(data), key=rank)
    found: dict[str, ProbePrompt] = {}
    for conversation in chosen:
        prompt = _first_prompt(conversation)
        if prompt is not None:
            try:
                text = template.render(prompt.messages, tokenizer.eos_token, for_answer=True).text
            except UserError:
                continue
            found.setdefault(text, prompt)
    return sorted(found.values(), key=lambda prompt: len(prompt.answer))[:count]


def _first_prompt(conversation: Conversation) -> ProbePrompt | None:
    for place, message in enumerate(conversation.messages):
        if message.role == "assistant" and message.learnt:
            return ProbePrompt(conversation.messages[:place], message.content) if place else None
    return None


def probe(
    model: LanguageModel,
    tokenizer: Tokenizer,
    template: PromptTemplate,
    prompts: Sequence[ProbePrompt],
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> ProbeReport:
    """Greedy answers of `model` to the prompts in the format of `template`, and which of them ended by a stop id."""
    texts = [template.render(prompt.messages, tokenizer.eos_token, for_answer=True).text for prompt in prompts]
    completions = model.generate(texts, Sampling(max_new_tokens=max_new_tokens))
    return ProbeReport(
        tuple(
            ProbeAnswer(
                text,
                completion.text,
                ended=completion.finish_reason == "stop",
                could_end=len(tokenizer.ids(prompt.answer)) < max_new_tokens,
            )
            for prompt, text, completion in zip(prompts, texts, completions, strict=True)
        )
    )


def probe_folder(
    folder: Path, template: PromptTemplate, prompts: Sequence[ProbePrompt], max_new_tokens: int = MAX_NEW_TOKENS
) -> ProbeReport:
    """The same for a model folder, loaded as anybody would: its own tokenizer, and the stop ids that it names.

    It is computed on the GPU in bfloat16 if there is one, else in float32. An answer gets half the model's context at
    most; prompts that leave no room for it are left out. So is everything, and said, where the memory does not hold
    the model.
    """
    import torch

    from packtrain.models.local import LocalModel

    on_gpu = torch.cuda.is_available()
    dtype = "bfloat16" if on_gpu else "float32"
    needed = (
        MEMORY_MARGIN * sum(info.numel for info in open_store(folder).infos().values()) * torch_dtype(dtype).itemsize
    )
    free = torch.cuda.mem_get_info()[0] if on_gpu else free_memory_bytes()
    if free < needed:
        where = "the GPU" if on_gpu else "this machine"
        return _left_out(f"they take {amount(needed)} of memory, {where} has {amount(free)} free")
    model = LocalModel(folder, dtype=torch_dtype(dtype))
    max_new_tokens = min(max_new_tokens, model.max_context // 2)
    fitting = []
    for prompt in prompts:
        text = template.render(prompt.messages, model.tokenizer.eos_token, for_answer=True).text
        if len(model.tokenizer.ids(text)) + max_new_tokens <= model.max_context:
            fitting.append(prompt)
    if not fitting:
        return _left_out(f"no prompt of the training data leaves room for {max_new_tokens} tokens in the context")
    return probe(model, model.tokenizer, template, fitting, max_new_tokens)


def _left_out(why: str) -> ProbeReport:
    say(f"note: probes of the finished model are left out: {why}")
    return ProbeReport((), why)
