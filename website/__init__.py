"""The course as a web site: `make site`, or `python -m website`."""
