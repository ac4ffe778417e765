"""How words reach people: one provider a file, both ways. Knows nothing of the orchestrator."""

__version__ = "0.1.0"
