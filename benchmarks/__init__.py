"""Speeds beside the floors of the same machine: `make bench`."""
