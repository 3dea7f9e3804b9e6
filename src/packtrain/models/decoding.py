"""Answers token by token: beginnings that prompts share are computed once, finished rows leave, waiting ones join."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from packtrain.models.base import Completion, Sampling
from packtrain.models.drawing import generator, next_tokens
from packtrain.models.encoding import Asked
from packtrain.models.forward import Forward
from packtrain.models.key_values import KeyValues, joined
from packtrain.models.memory import Budget, OutOfMemory, does_not_fit, watched
from packtrain.models.prefixes import LEAST_SAVED_TOKENS, groups_of
from packtrain.models.stopping import AnswerText
from packtrain.prompts.tokenizer import Tokenizer

JOIN_SHARE = 0.25
"""Rows leave and join when so much of the batch has finished: each time all keys and values are laid out anew."""


class Row:
    """One answer in the making."""

    def __init__(
        self,
        asked: Asked,
        tokenizer: Tokenizer,
        stop_ids: frozenset[int],
        sampling: Sampling,
        on_token: Callable[[int], None] | None = None,
    ) -> None:
        """`stop_ids`: tokens that end an answer; `on_token` gets each of the others."""
        self.asked = asked
        self.text = AnswerText(tokenizer, asked.ids, sampling.stop)
        self.source = generator(asked.seed)
        self.beginning: KeyValues | None = None
        """Of the prompt, what the row shares with others."""
        self._stop_ids = stop_ids
        self._on_token = on_token
        self._ended = self._stopped = False

    @property
    def finished(self) -> bool:
        """Whether nothing is to be added."""
        return self._ended or self._stopped or len(self.text.ids) >= self.asked.room

    def take(self, token: int) -> bool:
        """Whether the answer is finished now that `token` is its next one."""
        if token in self._stop_ids:
            self._ended = True
            return True
        self._stopped = self.text.add(token)
        if self._on_token is not None:
            self._on_token(token)
        return self.finished

    def completion(self) -> Completion:
        """The finished answer."""
        return Completion(
            text=self.text.text(),
            finish_reason="stop" if self._ended or self._stopped else "length",
            prompt_tokens=len(self.asked.ids),
            completion_tokens=len(self.text.ids) + self._ended,
            cut_tokens=self.asked.cut_tokens,
        )


class Decoding:
    """Answers to many prompts with one model."""

    def __init__(self, forward: Forward, budget: Budget, sampling: Sampling, start: Callable[[Asked], Row]) -> None:
        """`start` makes the row of a prompt, afresh each time it is called."""
        self.forward, self.budget, self.sampling, self.start = forward, budget, sampling, start
        self._waiting: deque[_Group] = deque()
        self._live: list[Row] = []
        """Rows that the memory holds, in its order; some may be finished."""
        self._memory: KeyValues | None = None
        self._done: list[Row] = []
        """Finished and not yet handed over."""

    def run(self, asked: Sequence[Asked]) -> Iterator[Row]:
        """Each row when it is finished; UserError when a single one does not fit the memory.

        A batch that does not fit is given up and its rows begin again in smaller ones, with the same answers.
        """
        self._waiting = deque(self._groups(asked))
        while self._waiting or self._live:
            try:
                with watched():
                    if self._has_room():
                        self._admit()
                    else:
                        self._step()
            except OutOfMemory:
                self._begin_again()
            done, self._done = self._done, []
            yield from done

    def _groups(self, asked: Sequence[Asked]) -> Iterator["_Group"]:
        rows = [one.ids for one in asked]
        longest = max((len(one.ids) + one.room for one in asked), default=0)
        sharing = self.forward.shares(2 * longest)
        for group in groups_of(rows, least_saved_tokens=LEAST_SAVED_TOKENS if sharing else None):
            yield _Group(group.shared, deque(asked[member] for member in group.members))

    def _unfinished(self) -> list[int]:
        return [place for place, row in enumerate(self._live) if not row.finished]

    def _most_rows(self, group: "_Group") -> int:
        """Rows that fit if all become as long as the longest of those under way and the next of `group` can."""
        shared = {id(row.beginning): 0 if row.beginning is None else row.beginning.columns for row in self._live}
        following = group.asked[0]
        width = max(
            len(following.ids) + following.room - group.shared,
            *(len(row.asked.ids) + row.asked.room - shared[id(row.beginning)] for row in self._live),
            1,
        )
        rest = self.budget.stored_tokens - group.shared - sum(shared.values())
        return max(1, min(self.budget.rows, rest // width))

    def _has_room(self) -> bool:
        if not self._waiting or not self._live:
            return bool(self._waiting)
        return len(self._unfinished()) <= (1 - JOIN_SHARE) * self._most_rows(self._waiting[0])

    def _admit(self) -> None:
        """Prefill as many waiting rows as there is room for, and join them to those under way."""
        self._compact()
        parts = [] if self._memory is None else [self._memory]
        while self._waiting and len(self._live) < self._most_rows(self._waiting[0]):
            group = self._waiting[0]
            batch = self._next_batch(group)
            rows = [self.start(asked) for asked in batch]
            self._live += rows  # from here on they begin again if the memory does not do
            if not group.asked:
                self._waiting.popleft()
            if group.shared and group.beginning is None:
                group.beginning = self.forward.beginning(batch[0].ids[: group.shared])
            for row in rows:
                row.beginning = group.beginning
            behind = [asked.ids[group.shared :] for asked in batch]
            logits, memory = self.forward.behind(group.beginning, behind)
            self._feed(rows, logits[:, -1])
            going_on = [place for place, row in enumerate(rows) if not row.finished]
            if going_on:
                parts.append(memory if len(going_on) == len(rows) else memory.keep(going_on))
            self._live = [self._live[place] for place in self._unfinished()]
        self._memory = joined(parts) if parts else None

    def _next_batch(self, group: "_Group") -> list[Asked]:
        width = len(group.asked[0].ids) - group.shared
        room = self._most_rows(group) - len(self._live)
        batch: list[Asked] = []
        while group.asked and (not batch or (len(batch) < room and self.budget.fits(len(batch) + 1, width, width))):
            batch.append(group.asked.popleft())
        return batch

    def _step(self) -> None:
        """One more token for every row under way."""
        unfinished = self._unfinished()
        if len(unfinished) <= (1 - JOIN_SHARE) * len(self._live):
            self._compact()
            unfinished = self._unfinished()
        if self._memory is None:
            raise ValueError("no row is under way")
        tokens = [[] if row.finished else [row.text.ids[-1]] for row in self._live]
        logits, self._memory = self.forward.next(self._memory, tokens)
        rows = [self._live[place] for place in unfinished]
        self._feed(rows, logits if len(rows) == len(self._live) else logits[unfinished])
        if all(row.finished for row in rows):
            self._live, self._memory = [], None

    def _compact(self) -> None:
        """Let finished rows go."""
        places = self._unfinished()
        if self._memory is not None and len(places) < len(self._live):
            self._memory = self._memory.keep(places) if places else None
            self._live = [self._live[place] for place in places]

    def _feed(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        tokens = next_tokens(logits, [row.source for row in rows], self.sampling.temperature, self.sampling.top_p)
        self._done += [row for row, token in zip(rows, tokens, strict=True) if row.take(token)]

    def _begin_again(self) -> None:
        """Halve what a batch may hold, and put the rows under way back to the others that wait."""
        unfinished = [row.asked for row in self._live if not row.finished]
        if len(unfinished) <= 1 and len(self._live) <= 1:
            raise does_not_fit(max((len(asked.ids) for asked in unfinished), default=0))
        waiting = [asked for group in self._waiting for asked in group.asked]
        self._live, self._memory = [], None
        self.budget.halve()
        self._waiting = deque(self._groups([*unfinished, *waiting]))


@dataclass(slots=True)
class _Group:
    """Waiting prompts that begin alike, and the memory of their beginning once it is computed."""

    shared: int
    asked: deque[Asked]
    beginning: KeyValues | None = None
