"""Stanford Alpaca's train.py by its old command line: `python train.py --help`."""

from packtrain.cli.old_train import train

if __name__ == "__main__":
    train()
