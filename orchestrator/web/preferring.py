"""The words of the preference centre, in English and German, and of what is mailed from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestrator.web.words import Table

LANGUAGE_NAMES: Final[Mapping[str, str]] = {
    "de": "Deutsch", "en": "English", "es": "Español", "fr": "Français", "it": "Italiano", "nl": "Nederlands",
    "pl": "Polski", "pt": "Português", "sv": "Svenska", "da": "Dansk", "cs": "Čeština", "fr-CA": "Français (Canada)",
    "en-GB": "English (UK)", "en-US": "English (US)", "de-AT": "Deutsch (Österreich)", "de-CH": "Deutsch (Schweiz)",
}  # fmt: skip
"""Languages by their own names."""

ASKED_FOR: Final[Table] = {
    "data.title": ("Your data", "Ihre Daten"),
    "data.text": (
        "You asked for what we hold about you. Within an hour you can download it here:\n\n{{ links.data }}\n\nIf you "
        "did not ask for it, do nothing: nobody else gets to see it.\n\n{{ workspace.sender.postal_address }}\n",
        "Sie haben angefordert, was wir über Sie gespeichert haben. Eine Stunde lang können Sie es hier herunterladen:"
        "\n\n{{ links.data }}\n\nWenn Sie das nicht waren, müssen Sie nichts tun: Niemand sonst bekommt es zu sehen."
        "\n\n{{ workspace.sender.postal_address }}\n",
    ),
    "fresh.title": ("Your settings", "Ihre Einstellungen"),
    "fresh.text": (
        "Here is the fresh link to your settings and your data that you asked for:\n\n{{ links.preferences }}\n\nIf "
        "you did not ask for it, do nothing.\n\n{{ workspace.sender.postal_address }}\n",
        "Hier ist der neue Link zu Ihren Einstellungen und Daten, den Sie angefordert haben:\n\n"
        "{{ links.preferences }}\n\nWenn Sie das nicht waren, müssen Sie nichts tun.\n\n"
        "{{ workspace.sender.postal_address }}\n",
    ),
    "call.title": ("Please call back", "Bitte zurückrufen"),
    "call.text": (
        "{{ customer.first_name | default('') }} {{ customer.last_name | default('') }} (customer {{ customer.key }}) "
        "asked on the preference centre to be called: {{ customer.phone | default('no number is known') }}",
        "{{ customer.first_name | default('') }} {{ customer.last_name | default('') }} (Kunde {{ customer.key }}) "
        "bittet um einen Anruf: {{ customer.phone | default('keine Nummer bekannt') }}",
    ),
}
"""Of messages that are asked for on the page: Jinja, as templates are."""

TEXTS: Final[Table] = {
    "title": ("Your settings", "Ihre Einstellungen"),
    "yes": ("Yes", "Ja"),
    "no": ("No", "Nein"),
    "on": ("on", "an"),
    "off": ("off", "aus"),
    "none": ("(nothing)", "(keine Angabe)"),
    "rewards": ("Your points, tier and rewards", "Ihre Punkte, Ihr Status und Ihre Prämien"),
    # ---- topics
    "topics.title": ("What you want to hear about", "Worüber Sie informiert werden möchten"),
    "topics.what": (
        "What is switched on, {house} may send you. You can switch it off again at any time, here or in each message.",
        "Was eingeschaltet ist, darf {house} Ihnen schicken. Sie können es jederzeit wieder ausschalten, hier oder in "
        "jeder Nachricht.",
    ),
    "service.title": ("Messages about your orders and contracts", "Nachrichten zu Bestellungen und Verträgen"),
    "service.what": (
        "These are no advertising. If you switch them off, you may miss what matters to you.",
        "Das ist keine Werbung. Wenn Sie diese Nachrichten ausschalten, könnte Ihnen Wichtiges entgehen.",
    ),
    "state.asked": (
        "You asked for it. Please confirm by the link in our message.",
        "Von Ihnen angefordert. Bitte bestätigen Sie über den Link in unserer Nachricht.",
    ),
    "state.shut": (
        "Cannot be switched on here: the law asks for your consent in another form.",
        "Lässt sich hier nicht einschalten: Das Gesetz verlangt Ihre Zustimmung in anderer Form.",
    ),
    "state.stopped": (
        "Nothing is sent to this address at present: it was reported as unreachable, or you opted out with your "
        "provider. Reply to one of our messages if that is wrong.",
        "An diese Adresse wird zurzeit nichts geschickt: Sie war nicht erreichbar, oder Sie haben bei Ihrem Anbieter "
        "widersprochen. Antworten Sie auf eine unserer Nachrichten, wenn das nicht stimmt.",
    ),
    # ---- how
    "how.title": ("How often and how", "Wie oft und wie"),
    "often": ("How often at most", "Wie oft höchstens"),
    "often.any": ("As often as there is something", "Immer, wenn es etwas gibt"),
    "often.1 week": ("Once a week", "Einmal pro Woche"),
    "often.2 week": ("Twice a week", "Zweimal pro Woche"),
    "often.1 month": ("Once a month", "Einmal im Monat"),
    "often.2 month": ("Twice a month", "Zweimal im Monat"),
    "often.4 month": ("Four times a month", "Viermal im Monat"),
    "often.what": (
        "All advertising together, by e-mail, text, push and letter.",
        "Alle Werbung zusammen, per E-Mail, SMS, Push und Brief.",
    ),
    "language": ("Language of messages", "Sprache der Nachrichten"),
    "language.none": ("Not chosen", "Nicht gewählt"),
    "format": ("E-mails", "E-Mails"),
    "format.html": ("With pictures and colours", "Mit Bildern und Farben"),
    "format.text": ("As plain text", "Als reiner Text"),
    "save": ("Save", "Speichern"),
    # ---- rest
    "pause.title": ("A break", "Eine Pause"),
    "pause.what": (
        "For 30 days no advertising at all. Your settings stay as they are.",
        "30 Tage lang gar keine Werbung. Ihre Einstellungen bleiben, wie sie sind.",
    ),
    "pause.do": ("Pause for 30 days", "30 Tage Pause"),
    "pause.on": ("Until {day} you get no advertising.", "Bis {day} bekommen Sie keine Werbung."),
    "pause.end": ("End the break", "Pause beenden"),
    "nothing.title": ("Nothing at all", "Gar nichts mehr"),
    "nothing.what": (
        "No more advertising: not by e-mail, text message, push message or letter. Messages about your orders and "
        "contracts still reach you.",
        "Keine Werbung mehr: nicht per E-Mail, SMS, Push-Nachricht oder Brief. Nachrichten zu Ihren Bestellungen und "
        "Verträgen erreichen Sie weiterhin.",
    ),
    "nothing.do": ("Stop all advertising", "Keine Werbung mehr"),
    # ---- own data
    "own.title": ("Your details", "Ihre Angaben"),
    "own.since": ("Last changed by you on {day}.", "Zuletzt von Ihnen geändert am {day}."),
    "own.save": ("Save your details", "Angaben speichern"),
    "own.old": (
        "The message that brought you here is more than three months old and may have been passed on. To see and "
        "change your details, have a fresh link sent to {email}.",
        "Die Nachricht, über die Sie hierher gekommen sind, ist älter als drei Monate und könnte weitergeleitet worden "
        "sein. Um Ihre Angaben zu sehen und zu ändern, lassen Sie sich einen neuen Link an {email} schicken.",
    ),
    "own.fresh": ("Send me a fresh link", "Neuen Link schicken"),
    "own.wrong": (
        "Nothing was saved. Please look at the marked fields.",
        "Es wurde nichts gespeichert. Bitte prüfen Sie die markierten Felder.",
    ),
    "wrong": (
        "This cannot be stored. Write it on one line, without special characters at the beginning.",
        "Das lässt sich nicht speichern. Schreiben Sie es in eine Zeile, ohne Sonderzeichen am Anfang.",
    ),
    "wrong.date": ("Please choose a date.", "Bitte wählen Sie ein Datum."),
    "field.first_name": ("First name", "Vorname"),
    "field.last_name": ("Last name", "Nachname"),
    "field.company": ("Company", "Firma"),
    "field.street": ("Street and number", "Straße und Hausnummer"),
    "field.postcode": ("Postcode", "Postleitzahl"),
    "field.city": ("Town", "Ort"),
    "field.region": ("State or region", "Bundesland oder Region"),
    "field.country": ("Country", "Land"),
    "field.birthday": ("Date of birth", "Geburtsdatum"),
    # ---- more
    "data.only": ("Your data", "Ihre Daten"),
    "data.what": (
        "Everything we hold about you, as a file. So that nobody else gets it, we mail a link to {email} that is good "
        "for one hour.",
        "Alles, was wir über Sie gespeichert haben, als Datei. Damit es niemand sonst bekommt, schicken wir an {email} "
        "einen Link, der eine Stunde lang gilt.",
    ),
    "data.do": ("Send me the link", "Link schicken"),
    "call.title": ("Talk to us", "Mit uns sprechen"),
    "call.what": (
        "We call you back at the number we have, within calling hours.",
        "Wir rufen Sie unter der Nummer zurück, die wir von Ihnen haben, zu üblichen Zeiten.",
    ),
    "call.do": ("Call me", "Rufen Sie mich an"),
    # ---- done
    "done.saved": ("Saved.", "Gespeichert."),
    "done.same": ("There was nothing to change.", "Es gab nichts zu ändern."),
    "done.asked": (
        "We have sent you a message to confirm it by. Until then nothing is switched on.",
        "Wir haben Ihnen eine Nachricht zum Bestätigen geschickt. Bis dahin ist nichts eingeschaltet.",
    ),
    "done.refused": (
        "Something could not be switched on here, because the law asks for your consent in another form.",
        "Etwas ließ sich hier nicht einschalten, weil das Gesetz Ihre Zustimmung in anderer Form verlangt.",
    ),
    "done.nothing": (
        "You get no more advertising from us. What has left our house already may still arrive.",
        "Sie bekommen keine Werbung mehr von uns. Was schon unterwegs ist, kann noch ankommen.",
    ),
    "done.paused": ("The break has begun.", "Die Pause hat begonnen."),
    "done.resumed": ("The break is over.", "Die Pause ist beendet."),
    "done.told": ("Your details are saved.", "Ihre Angaben sind gespeichert."),
    "done.fresh": ("A fresh link is on its way to you.", "Ein neuer Link ist zu Ihnen unterwegs."),
    "done.data": (
        "The link is on its way to you. It is good for one hour.",
        "Der Link ist zu Ihnen unterwegs. Er gilt eine Stunde lang.",
    ),
    "done.called": ("We will call you.", "Wir rufen Sie an."),
    "done.uncalled": (
        "Nobody is there to call you at present. Please reply to one of our messages.",
        "Zurzeit kann niemand anrufen. Bitte antworten Sie auf eine unserer Nachrichten.",
    ),
    # ---- the page of /d/
    "file.title": ("Your data", "Ihre Daten"),
    "file.what": (
        "Everything we hold about you, in two forms: a page to read, and a file for other programs.",
        "Alles, was wir über Sie gespeichert haben, in zwei Formen: als Seite zum Lesen und als Datei für andere "
        "Programme.",
    ),
    "file.html": ("Download to read", "Zum Lesen herunterladen"),
    "file.json": ("Download for programs", "Für Programme herunterladen"),
    "file.over": ("This link was good for one hour", "Dieser Link galt eine Stunde"),
    "file.over.do": (
        "Ask for another one: open the settings by the link in any of our messages.",
        "Fordern Sie einen neuen an: Öffnen Sie die Einstellungen über den Link in einer unserer Nachrichten.",
    ),
}
