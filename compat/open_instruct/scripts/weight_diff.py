"""Open-Instruct's scripts/weight_diff.py by its old command line: `python scripts/weight_diff.py --help`."""

from packtrain.cli.old_command_lines import OPEN_INSTRUCT, weight_diff

if __name__ == "__main__":
    weight_diff(OPEN_INSTRUCT)
