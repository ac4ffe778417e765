"""Fixtures of the web tests."""

from tests.web.browser import browser

__all__ = ["browser"]
