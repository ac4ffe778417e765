"""Alembic's environment and revisions. Revisions are numbered 0001, 0002, … and each has exactly one parent."""
