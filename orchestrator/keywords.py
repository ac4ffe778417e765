"""What a text that somebody sends us asks for: to stop, to start again, for help, or none of these. And our answers.

Law: consent is revoked "in any reasonable manner" (47 CFR 64.1200(a)(10), from 2025-04-11; it names stop, quit, end,
revoke, opt out, cancel and unsubscribe), as easily as it was given (GDPR art. 7(3)). Providers know single words alone,
and block as a backstop: "STOP please", "opt out" in two words and "keine SMS mehr" they let pass. So texts are read
here, and a clear phrase in any of our languages counts, whatever language the customer is said to speak.

What is no revocation: the word within a sentence about something else ("can't stop loving it", "end of the month
works"). A phrase must be a whole text, or a whole clause of one, but for words of courtesy around it. The words that
mean much else (`end`, `cancel`, `fin`) count as a whole text only, and those that are common words of another language
(`fine`, `para`) in their own alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, Literal

Meaning = Literal["stop", "start", "help", ""]
LANGUAGES: Final = ("en", "de", "fr", "es", "it", "nl", "pt")

# ---- as it is compared ----------------------------------------------------------------------------------------------

_ALIKE = str.maketrans(
    # Cyrillic and Greek letters that look like Latin ones, as they are after casefold.
    "абвгеикмнорстухѕіјԁԛԝαβεικμνορστυχζηϲ",
    "a6brenkmhopctyxsijdqwabeikmvopctuxznc",
)
_DIGITS = str.maketrans("015437$@!", "oisaetsai")
_APOSTROPHES = "'’‘ʼ´`＇′"
_CONTRACTED = re.compile(rf"(?<=\w)[{_APOSTROPHES}](?=(?:t|s|re|ll|ve|m|d)\b)")
_CLAUSES = re.compile(r"[.!?,;\n\r…。！？，；]+|\s[-–—]+\s|\s*[—]\s*")
_DRAWN_OUT = re.compile(r"(\w)\1{2,}")


def _folded(text: str) -> str:
    """Without case, accents, marks of direction, look-alike letters and the widths of other typewriters."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    return _DRAWN_OUT.sub(r"\1", plain.translate(_ALIKE))


def _words(clause: str) -> list[str]:
    """The words of a folded clause; S T O P and S.T.O.P are one, ST0P is STOP."""
    words = "".join(c if c.isalnum() else " " for c in _CONTRACTED.sub("", clause)).split()
    if not words and "\N{OCTAGONAL SIGN}" in clause:
        return ["stop"]
    return [_spelled(word) for word in _joined(words)]


def _joined(words: list[str]) -> list[str]:
    return ["".join(words)] if len(words) > 2 and all(len(word) == 1 for word in words) else words


def _spelled(word: str) -> str:
    """ST0P as STOP; a number, and a word with a number in it that comes to nothing we know, stays as it is."""
    if word.isalpha() or word.isdigit():
        return word
    read = word.translate(_DIGITS)
    return read if read in _STRONG else word


# ---- word lists -----------------------------------------------------------------------------------------------------


def _list(text: str) -> frozenset[str]:
    return frozenset(_folded(word).replace("_", " ") for word in text.split())


_STRONG: Final = _list(
    # Of Twilio's and AWS's lists, and what their like is elsewhere: these mean nothing else in a text to a sender.
    "stop stopall unsubscribe unsub optout opt_out opt_me_out stopp abmelden abbestellen austragen arrêt arrêter "
    "stopper désabonner désinscrire désinscription désabonnement désabonnez_moi désinscrivez_moi baja_sms "
    "darme_de_baja dar_de_baja dame_de_baja cancelar_suscripción cancelar_subscrição cancelar_inscrição disiscrivimi "
    "disiscrizione cancellami disiscriviti disiscrivere uitschrijven afmelden stoppen schrijf_me_uit descadastrar "
    "sair parar pare arrêtez стоп unsubscribed stop_all stop_it stop_this stop_them stop_everything stop_that stop_me"
)
"""These count as a clause of a longer text, too."""
_WEAK: Final = _list("end quit cancel revoke remove td off ende beenden fin einde alto baja basta detener cancelar")
"""These count as a whole text alone."""
_OWN: Final[Mapping[str, frozenset[str]]] = {"es": _list("para"), "it": _list("fine"), "pt": _list("fim")}
"""These count as a whole text in their own language; elsewhere they are common words."""
_YES: Final = _list("yes ja oui sí sim yep yeah")
_AWAY: Final = re.compile(
    r"unsub|optout|abmeld|abbestell|austrag|desabonn|desinscri|disiscri|uitschrij|afmeld|descadastr"
)
"""How words begin that lead out of a list."""
_ANSWER: Final = re.compile(
    r"reply|text|send|answer|respond|antwort\w*|sende\w*|sms|repond\w*|envoy\w*|respond\w*|envi\w*|mand\w*|"
    r"rispond\w*|invi\w*|antwoord|stuur"
)
"""What stands before a word to answer with."""
_START: Final = _list(
    "start unstop subscribe resume resubscribe restart anmelden starten abonnieren démarrer reprendre iniciar comenzar "
    "alta suscribir inizia avvia iscrivimi riprendi aanmelden hervatten começar assinar opt_in optin opt_me_in"
)
_HELP: Final = _list("help info hilfe aide ayuda aiuto hulp ajuda help_me information informationen infos helpme")

_COURTESY: Final = sorted(
    _list(
        "please pls plz plse thanks thank_you thx ty kindly now immediately hi hello hey ok okay today asap right_now "
        "at_once already just sorry guys sir bitte danke vielen_dank hallo jetzt sofort mal doch endlich guten_tag "
        "merci svp stp s_il_vous_plait s_il_te_plait bonjour maintenant immédiatement tout_de_suite "
        "por_favor porfa gracias hola ahora ya inmediatamente per_favore per_piacere grazie ciao adesso subito "
        "alstublieft alsjeblieft aub graag bedankt dank_u nu direct meteen por_favor obrigado obrigada olá agora já "
        "i_said i_told_you_to can_you could_you would_you will_you you_must you_need_to i_want_you_to i_want_to "
        "i_would_like_to id_like_to i_wish_to let_me könnt_ihr können_sie könnten_sie ich_möchte ich_will "
        "pouvez_vous veuillez je_veux je_souhaite je_voudrais quiero quisiera vorrei voglio ik_wil kunt_u "
        "quero gostaria_de the_word reply so and und et y e en yes ja oui sim no nein non nee team"
    ),
    key=lambda words: -len(words),
)
"""What may stand around a phrase and changes nothing of it."""

_THINGS: Final[Mapping[str, str]] = {
    "EN": "texts?|texting|text messages?|sms(?:es)?|messages?|messaging|msgs?|spam|ads?|offers?|alerts?|notifications?|"
    "marketing|subscription|contact|communications?|promos?|promotions?",
    "DE": "sms|nachrichten|textnachrichten|werbung|mitteilungen|angebote|texte|werbe sms|werbenachrichten|infos",
    "FR": "sms|messages?|textos?|publicites?|pubs?|offres?|notifications?",
    "ES": "sms|mensajes?|textos?|publicidad|ofertas?|notificaciones|mas mensajes|mas sms",
    "IT": "sms|messaggi|messaggio|pubblicita|offerte|notifiche",
    "NL": "sms(?:jes|en|je)?|berichten|berichtjes|reclame|aanbiedingen|meldingen",
    "PT": "sms|mensagens|mensagem|publicidade|ofertas|notificacoes|torpedos",
}
"""What a sender sends, by language, as `_PHRASES` names it."""


def _alternatives(text: str) -> re.Pattern[str]:
    """A phrase a line. EN, DE …: one of that language's things; `~`: whatever else follows, within reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    whole = "|".join(lines).replace("~", "(?: .{0,60})?")
    for language, things in _THINGS.items():
        whole = re.sub(rf"\b{language}\b", lambda _, things=things: f"(?:{things})", whole)  # type: ignore[misc]
    return re.compile(whole)


_PHRASES: Final = _alternatives(
    r"""
    (?:stop|quit|end|cease|cancel) (?:(?:all|the|these|those|this|your|my|any|with) ){0,2}EN~
    (?:stop|quit|cease) (?:texting|messaging|contacting|sending|spamming|bothering|harassing|emailing)~
    stop (?:to )?(?:text|send|message|contact|spam|bother)(?: me)?~
    stop (?:i am|im) not interested
    (?:remove|take|delete|unsubscribe|opt) me(?: (?:off|from|out|of)\b.{0,60})?
    (?:remove|delete) my (?:phone )?number~
    (?:take|get) my number off~
    (?:unsubscribe|opt out|optout|opting out)(?: (?:from|of|me)\b.{0,60})?
    no more (?:of (?:this|these|your) )?EN~
    (?:do not|dont|never) (?:ever )?(?:text|message|contact|sms|write|send)(?: EN)?
    (?:do not|dont|never) (?:ever )?(?:text|message|contact|sms|write|send) (?:to )?(?:me|us|this number|my number)~
    (?:do not|dont|never) (?:ever )?(?:text|message|contact|send|write) (?:any ?more|again|anything|more|here)~
    (?:do not|dont) (?:call or text|text or call)~
    (?:i )?(?:no longer|do not|dont) (?:want|wish|need)(?: (?:any|more|these|your|the|further)){0,2} EN~
    (?:i )?(?:no longer|do not|dont) (?:want|wish) to (?:receive|get|have|be (?:texted|contacted))~
    (?:i )?(?:revoke|withdraw) (?:my )?consent~
    leave me alone|lose my number

    (?:keine|nie wieder) (?:weiteren? )?DE~
    (?:stopp?t?|beendet|beenden sie|lasst|lassen sie) (?:mit )?(?:die|den|das|diese|eure|ihre|alle|der) DE~
    (?:mich )?(?:bitte )?(?:abmelden|abbestellen|austragen|loschen)(?: bitte)?
    (?:melden|melde|meldet) (?:sie |ihr )?(?:mich|meine nummer) (?:bitte )?ab
    (?:tragen|tragt|trage) (?:sie |ihr )?(?:mich|meine nummer) (?:bitte )?aus~
    (?:nehmt|nehmen|loscht|loschen) (?:sie |ihr )?(?:mich|meine nummer)~
    (?:sms|newsletter|werbung|nachrichten) (?:abmelden|abbestellen|stoppen|beenden|stopp?)
    (?:schreibt|schreiben sie|schickt|schicken sie|sendet|senden sie|kontaktiert|kontaktieren sie) NOMORE~
    ich (?:mochte|will) (?:keine|nicht) (?:weiteren? )?.{0,40}(?:mehr|erhalten|bekommen)
    (?:mochte|will) (?:keine|nicht) (?:weiteren? )?.{0,40}(?:mehr|erhalten|bekommen)
    (?:ich )?widerrufe(?: (?:meine|die) (?:einwilligung|zustimmung))?
    lasst mich in ruhe|lassen sie mich in ruhe

    (?:arretez|arrete|arreter|cessez|stopp?ez|stop) (?:(?:de|d|aux|les|ces|vos|tous les|avec|a) ){0,2}FR~
    (?:arretez|arrete|arreter|cessez|stop) (?:de |d )(?:m )?(?:envoyer|ecrire|contacter|spammer)~
    (?:ne |n )?(?:m |me )?(?:envoyez|ecrivez|contactez)(?: moi)? plus~
    plus (?:de|d|aucun) FR~
    (?:je )?ne (?:veux|souhaite) plus (?:de|d|recevoir|vos|aucun)~
    (?:me |se )?(?:desabonn|desinscri)\w+(?: (?:moi|de|du|des)\b.{0,40})?
    (?:retirez|supprimez|enlevez) (?:moi|mon numero)~

    no (?:me )?(?:envien|envie|envies|manden|mande|mandes|escriban|escriba|contacten) (?:mas|nada|mensajes|sms)~
    no quiero (?:recibir )?(?:mas )?ES~
    (?:dejen|deja|dejad|paren|para) de (?:enviar|mandar|escribir|contactar|molestar)\w*~
    no mas ES~
    (?:dar|dame|darme|denme|quiero darme) (?:me )?de baja~
    (?:borren|eliminen|quiten)(?:me| mi numero)~
    (?:stop|alto|basta|parar) (?:(?:a|de|los|las|con) ){0,2}ES~

    (?:basta|stop|niente|non piu|no) (?:(?:con|di|ai|gli|i|piu|altri) ){0,2}IT~
    non (?:mi )?(?:inviate|mandate|scrivete|contattate)(?:mi)?(?: mi)? (?:piu|altri)~
    non voglio (?:piu|altri)(?: ricevere)?(?: altri| i vostri)? IT~
    (?:smettete|smettetela|smetti)(?: di\b.{0,60})?
    (?:cancellatemi|rimuovetemi|toglietemi)~
    (?:cancellate|rimuovete|togliete) (?:il )?mio numero~

    (?:geen|stop) (?:met )?(?:(?:de|deze|die|alle|jullie) )?NL~
    (?:niet|nooit) meer (?:sms|sturen|berichten)~
    (?:schrijf|schrijft|meld|haal|verwijder) (?:mij|me|mijn nummer)(?: (?:uit|af|van)\b.{0,40})?
    (?:stuur|stuurt|sms|app) (?:mij|me) (?:niet|niets|geen)\b.{0,40}
    stop (?:met )?(?:sturen|smsen|berichten sturen|appen)~

    nao (?:me )?(?:envie|enviem|mande|mandem) mais~
    nao quero (?:mais )?(?:receber )?(?:mais )?PT~
    (?:parem|pare|para) de (?:me )?(?:enviar|mandar)~
    (?:chega de|sem mais|nao mais|parar|pare|stop) (?:com )?(?:as |os )?PT~
    (?:remova|remover|retire|tire) (?:me|meu numero)\b.{0,40}
    descadastr\w+(?: (?:me|meu numero)\b.{0,40})?
    """.replace("NOMORE", "(?:mir|mich) (?:bitte )?(?:nicht mehr|nichts mehr|nie wieder|keine)")
)
"""Clear phrases, of a folded clause without its courtesies."""
_QUESTION = re.compile(
    r"(?:what|why|when|how|who|was|warum|wann|wie|pourquoi|quand|comment|por que|cuando|perche|waarom)\b"
)
_ABOUT_OTHERS = re.compile(
    r"\b(?:order|delivery|shipment|appointment|booking|reservation|until|unless|bestellung|lieferung|termin|commande|"
    r"rendez vous|pedido|cita|ordine|appuntamento|bestelling|afspraak|encomenda)\b"
)
"""A phrase with these is about something else than texts: cancelled is the order."""


def meaning(text: str, languages: Iterable[str] = ()) -> Meaning:
    """What a text asks for; "" for any other text. Pure.

    `languages`: those that the writer may be taken to use (de, fr-CA), for the words that are common words elsewhere.
    A stop wins over all else that the text may say.
    """
    folded = _folded(text[:1_000])
    clauses = [words for part in _CLAUSES.split(folded) if (words := _words(part))]
    if not clauses:
        return ""
    whole = _joined([word for clause in clauses for word in clause])
    known = {language.partition("-")[0].casefold() for language in languages}
    if _stops(whole, clauses, known):
        return "stop"
    if _is(whole, _START) or (len(whole) == 1 and whole[0] in _YES):
        return "start"
    return "help" if _is(whole, _HELP) or folded.strip() == "?" else ""


def says_yes(text: str) -> bool:
    """Whether a text is a bare yes: a START to who has stopped, and any other answer to everybody else."""
    words = _words(_folded(text[:100]))
    return len(words) == 1 and words[0] in _YES


def shows_how_to_stop(text: str) -> bool:
    """Whether one of our texts names a word that stops it (Reply STOP, Abmelden: STOP, to opt out text END)."""
    words = _words(_folded(text[:2_000]))
    if any(_AWAY.match(word) for word in words):
        return True
    said = [" ".join(words[at : at + many]) for many in (1, 2, 3) for at in range(len(words))]
    if not _STRONG.isdisjoint(said):
        return True
    weak = _WEAK.union(*_OWN.values())
    return any(_ANSWER.fullmatch(word) and not weak.isdisjoint(words[at : at + 4]) for at, word in enumerate(words))


def _stops(whole: list[str], clauses: list[list[str]], languages: set[str]) -> bool:
    own = frozenset().union(*(_OWN.get(language, frozenset()) for language in languages))
    if _is(whole, _STRONG | _WEAK | own) or _spoken(whole):
        return True
    return any(_is(clause, _STRONG) or _spoken(clause) for clause in clauses)


def _is(words: list[str], known: frozenset[str]) -> bool:
    """Whether this is one of these words, said once or again, but for courtesies."""
    if len(words) > 12:
        return False
    joined = " ".join(words)
    if joined in known:
        return True
    bare = _bare(joined)
    return bool(bare) and (bare in known or set(bare.split()) <= known)


def _spoken(words: list[str]) -> bool:
    joined = " ".join(words)
    if _ABOUT_OTHERS.search(joined) or _QUESTION.match(joined):
        return False
    return _PHRASES.fullmatch(joined) is not None or _PHRASES.fullmatch(_bare(joined)) is not None


def _bare(joined: str) -> str:
    """Without the courtesies at both ends."""
    while True:
        before = joined
        for words in _COURTESY:
            joined = joined.removeprefix(words + " ").removesuffix(" " + words)
        if joined == before:
            return joined


# ---- our answers ----------------------------------------------------------------------------------------------------

ANSWERS: Final[Mapping[str, Mapping[str, str]]] = {
    "stop_confirmation": {
        "en": "{name}: You are unsubscribed and will get no more texts from us. Reply START to get them again.",
        "de": "{name}: Sie sind abgemeldet und erhalten keine SMS mehr von uns. Mit START melden Sie sich wieder an.",
        "fr": "{name} : vous êtes désabonné, nous ne vous enverrons plus de SMS. Répondez START pour vous réabonner.",
        "es": "{name}: Te has dado de baja y no te enviaremos más SMS. Responde START para volver a recibirlos.",
        "it": "{name}: Iscrizione annullata, non riceverà altri SMS da noi. Risponda START per riceverli di nuovo.",
        "nl": "{name}: U bent afgemeld en krijgt geen sms meer van ons. Antwoord START om ze weer te krijgen.",
        "pt": "{name}: A inscrição foi cancelada e não enviaremos mais SMS. Responda START para voltar a receber.",
    },
    "start_confirmation": {
        "en": "{name}: You will get our texts again. Reply STOP to end them, HELP for help.",
        "de": "{name}: Sie erhalten unsere SMS wieder. Mit STOP melden Sie sich ab, mit HILFE erhalten Sie Hilfe.",
        "fr": "{name} : vous recevrez de nouveau nos SMS. Répondez STOP pour les arrêter, AIDE pour de l'aide.",
        "es": "{name}: Volverás a recibir nuestros SMS. Responde STOP para dejar de recibirlos, AYUDA para ayuda.",
        "it": "{name}: Riceverà di nuovo i nostri SMS. Risponda STOP per non riceverli più, AIUTO per aiuto.",
        "nl": "{name}: U krijgt onze sms weer. Antwoord STOP om te stoppen, HULP voor hulp.",
        "pt": "{name}: Voltará a receber os nossos SMS. Responda STOP para parar, AJUDA para ajuda.",
    },
    "help_reply": {
        "en": "{name}: texts for our customers. Reply STOP to get no more. Contact: {contact}",
        "de": "{name}: SMS an unsere Kunden. Mit STOP melden Sie sich ab. Kontakt: {contact}",
        "fr": "{name} : SMS à nos clients. Répondez STOP pour ne plus en recevoir. Contact : {contact}",
        "es": "{name}: SMS para nuestros clientes. Responde STOP para no recibir más. Contacto: {contact}",
        "it": "{name}: SMS ai nostri clienti. Risponda STOP per non riceverne più. Contatti: {contact}",
        "nl": "{name}: sms voor onze klanten. Antwoord STOP om te stoppen. Contact: {contact}",
        "pt": "{name}: SMS aos nossos clientes. Responda STOP para não receber mais. Contacto: {contact}",
    },
}
"""What we answer, by the message's origin and language: who we are and how to stop, no marketing (47 CFR
64.1200(a)(12)). `name` and `contact` are the workspace's, as names that a text may print."""


def answer(origin: str, languages: Iterable[str], contact: str) -> tuple[str, str]:
    """(language, words) of an answer, in the first of these languages that we speak, else English. The words are a text
    with slots as any other: `workspace.sender.name` and `workspace.sender.NAME` with `contact` for NAME."""
    spoken = (language.partition("-")[0].casefold() for language in languages)
    language = next((one for one in spoken if one in LANGUAGES), "en")
    words = ANSWERS[origin][language]
    slots = {"name": "{{ workspace.sender.name }}", "contact": f"{{{{ workspace.sender.{contact} }}}}"}
    return language, words.format(**slots)
