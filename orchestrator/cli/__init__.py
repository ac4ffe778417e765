"""The command line. Each module of this package brings its commands by `register(app)`; nothing else lists them.

Modules are imported for every call, so at their top they import nothing heavy: the store, the channels, rich and
Prefect come in inside the functions that need them.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter

from orchestrator import __version__
from orchestrator.cli.terminal import (
    COULD_NOT_RUN,
    FINE,
    USAGE,
    CannotRun,
    Terminal,
    Usage,
    answering,
    default_workspace,
    tell_failure,
    tell_problems,
)

TRACEBACK = "ORCHESTRATOR_TRACEBACK"
"""Set, an unexpected error shows where it came from, for whoever mends it."""


def build() -> App:
    """The application with every command of every module."""
    app = App(
        name="orchestrator",
        help="Customer journeys as reviewable files, sent once, each send and each refusal on the record.",
        version=__version__,
        version_format="plaintext",
        result_action="return_value",
        exit_on_error=False,
    )
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        if not info.name.startswith(("_", "pytest_")):
            module = importlib.import_module(f"{__name__}.{info.name}")
            if hasattr(module, "register"):
                module.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: run one command and leave with its exit code."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    # What was written may still stand in a buffer whose reader has gone (`orchestrator log | head`).
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """One command; returns its exit code. Never lets an exception out."""
    app = build()
    app.meta.group_parameters = Group("Everywhere", sort_key=99)

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        workspace: Annotated[Path | None, Parameter(name=["--workspace", "-w"])] = None,
        json: Annotated[bool, Parameter(negative=())] = False,
    ) -> int:
        """Run a command.

        Parameters
        ----------
        workspace
            The folder with orchestrator.toml, journeys/ and templates/. Without it: ORCHESTRATOR_WORKSPACE, then the
            folder you are in.
        json
            Answer with one JSON document.
        """
        call = Terminal((workspace or default_workspace()).expanduser().absolute(), json)
        with answering(call):
            return _answered(app, tokens, call)

    try:
        return int(app.meta(arguments, exit_on_error=False) or FINE)
    except CycloptsError:
        return USAGE  # told already
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who was reading has read enough (`orchestrator log | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE


def _answered(app: App, tokens: Sequence[str], call: Terminal) -> int:
    """Run, and turn what a command may raise into a message and an exit code."""
    try:
        outcome: Any = app(tokens, exit_on_error=False)
        return outcome if isinstance(outcome, int) and not isinstance(outcome, bool) else FINE
    except CycloptsError as error:
        if call.json:  # to people it is told already
            call.document({"error": " ".join(str(error).split())})
        raise
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except CannotRun as error:
        return tell_failure(str(error), call)
    except Usage as error:
        return tell_failure(str(error), call, USAGE)
    except Exception as error:
        return _unexpected(error, call)


def _unexpected(error: Exception, call: Terminal) -> int:
    """The exceptions of the inner rooms, imported only now: a call that goes well does not pay for them."""
    from orchestrator.problems import Conflict, ProjectError

    if isinstance(error, ProjectError):
        return tell_problems(error, call)

    from channels.base import ChannelError
    from orchestrator.store import StoreUnavailable

    if isinstance(error, Conflict | ChannelError | StoreUnavailable):
        return tell_failure(str(error), call)
    if os.environ.get(TRACEBACK):
        raise error
    tell_failure(
        f"this is a fault of the program, not yours ({type(error).__name__}); nothing was left half done. "
        f"Run it again with {TRACEBACK}=1 and report what it prints",
        call,
    )
    return COULD_NOT_RUN
