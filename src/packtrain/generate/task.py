"""The unit that generation works on: one instruction with its input and output."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """One exercise; `input` is empty when the instruction stands alone."""

    instruction: str
    input: str
    output: str

    def as_json(self) -> dict[str, str]:
        """The three fields of an Alpaca record."""
        return {"instruction": self.instruction, "input": self.input, "output": self.output}
