"""What a text that somebody sends asks for: word lists, phrases, courtesies; and what merely has the word in it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.jinja import Sandbox
from orchestrator.keywords import ANSWERS, LANGUAGES, answer, meaning, says_yes
from orchestrator.template import sms_segments

STOP = """
STOP | stop | Stop! | stop. | STOPALL | STOP ALL
UNSUBSCRIBE | unsubscribe me | END | QUIT | REVOKE | OPTOUT | OPT-OUT
opt out | Opt Out please | opt me out | CANCEL | ARRET | ARRÊT
TD | REMOVE | remove me | STOPP | ABMELDEN | Abbestellen
STOP please | please STOP | Please stop. | pls stop | stop pls
stop now | STOP IT | stop this! | stop bitte | Stop, danke
please stop texting me | stop texting me | Stop sending me these messages | stop messaging me | stop contacting me
can you stop texting me | Could you please stop sending me texts? | I said STOP | I told you to stop | STOP!!! STOP!!!
stop all texts | stop these texts | stop your spam | stop the messages please | cancel my subscription | end texts
no more texts | No more messages please | no more of these texts
don't text me | Do not text me again | dont message me
do not contact me anymore | never text me again | I don't want these texts | i no longer want to receive messages
I no longer wish to receive your texts | don't want any more messages
take me off your list | remove me from this list
Remove my number from your database | please take me off | unsubscribe from all | I revoke my consent
i withdraw consent | leave me alone | lose my number | I want to opt out | I want to unsubscribe | Hi, please stop
Thanks. Stop. | STOP. I mean it. | Wrong number, please stop
stop i'm not interested | quit texting me | stop spamming me
S T O P | S.T.O.P. | s-t-o-p | ST0P | STOOOOP | stoppp | "STOP" | 'stop' | (stop) | **STOP** | Reply STOP | ＳＴＯＰ
𝐒𝐓𝐎𝐏 | ЅТОР | СТОП | 🛑 | 🛑 STOP 🛑 | stop 😡 | yes, stop | No. Stop. | ok stop
Bitte keine SMS mehr | keine SMS mehr | Keine Werbung mehr bitte | keine weiteren Nachrichten | Bitte abmelden
bitte melden Sie mich ab | Melde mich ab | Stoppt die Nachrichten | Schreibt mir nicht mehr
Bitte schreiben Sie mir nicht mehr | Ich möchte keine SMS mehr erhalten | Ich will keine Nachrichten mehr
Ich widerrufe meine Einwilligung | Lasst mich in Ruhe | SMS abbestellen | Nehmen Sie mich aus dem Verteiler | ENDE
Hallo, bitte keine Nachrichten mehr | Löschen Sie meine Nummer | austragen
Arrêtez | arretez de m'envoyer des sms | Arrêtez les messages | Plus de SMS svp | Je ne veux plus recevoir de SMS
désabonnez-moi | Me désabonner | désinscription | stop svp | STOP merci | n'envoyez plus de messages
Ne m'écrivez plus | retirez mon numéro | Veuillez arrêter
No más mensajes | no me envíen más mensajes | Por favor, no me manden más sms
BAJA | dar de baja | quiero darme de baja
Dejen de enviarme mensajes | ALTO | basta | no quiero más mensajes | cancelar suscripción | parar
Basta messaggi | Non inviatemi più messaggi | Smettetela
cancellatemi | Non voglio più ricevere messaggi | disiscrivimi
geen sms meer | Geen berichten meer aub | Afmelden
uitschrijven | stuur me niets meer | Stop met sms | Schrijf mij uit
não me envie mais mensagens | Não quero receber mais mensagens | SAIR | Parem de mandar mensagens | chega de mensagens
cancelar inscrição | pare
"""
OWN = [("fine", "it"), ("Fine!", "it-CH"), ("para", "es-MX"), ("fim", "pt-BR")]
START = (
    "START | start | Start! | UNSTOP | YES | yes. | Ja | oui | Sí | sim | subscribe | START please | Anmelden | opt in"
)
HELP = "HELP | help! | Help please | INFO | info? | hilfe | Aide | ayuda | AIUTO | hulp | ajuda | help me | ?!"
OTHER = """
can't stop loving it | I can’t stop loving it | don't stop | please don't stop! | Do not stop texting me
Never stop sending me offers | I will stop by the store
I'll stop by at 5 | end of the month works | yes, Tuesday is fine
Yes please | yes I would | No | no thanks | ok | thanks! | Where is your store? | Which bus stop is it? | bus stop
non-stop fun | one-stop shop | Is this the last stop?
next stop Berlin | What does STOP mean? | why did you stop texting me
When does it end? | the end | In the end I bought it | cancel my order | Please cancel my appointment | Remove the tag
cancel the delivery | stop the delivery of my order
quit smoking class at 7? | I quit my job | to quit or not to quit
my subscription ends when? | The offer can't end | opt for the red one | I opted out of dessert | Fine | para mi madre
Endless summer! | stopwatch | unstoppable
stopover in Ulm | Quitting time! | cancelled flights? | Help me choose a size
I need help with my order | info about the sale? | yes or no? | start at 9? | When does the sale start?
I'd like to start tomorrow | Wann ist Ende der Aktion? | Bis wann geht das? | Stopp doch kurz am Laden vorbei
Keine Ahnung | keine Zeit heute | Ich komme am Ende der Woche | Je reviens plus tard | plus de couleurs ? | pas mal
No puedo parar de reír | es para mi madre | Non male | basta cosi poco | Geen probleem | tot het einde | Sem problema
1 | 10 | A | 😀 | ... | !!! | \u200f
"""


def lines(text: str) -> list[str]:
    return [part.strip() for line in text.strip().splitlines() for part in line.split(" | ") if part.strip()]


@pytest.mark.parametrize("text", lines(STOP))
def test_this_is_a_stop(text: str) -> None:
    assert meaning(text, ["en"]) == "stop"
    assert meaning(text, []) == "stop", "whatever language we take them to speak"


@pytest.mark.parametrize(("text", "language"), OWN)
def test_common_words_stop_in_their_own_language_alone(text: str, language: str) -> None:
    assert (meaning(text, ["en", language]), meaning(text, ["en"])) == ("stop", "")


@pytest.mark.parametrize("text", lines(START))
def test_this_is_a_start(text: str) -> None:
    assert meaning(text, ["en"]) == "start"


@pytest.mark.parametrize("text", lines(HELP)[:-1])
def test_this_asks_for_help(text: str) -> None:
    assert meaning(text, ["en"]) == "help"


@pytest.mark.parametrize("text", lines(OTHER))
def test_this_is_about_something_else(text: str) -> None:
    assert meaning(text, ["en"]) == ""


def test_the_tables_are_long_enough() -> None:
    assert len(lines(STOP)) > 150 and len(lines(OTHER)) > 75


def test_only_a_bare_yes_is_one() -> None:
    assert [says_yes(text) for text in ("YES", "Ja!", "yes, Tuesday", "START", "")] == [True, True, False, False, False]


# ---- properties -----------------------------------------------------------------------------------------------------

_MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069\u200b\u200d\ufeff\u00ad\u2060"
_LOOK_ALIKE = {
    "a": "аα",
    "c": "сϲ",
    "e": "е",
    "o": "оο",
    "p": "рρ",
    "s": "ѕ",
    "t": "тτ",
    "x": "хχ",
    "y": "у",
    "i": "іι",
}
WORDS = st.sampled_from(["stop", "unsubscribe", "opt out", "stopall", "cancel", "arret", "abmelden"])
EDGES = st.text(" \t\r\n!.,;:?-*_#~\"'()🛑😡🙏👍" + _MARKS, max_size=8)


@given(WORDS, EDGES, EDGES, st.data())
def test_case_space_punctuation_emoji_marks_and_look_alikes(word: str, left: str, right: str, data: st.DataObject):
    written = ""
    for letter in word:
        other = data.draw(st.sampled_from([letter, letter.upper(), *_LOOK_ALIKE.get(letter, "")]))
        mark = data.draw(st.sampled_from(["", "", "", *_MARKS]))
        wide = data.draw(st.booleans()) and other.isascii() and other.isalpha()
        written += (chr(ord(other) + 0xFEE0) if wide else other) + mark
    assert meaning(left + written + right) == "stop"


@given(st.text(max_size=400), st.lists(st.sampled_from([*LANGUAGES, "fr-CA", "", "xx"])))
def test_any_text_means_something_or_nothing(text: str, languages: list[str]) -> None:
    assert meaning(text, languages) in ("stop", "start", "help", "")


@given(st.text(string.ascii_lowercase + " ", min_size=3).filter(lambda t: len(t.split()) > 1))
def test_the_word_at_the_end_of_a_sentence_of_others_is_none(text: str) -> None:
    assert meaning(f"zebras {text} zebras stop zebras") == ""


def test_a_long_text_is_read_in_no_time() -> None:
    for text in ("stop " * 20_000, "no more " * 10_000, "ich will keine " + "a " * 50_000, "x" * 200_000):
        meaning(text, LANGUAGES)


# ---- our answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", sorted(ANSWERS))
@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_say_who_we_are_and_what_to_write(origin: str, language: str) -> None:
    spoken, words = answer(origin, [f"{language}-XX", "en"], "email")
    assert spoken == language
    sender = {"name": "Acme Garden Supplies", "email": "service@acme.example"}
    sandbox = Sandbox({"workspace": {"sender": sender}}, locale="en", currency="EUR", timezone="UTC")
    text = sandbox.from_string(words).render()
    assert text.startswith("Acme Garden Supplies") and "{" not in text
    assert ("START" if origin == "stop_confirmation" else "STOP") in text
    assert sms_segments(text)[1] <= 2 and meaning(text) == "", "whoever quotes us back says nothing by it"


def test_who_speaks_nothing_that_we_do_is_answered_in_english() -> None:
    assert answer("help_reply", ["ja", ""], "email")[0] == "en"
