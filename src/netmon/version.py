"""netmon's version: typed here alone."""

__version__ = "0.1.0"
