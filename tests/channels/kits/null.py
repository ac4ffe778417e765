from pathlib import Path

from channels.base import Medium
from channels.null import Null
from tests.channels.kit import Kit


def kits(folder: Path) -> list[Kit]:
    return [Kit(Null(medium), None) for medium in Medium]
