"""`python -m lnlib`, where the `lnlib` command is not on the path."""

from lnlib.cli import main

main()
