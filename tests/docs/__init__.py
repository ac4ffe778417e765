"""The documentation, held to the program: what a page says exists, and what exists is on a page."""
