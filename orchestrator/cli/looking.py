"""Looking."""

from cyclopts import App


def register(app: App) -> None:
    app.command(App(name="customer"))
