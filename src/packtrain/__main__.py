"""`python -m packtrain` and `torchrun -m packtrain`: the same as the `packtrain` command."""

from packtrain.cli.main import main

if __name__ == "__main__":
    main()
