"""lnlib: learning with noisy labels, the methods, bounds and lessons of LIMIT and MetaInfoNet."""

__version__ = "0.2.0"
