"""Tests. Fixtures shared by all are in conftest.py; PostgreSQL for tests and benchmarks is in postgres.py."""
