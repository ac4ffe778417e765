"""The words of the rewards page, in English and German, and of what is mailed from there."""

from __future__ import annotations

from typing import Final

from orchestrator.web.words import Table

ASKED_FOR: Final[Table] = {
    "fresh.title": ("Your rewards", "Ihre Prämien"),
    "fresh.text": (
        "Here is the fresh link to your rewards that you asked for:\n\n{{ links.rewards }}\n\nIf you did not ask for "
        "it, do nothing.\n\n{{ workspace.sender.postal_address }}\n",
        "Hier ist der neue Link zu Ihren Prämien, den Sie angefordert haben:\n\n{{ links.rewards }}\n\nWenn Sie das "
        "nicht waren, müssen Sie nichts tun.\n\n{{ workspace.sender.postal_address }}\n",
    ),
    "receipt.title": ("A reward was taken", "Eine Prämie wurde eingelöst"),
    "receipt.text": (
        "A reward was taken on your rewards page. You find it here:\n\n{{ links.rewards }}\n\nIf that was not you, "
        "reply to this message.\n\n{{ workspace.sender.postal_address }}\n",
        "Auf Ihrer Prämienseite wurde eine Prämie eingelöst. Sie finden sie hier:\n\n{{ links.rewards }}\n\nWenn Sie "
        "das nicht waren, antworten Sie bitte auf diese Nachricht.\n\n{{ workspace.sender.postal_address }}\n",
    ),
}
"""Of messages that the page asks for: Jinja, as templates are."""

TEXTS: Final[Table] = {
    "title": ("Your rewards", "Ihre Prämien"),
    "class": ("Programme: {name}", "Programm: {name}"),
    "company": (
        "Points and tier are those of {company}. You share them with your colleagues.",
        "Punkte und Status gehören {company}. Sie teilen sie mit Ihren Kolleginnen und Kollegen.",
    ),
    "company.unnamed": ("your company", "Ihrem Unternehmen"),
    "preferences": ("Your settings", "Ihre Einstellungen"),
    "none.title": ("No rewards programme", "Kein Prämienprogramm"),
    "none": (
        "There is no rewards programme for you here at present.",
        "Zurzeit gibt es hier kein Prämienprogramm für Sie.",
    ),
    "points.one": ("{count} point", "{count} Punkt"),
    "points.many": ("{count} points", "{count} Punkte"),
    # ---- links that are old
    "old": (
        "The message that brought you here is more than three months old and may have been passed on.",
        "Die Nachricht, über die Sie hierher gekommen sind, ist älter als drei Monate und könnte weitergeleitet worden "
        "sein.",
    ),
    "far": (
        "To take rewards and to see your voucher codes you need a fresh link: the message that brought you here is "
        "some days old and may have been passed on.",
        "Um Prämien einzulösen und Ihre Gutscheincodes zu sehen, brauchen Sie einen neuen Link: Die Nachricht, über "
        "die Sie hierher gekommen sind, ist einige Tage alt und könnte weitergeleitet worden sein.",
    ),
    "fresh.to": ("We send it to {email}.", "Wir schicken ihn an {email}."),
    "fresh.do": ("Send me a fresh link", "Neuen Link schicken"),
    "fresh.none": (
        "Open the link in our newest message, or reply to one of them.",
        "Öffnen Sie den Link in unserer neuesten Nachricht, oder antworten Sie auf eine davon.",
    ),
    # ---- tier
    "tier.title": ("Your tier", "Ihr Status"),
    "tier.none": ("No tier yet", "Noch kein Status"),
    "member.since": ("Member since {day}.", "Mitglied seit {day}."),
    "member.until": ("Member until {day}.", "Mitglied bis {day}."),
    "member.none": ("You are not a member yet.", "Sie sind noch kein Mitglied."),
    "member.lapsed": ("Your membership is over.", "Ihre Mitgliedschaft ist abgelaufen."),
    "way": ("Way to {tier}", "Weg zu {tier}"),
    "way.what": ("{missing} more to {tier}; you have {score}.", "Noch {missing} bis {tier}; Sie haben {score}."),
    "way.done": ("{tier} is reached.", "{tier} ist erreicht."),
    "way.top": ("You have reached the highest tier.", "Sie haben den höchsten Status erreicht."),
    "risk": (
        "To keep {tier} you need {missing} more by {day}.",
        "Um {tier} zu behalten, brauchen Sie bis {day} noch {missing}.",
    ),
    "protected": ("Your tier is protected at present.", "Ihr Status ist zurzeit geschützt."),
    "benefits.title": ("What you have of it", "Ihre Vorteile"),
    "benefits.more": ("With {tier} you also get", "Mit {tier} außerdem"),
    # ---- points
    "balance.title": ("Your points", "Ihre Punkte"),
    "balance": ("To spend", "Verfügbar"),
    "pending": ("Coming soon", "In Wartezeit"),
    "pending.what": (
        "What you have earned and can spend once the time to return it is over.",
        "Bereits verdient und verfügbar, sobald die Rückgabefrist vorbei ist.",
    ),
    "expiring": ("{points} expire at the end of {day}.", "{points} verfallen am Ende des {day}."),
    "expiring.one": ("{points} expires at the end of {day}.", "{points} verfällt am Ende des {day}."),
    "owed": (
        "More was taken back than you had. What you earn next fills that first.",
        "Es wurde mehr zurückgenommen, als Sie hatten. Was Sie als Nächstes verdienen, gleicht das zuerst aus.",
    ),
    "history.title": ("What happened with your points", "Was mit Ihren Punkten geschah"),
    "history.open": ("Show the newest {count}", "Die neuesten {count} zeigen"),
    "history.open.one": ("Show it", "Zeigen"),
    "history.none": ("Nothing yet.", "Noch nichts."),
    "history.day": ("Day", "Tag"),
    "history.what": ("What", "Was"),
    "history.points": ("Points", "Punkte"),
    "history.from": ("to spend from {day}", "verfügbar ab {day}"),
    "line.earn": ("Earned", "Verdient"),
    "line.earn.for": ("Earned: {what}", "Verdient: {what}"),
    "line.award": ("Credited", "Gutgeschrieben"),
    "line.challenge": ("Challenge: {what}", "Aufgabe: {what}"),
    "line.referral": ("Recommendation", "Empfehlung"),
    "line.back": ("Returned: {what}", "Zurückgegeben: {what}"),
    "line.deduct": ("Deducted", "Abgezogen"),
    "line.deduct.referral": ("Recommendation taken back", "Empfehlung zurückgenommen"),
    "line.spend": ("Reward: {what}", "Prämie: {what}"),
    "line.expire": ("Expired", "Verfallen"),
    "line.reverse": ("Taken back", "Zurückgenommen"),
    "line.correct": ("Expiry corrected", "Verfall berichtigt"),
    # ---- content
    "content.title": ("For you", "Für Sie"),
    "content.open": ("Open: {title}", "Öffnen: {title}"),
    # ---- rewards
    "rewards.title": ("Rewards", "Prämien"),
    "rewards.role": (
        "Rewards are taken by others in your company.",
        "Prämien lösen in Ihrem Unternehmen andere ein.",
    ),
    "reward.free": ("Free of points", "Ohne Punkte"),
    "reward.left": ("{count} left", "Noch {count} da"),
    "reward.take": ("Take for {points}", "Einlösen für {points}"),
    "reward.take.free": ("Take “{title}”", "„{title}“ nehmen"),
    "reward.sure": (
        "“{title}” for {points}. This cannot be undone here.",
        "„{title}“ für {points}. Das lässt sich hier nicht rückgängig machen.",
    ),
    "reward.sure.free": (
        "“{title}”, free of points. This cannot be undone here.",
        "„{title}“, ohne Punkte. Das lässt sich hier nicht rückgängig machen.",
    ),
    "reward.yes": ("Yes, take it", "Ja, einlösen"),
    "reward.missing": ("{points} are missing.", "Es fehlen {points}."),
    "reward.missing.one": ("{points} is missing.", "Es fehlt {points}."),
    "kind.discount": ("Discount", "Rabatt"),
    "kind.gift_card": ("Gift card", "Geschenkkarte"),
    "kind.merchandise": ("Merchandise", "Sachprämie"),
    "kind.event_ticket": ("Event", "Veranstaltung"),
    "kind.training": ("Training", "Schulung"),
    "kind.business_tool": ("Tool for your business", "Werkzeug fürs Geschäft"),
    "kind.consulting_session": ("Consulting", "Beratung"),
    "kind.donation": ("Donation", "Spende"),
    "why.not_member": ("For members.", "Für Mitglieder."),
    "why.tier": ("For {tiers}.", "Für {tiers}."),
    "why.each": ("You have taken it as often as one can.", "Sie haben sie so oft eingelöst, wie es geht."),
    "why.sold_out": ("None is left.", "Es ist keine mehr da."),
    "why.no_voucher": ("None is left at present.", "Zurzeit ist keine mehr da."),
    "or": (" or ", " oder "),
    # ---- what one has
    "taken.title": ("Rewards you have taken", "Eingelöste Prämien"),
    "taken.on": ("Taken on {day}.", "Eingelöst am {day}."),
    "taken.claimed": ("We are preparing it.", "Wir bereiten sie vor."),
    "taken.handed_over": ("On its way to you.", "Unterwegs zu Ihnen."),
    "taken.fulfilled": ("Handed over.", "Übergeben."),
    "taken.cancelled": ("Taken back; the points have returned.", "Zurückgenommen; die Punkte sind zurück."),
    "vouchers.title": ("Your vouchers", "Ihre Gutscheine"),
    "voucher": ("Voucher", "Gutschein"),
    "voucher.code": ("Code", "Code"),
    "voucher.until": ("Valid until {day}.", "Gültig bis {day}."),
    "voucher.ever": ("Valid without end.", "Unbegrenzt gültig."),
    "voucher.over": ("Was valid until {day}.", "War gültig bis {day}."),
    "voucher.used": ("Redeemed on {day}.", "Eingelöst am {day}."),
    # ---- games
    "challenges.title": ("Challenges", "Aufgaben"),
    "challenge.open": ("Open", "Offen"),
    "challenge.done": ("Done on {day}", "Erledigt am {day}"),
    "challenge.times": ("done {count} times", "{count}-mal erledigt"),
    "challenge.until": ("until {day}", "bis {day}"),
    "challenge.over": ("over since {day}", "vorbei seit {day}"),
    "badges.title": ("Your badges", "Ihre Abzeichen"),
    "badge.since": ("{badge}, since {day}", "{badge}, seit {day}"),
    "draws.title": ("Draws", "Verlosungen"),
    "draw.soon": ("Opens on {day}.", "Beginnt am {day}."),
    "draw.shortly": ("Opens shortly.", "Beginnt in Kürze."),
    "draw.open": ("Open until the end of {day}.", "Läuft bis zum Ende des {day}."),
    "draw.closed": ("Over since {day}; it is drawn shortly.", "Beendet am {day}; die Ziehung folgt in Kürze."),
    "draw.drawn": ("Over since {day}, and drawn.", "Beendet am {day} und gezogen."),
    "draw.prize": ("Prize: {prize}.", "Preis: {prize}."),
    "draw.tickets.one": ("You have one ticket.", "Sie haben ein Los."),
    "draw.tickets": ("You have {count} tickets.", "Sie haben {count} Lose."),
    "draw.had.one": ("You had one ticket.", "Sie hatten ein Los."),
    "draw.had": ("You had {count} tickets.", "Sie hatten {count} Lose."),
    "draw.won": ("You have won: place {place}.", "Sie haben gewonnen: Platz {place}."),
    "draw.lost": ("No win this time.", "Diesmal kein Gewinn."),
    "draw.check": ("How it can be checked", "So lässt es sich prüfen"),
    "draw.commitment": (
        "Fixed before the first ticket: the SHA-256 of the random number by which the winners are drawn.",
        "Vor dem ersten Los festgelegt: der SHA-256 der Zufallszahl, nach der gezogen wird.",
    ),
    "draw.seed": (
        "The random number itself, told after the draw:",
        "Die Zufallszahl selbst, nach der Ziehung genannt:",
    ),
    # ---- others
    "referral.title": ("Recommend us", "Empfehlen Sie uns"),
    "referral.what": (
        "Who comes to us by your link and does what counts brings points or a voucher.",
        "Wer über Ihren Link zu uns kommt und mitmacht, bringt Punkte oder einen Gutschein.",
    ),
    "referral.do": ("Show my link", "Meinen Link zeigen"),
    "referral.link": ("Your link to copy", "Ihr Link zum Kopieren"),
    "referral.code": ("Your code", "Ihr Code"),
    "referral.text": ("Words to share it with", "Ein Text zum Teilen"),
    "referral.share": ("I am with {house}. Have a look: {link}", "Ich bin bei {house}. Schau mal: {link}"),
    "referral.share.code": (
        "I am with {house}. Give my code when you sign up: {link}",
        "Ich bin bei {house}. Gib bei der Anmeldung meinen Code an: {link}",
    ),
    "board.title": ("List of the best", "Bestenliste"),
    "board.what": (
        "Stand on the list if you like, under a name that is not your own. Others see the name and the points earned, "
        "and nothing else. Without a name of your choice one is drawn.",
        "Wenn Sie möchten, stehen Sie auf der Liste, unter einem Namen, der nicht Ihr eigener ist. Andere sehen den "
        "Namen und die verdienten Punkte, sonst nichts. Ohne eigene Wahl wird ein Name gezogen.",
    ),
    "board.name": ("Name on the list (may stay empty)", "Name auf der Liste (kann leer bleiben)"),
    "board.join": ("Join the list", "Auf die Liste"),
    "board.leave": ("Leave the list", "Von der Liste"),
    "board.as": ("You are on it as {name}.", "Sie stehen darauf als {name}."),
    "board.rank": ("Place", "Platz"),
    "board.who": ("Name", "Name"),
    "board.you": ("{name} (you)", "{name} (Sie)"),
    # ---- done
    "done.taken": ("It is yours. You find it below.", "Sie gehört Ihnen. Sie finden sie weiter unten."),
    "done.joined": ("You are on the list.", "Sie stehen auf der Liste."),
    "done.left": ("You are not on the list any more.", "Sie stehen nicht mehr auf der Liste."),
    "done.link": ("Your link is below.", "Ihr Link steht weiter unten."),
    "done.fresh": ("A fresh link is on its way to you.", "Ein neuer Link ist zu Ihnen unterwegs."),
    "done.name": (
        "This name cannot be used. Choose 3 to 24 letters and figures that are not your own name or address, and not "
        "taken.",
        "Dieser Name geht nicht. Wählen Sie 3 bis 24 Buchstaben und Ziffern, nicht Ihren eigenen Namen oder Ihre "
        "Adresse, und keinen vergebenen Namen.",
    ),
    "done.old": (
        "Nothing was done: for that a fresh link is needed. Have one sent to you below.",
        "Es wurde nichts getan: Dafür ist ein neuer Link nötig. Lassen Sie sich unten einen schicken.",
    ),
    "done.role": (
        "Nothing was taken: rewards are taken by others in your company.",
        "Es wurde nichts eingelöst: Das machen in Ihrem Unternehmen andere.",
    ),
    "done.unknown": ("Nothing was taken: there is no such reward.", "Nichts eingelöst: Diese Prämie gibt es nicht."),
    "done.not_member": ("Nothing was taken: it is for members.", "Nichts eingelöst: Das ist für Mitglieder."),
    "done.tier": ("Nothing was taken: it is for other tiers.", "Nichts eingelöst: Das ist für einen anderen Status."),
    "done.only_if": ("Nothing was taken: it is for others.", "Nichts eingelöst: Das ist für andere."),
    "done.each": (
        "Nothing was taken: you have taken it as often as one can.",
        "Nichts eingelöst: Sie haben sie so oft eingelöst, wie es geht.",
    ),
    "done.sold_out": ("Nothing was taken: none is left.", "Nichts eingelöst: Es ist keine mehr da."),
    "done.no_voucher": (
        "Nothing was taken: none is left at present.",
        "Nichts eingelöst: Zurzeit ist keine mehr da.",
    ),
    "done.points": (
        "Nothing was taken: there are not enough points.",
        "Nichts eingelöst: Die Punkte reichen nicht.",
    ),
    "done.key": (
        "Nothing was taken: please look again and choose once more.",
        "Nichts eingelöst: Bitte sehen Sie noch einmal nach und wählen Sie neu.",
    ),
}
