"""How far judges agree with people: the published figures, to be read beside any win rate."""

from importlib.resources import files


def agreement() -> dict[str, float]:
    """Judge to its agreement with people in percent, the best first, people themselves among them (alpaca_eval)."""
    import yaml

    text = (files("packtrain.evaluate.judging") / "agreement.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    figures: dict[str, float] = {**content["judges"], "humans": content["humans"]}
    return dict(sorted(figures.items(), key=lambda entry: -entry[1]))
