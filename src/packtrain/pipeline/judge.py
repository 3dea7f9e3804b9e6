"""Who compares answers in a run or a plan of a recipe, which names no judge itself, and what that may cost."""

from dataclasses import dataclass

from packtrain.evaluate.judging.budget import Budget
from packtrain.models.prices import Price, price_of


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge as `packtrain evaluate --judge` has it, neither opened nor asked."""

    name: str = ""
    """openai:NAME, local:DIR, vllm:DIR or longest; "" is nobody."""
    price_in: float | None = None
    """Dollars per million tokens, as the next."""
    price_out: float | None = None
    budget_usd: float | None = None

    @property
    def price(self) -> Price | None:
        """The price given, or the list price; None where there is neither. UserError for half a price."""
        return price_of(self.name, self.price_in, self.price_out)

    @property
    def costs_nothing(self) -> bool:
        """Whether no endpoint is asked, and no price is given for what is."""
        return self.price is None and not self.name.startswith("openai:")

    def check_name(self) -> None:
        """Raise UserError for a name that is neither `longest` nor that of a model."""
        from packtrain.evaluate.outcomes import LONGEST
        from packtrain.models.open import kind_and_name

        if self.name != LONGEST:
            kind_and_name(self.name)

    def check_budget(self) -> None:
        """Raise UserError for half a price, and for a budget that cannot be kept because no price is known."""
        Budget(self.price, self.budget_usd)


NOBODY = Judge()
