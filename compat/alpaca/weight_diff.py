"""Stanford Alpaca's weight_diff.py by its old command line: `python weight_diff.py --help`."""

from packtrain.cli.old_command_lines import ALPACA, weight_diff

if __name__ == "__main__":
    weight_diff(ALPACA)
