"""The words of the pages, in every language they are spoken in. Pure: a page brings its own table, the shell this one.

A table says, for each key, the text in every language of LANGUAGES in that order, so that none can be missing. Texts
hold no markup; `{name}` stands for what a page fills in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LANGUAGES: Final = ("en", "de")
Table = Mapping[str, tuple[str, str]]
"""key → (English, German)."""

SHELL: Final[Table] = {
    "skip": ("Skip to the content", "Zum Inhalt springen"),
    "sender": ("Sent by {name}", "Absender: {name}"),
    "sorry.400.title": ("That could not be read", "Das war nicht lesbar"),
    "sorry.400.what": ("Something in what was sent is not as this page expects it.", "Die Eingabe ist unvollständig."),
    "sorry.400.do": (
        "Go back, open the link in your message again and repeat what you did.",
        "Gehen Sie zurück, öffnen Sie den Link in Ihrer Nachricht noch einmal und wiederholen Sie den Vorgang.",
    ),
    "sorry.404.title": ("There is nothing here", "Hier ist nichts"),
    "sorry.404.what": (
        "This address leads nowhere. The link may have been cut off when it was copied.",
        "Diese Adresse führt zu keiner Seite. Vielleicht wurde der Link beim Kopieren abgeschnitten.",
    ),
    "sorry.404.do": (
        "Open the link from your message itself, or reply to the message and tell us what you would like.",
        "Öffnen Sie den Link direkt aus Ihrer Nachricht, oder antworten Sie auf die Nachricht und schreiben Sie uns "
        "Ihren Wunsch.",
    ),
    "sorry.405.title": ("That does not work this way", "So geht das nicht"),
    "sorry.405.what": ("This address cannot be used like this.", "Diese Adresse lässt sich so nicht verwenden."),
    "sorry.405.do": ("Open the link in your message again.", "Öffnen Sie den Link in Ihrer Nachricht noch einmal."),
    "sorry.413.title": ("That was too much", "Das war zu viel"),
    "sorry.413.what": ("More was sent than this page takes.", "Die Eingabe ist zu lang für diese Seite."),
    "sorry.413.do": ("Go back and shorten it.", "Gehen Sie zurück und kürzen Sie die Eingabe."),
    "sorry.429.title": ("Too many at once", "Zu viele Anfragen"),
    "sorry.429.what": (
        "This page was asked for more often than one person can.",
        "Diese Seite wurde in kurzer Zeit sehr oft aufgerufen.",
    ),
    "sorry.429.do": ("Wait a minute, then try again.", "Warten Sie eine Minute und versuchen Sie es dann noch einmal."),
    "sorry.500.title": ("That went wrong", "Da ist etwas schiefgegangen"),
    "sorry.500.what": (
        "The fault is ours, not yours. Nothing was changed.",
        "Der Fehler liegt bei uns, nicht bei Ihnen. Es wurde nichts geändert.",
    ),
    "sorry.500.do": (
        "Try again in a few minutes. If it still does not work, reply to the message you got from us.",
        "Versuchen Sie es in einigen Minuten noch einmal. Wenn es dann nicht geht, antworten Sie auf unsere Nachricht.",
    ),
    "sorry.503.title": ("Not available just now", "Gerade nicht verfügbar"),
    "sorry.503.what": (
        "We cannot reach our own records at the moment. Nothing was changed.",
        "Wir erreichen unsere Daten im Moment nicht. Es wurde nichts geändert.",
    ),
    "sorry.503.do": (
        "Try again in a few minutes; your link stays valid.",
        "Versuchen Sie es in einigen Minuten noch einmal; Ihr Link bleibt gültig.",
    ),
    "medium.email": ("e-mail", "E-Mail"),
    "medium.sms": ("text message", "SMS"),
    "medium.push": ("push message", "Push-Nachricht"),
    "medium.mail": ("letter", "Brief"),
    "medium.task": ("call", "Anruf"),
    "medium.webhook": ("message", "Nachricht"),
    "medium.audience": ("advertising list", "Werbeliste"),
}


def in_language(language: str, *tables: Table) -> dict[str, str]:
    """The texts of these tables by key; later tables win."""
    place = LANGUAGES.index(language)
    return {key: texts[place] for table in tables for key, texts in table.items()}


def language_of(locale: str | None, accepted: str = "", house: str = "") -> str:
    """The language to speak: the person's own, else the first of the browser's (Accept-Language) that is spoken here,
    else the house's, else the first of LANGUAGES."""
    for text in (locale or "", *_wished(accepted), house):
        language = text.partition("-")[0].partition("_")[0].strip().lower()
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]


def _wished(accepted: str) -> list[str]:
    """Languages of an Accept-Language header, most wanted first (RFC 9110, 12.5.4); those with q=0 are left out."""
    wished = []
    for place, part in enumerate(accepted.split(",")[:32]):
        name, _, rest = part.partition(";")
        q = rest.strip().lower().removeprefix("q=") if rest else "1"
        try:
            weight = float(q)
        except ValueError:
            continue
        if weight > 0:
            wished.append((-weight, place, name.strip()))
    return [name for _, _, name in sorted(wished)]
