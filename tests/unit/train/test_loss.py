"""The chunked loss is torch's cross-entropy, in value and in every gradient, and never holds all logits."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from packtrain.train import loss as loss_module
from packtrain.train.loss import loss_of_logits, weighted_loss

WIDTH, VOCABULARY = 24, 61


class Recording(nn.Module):
    """An output head that remembers how many logits it was asked for at once."""

    def __init__(self, table: torch.Tensor, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(table)
        self.bias = nn.Parameter(torch.randn(len(table))) if bias else None
        self.calls: list[int] = []

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(hidden) * len(self.weight))
        return nn.functional.linear(hidden, self.weight, self.bias)


def given(positions: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, labels with the first and the last token among them, and weights with a zero."""
    torch.manual_seed(seed)
    hidden = torch.randn(positions, WIDTH, requires_grad=True)
    labels = torch.randint(0, VOCABULARY, (positions,))
    labels[0], labels[-1] = 0, VOCABULARY - 1
    weights = torch.rand(positions)
    weights[positions // 2] = 0.0
    return hidden, labels, weights


def by_torch(
    hidden: torch.Tensor, head: nn.Module, labels: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    losses = nn.functional.cross_entropy(head(hidden).float(), labels, reduction="none")
    return (losses * weights).sum(), losses.detach()


Loss = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def ours(
    hidden: torch.Tensor, head: nn.Module, labels: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    return weighted_loss(hidden, head, labels, weights, VOCABULARY)


def gradients(loss: Loss, positions: int, *, bias: bool = False) -> list[torch.Tensor]:
    hidden, labels, weights = given(positions)
    head = Recording(torch.randn(VOCABULARY, WIDTH), bias=bias)
    total, losses = loss(hidden, head, labels, weights)
    assert not losses.requires_grad
    (3 * total).backward()
    return [total.detach(), losses, *(tensor.grad for tensor in (hidden, *head.parameters()))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("positions", [1, 2, 8, 9, 40])
@pytest.mark.parametrize("chunk", [1, 8 * VOCABULARY, 9 * VOCABULARY - 1, 1 << 25])
@pytest.mark.parametrize("block", [1, 3 * VOCABULARY, 1 << 20])
def test_value_and_gradients(
    monkeypatch: pytest.MonkeyPatch, positions: int, chunk: int, block: int, bias: bool
) -> None:
    """Chunks and blocks of one position, of some, and of all, ending where the positions do and elsewhere."""
    monkeypatch.setattr(loss_module, "CHUNK_LOGITS", chunk)
    monkeypatch.setattr(loss_module, "BLOCK_LOGITS", {"cpu": block})
    for mine, theirs in zip(
        gradients(ours, positions, bias=bias), gradients(by_torch, positions, bias=bias), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk", [4 * VOCABULARY, 1 << 25])
def test_a_head_tied_to_the_embedding_gets_both_gradients(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(loss_module, "CHUNK_LOGITS", chunk)
    found = []
    for loss in (ours, by_torch):
        torch.manual_seed(0)
        table = nn.Embedding(VOCABULARY, WIDTH)
        head = Recording(torch.empty(0))
        head.weight = table.weight
        ids, labels = torch.randint(0, VOCABULARY, (2, 15))
        total, _ = loss(torch.tanh(table(ids)), head, labels, torch.full((15,), 1 / 15))
        total.backward()
        found.append(table.weight.grad)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("chunk", [4 * VOCABULARY, 1 << 25])
def test_logits_in_bfloat16_are_worked_on_in_float32(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """The loss is that of the rounded logits to float32's accuracy; gradients are rounded once."""
    monkeypatch.setattr(loss_module, "CHUNK_LOGITS", chunk)
    found = []
    for loss in (ours, by_torch):
        hidden, labels, weights = given(40)
        hidden = hidden.detach().bfloat16().requires_grad_()
        head = Recording(torch.randn(VOCABULARY, WIDTH).bfloat16())
        total, losses = loss(hidden, head, labels, weights)
        assert total.dtype == losses.dtype == torch.float32
        total.backward()
        found.append((total.detach(), losses, hidden.grad, head.weight.grad))
    for mine, theirs in zip(found[0][:2], found[1][:2], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(found[0][2:], found[1][2:], strict=True):
        assert mine is not None
        assert theirs is not None
        assert mine.dtype == torch.bfloat16
        assert float((mine - theirs).float().norm() / theirs.float().norm()) < 1e-2


def test_the_head_is_never_asked_for_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "CHUNK_LOGITS", 10 * VOCABULARY)
    hidden, labels, weights = given(95)
    head = Recording(torch.randn(VOCABULARY, WIDTH))
    total, losses = ours(hidden, head, labels, weights)
    assert len(losses) == 95
    assert head.calls == [10 * VOCABULARY] * 9 + [5 * VOCABULARY]
    total.backward()
    assert sorted(head.calls) == sorted(2 * ([10 * VOCABULARY] * 9 + [5 * VOCABULARY]))


def test_one_chunk_is_computed_once() -> None:
    hidden, labels, weights = given(95)
    head = Recording(torch.randn(VOCABULARY, WIDTH))
    total, _ = ours(hidden, head, labels, weights)
    total.backward()
    assert head.calls == [95 * VOCABULARY]


def test_the_gradient_takes_the_place_of_the_logits() -> None:
    """No second tensor of that size is made."""
    logits = torch.randn(9, VOCABULARY, requires_grad=True)
    made = 2 * logits
    total, _ = loss_of_logits(made, torch.arange(9), torch.full((9,), 1 / 9))
    total.backward()
    expected = torch.softmax(logits.detach() * 2, -1) / 9
    expected[torch.arange(9), torch.arange(9)] -= 1 / 9
    torch.testing.assert_close(made.detach(), expected)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, 2 * expected)


@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_give_finite_losses_and_gradients(extreme: float) -> None:
    logits = torch.zeros(3, VOCABULARY)
    logits[:, 5] = extreme
    made = logits.clone().requires_grad_()
    labels = torch.tensor([5, 6, 0])
    total, losses = loss_of_logits(made * 1, labels, torch.ones(3))
    total.backward()
    torch.testing.assert_close(losses, nn.functional.cross_entropy(logits, labels, reduction="none"))
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()


def test_forward_pass_alone_leaves_the_logits_as_they_are() -> None:
    logits = torch.randn(4, VOCABULARY)
    before = logits.clone()
    with torch.no_grad():
        total, losses = loss_of_logits(logits, torch.arange(4), torch.ones(4))
    assert torch.equal(logits, before)
    assert total.item() == pytest.approx(losses.sum().item())
