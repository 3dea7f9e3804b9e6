"""packtrain: the whole open instruction-tuning pipeline in one package.

Layers, imports pointing downward only (checked by import-linter):
cli > pipeline > generate | data | train | diff | chat | evaluate | card > models > prompts | weights > core.
"""

__version__ = "0.1.0"
