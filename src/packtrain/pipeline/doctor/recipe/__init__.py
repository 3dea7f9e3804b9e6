"""Checks of what a recipe asks for: is it at hand, and does it agree with itself."""
