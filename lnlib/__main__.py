"""`python -m lnlib`, where the `lnlib` command is not on the path."""

from lnlib.cli import main

if __name__ == "__main__":
    main()
