"""Customer journeys as reviewable files, sent once, each send and each refusal on the record."""

__version__ = "0.1.0"
