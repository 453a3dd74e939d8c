"""The five usual reasons to log a turn, as small questions about texts and times: is this one worth a look?

English, Spanish, Portuguese, French and German. Nothing here needs the network; each answers in microseconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Union

Moment = Union[datetime, float, int]

# Words that say little about what a question is about.
_STOP = frozenset(
    """a an the is are was were be do does did can could will would i you he she it we they my your me us of to in on
    at for with and or but not no so if then that this what when where how why which who please thanks hi hello hey
    just want need know tell get got have has had am as by from there about im
    el la los las un una unos unas es son de del en y o que qué cómo como cuándo cuando dónde donde quién por para con
    mi tu su me te se lo al hola favor quiero necesito puedo puede hay
    o os as um uma uns umas é são do da dos das no na nos nas e ou que qual quais quando onde como meu minha seu sua
    eu você ele ela nós para por com oi olá favor quero preciso posso pode
    le les un une des est sont du et ou que quel quelle quels quand où comment pourquoi mon ma mes votre vos je tu il
    elle nous vous pour par avec bonjour salut svp veux peux peut à au aux ce cette
    der die das ein eine einen ist sind und oder was wann wo wie warum welche welcher mein meine ihr ich du er sie es
    wir für mit von zu im am den dem auf bitte hallo möchte kann""".split()  # noqa: SIM905 - a list of two hundred words, readable
)
_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?:ing|ed|en|er|es|e|ar|ir|os|as|ons|ez|a|o)$")


def _folded(text: str) -> str:
    """Lower case without accents."""
    stripped = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in stripped if not unicodedata.combining(letter))


_STOP_FOLDED = frozenset(map(_folded, _STOP))


def _stem(word: str) -> str:
    """Cheap, and alike in five languages: what endings change is at the end."""
    if len(word) > 3 and word.endswith("s"):
        word = word[:-1]
    if len(word) > 5:
        word = _ENDING.sub("", word)
    return word[:7]


def _content(text: str) -> set[str]:
    words = _WORD.findall(_folded(text))
    return {_stem(word) for word in words if len(word) > 1 and word not in _STOP_FOLDED} or set(words)


# --- the user asks again --------------------------------------------------------------------------------------

_ASKS_AGAIN = re.compile(
    r"""^\W*(?:
    i\s+(?:mean|meant|said|asked|was\s+asking)\b | (?:no[\s,.]+)?what\s+i\s+(?:mean|meant|asked)\b
    | let\s+me\s+(?:rephrase|try\s+again|ask\s+again) | in\s+other\s+words | that'?s\s+not\s+what\s+i | again[,:]
    | quiero\s+decir | lo\s+que\s+(?:pregunto|pregunte|quiero\s+saber)\b | me\s+refiero\s+a | te\s+pregunte | repito
    | quero\s+dizer | o\s+que\s+(?:eu\s+)?(?:perguntei|quero\s+saber)\b | eu\s+perguntei | repetindo | quis\s+dizer
    | je\s+veux\s+dire | ce\s+que\s+je\s+(?:demande|veux\s+savoir|voulais) | je\s+repete | je\s+voulais\s+dire
    | ich\s+meine\b | ich\s+meinte | was\s+ich\s+(?:meine|wissen\s+will) | nochmal[,:\s] | ich\s+habe\s+gefragt
    )""",
    re.VERBOSE,
)


def is_rephrase(question: str, history: Sequence[str]) -> bool:
    """Whether the user asks again what one of their last questions (`history`, the latest last) asked already.

    A question asked again in other words shares most of its words that matter; one that goes on about the same
    subject shares some and adds as many.
    """
    asked = _content(question)
    if not asked or not history:
        return False
    if _ASKS_AGAIN.match(_folded(question)):
        return True
    return any(_says_the_same(asked, _content(earlier)) for earlier in list(history)[-5:])


def _says_the_same(asked: set[str], earlier: set[str]) -> bool:
    common = len(asked & earlier)
    if not common:
        return False
    covered = common / min(len(asked), len(earlier))
    alike = common / len(asked | earlier)
    if min(len(asked), len(earlier)) == 1:
        return asked == earlier
    return alike >= 0.5 or (covered >= 0.75 and alike >= 0.4)


# --- the agent passes ------------------------------------------------------------------------------------------

_PUNTS = re.compile(
    r"""
    \bi(?:'m|\s+am)\s+(?:not\s+(?:able|sure|certain|familiar|aware)|unable|afraid\s+i)\b
    | \bi\s+(?:do\s*n[o']?t|don't|cannot|can't|could\s*n[o']?t|couldn't)\s+(?:currently\s+|really\s+|seem\s+to\s+)?
      (?:know|have\s+(?:access|information|that|enough|any|details|the\s+(?:answer|information))
      |help\s+(?:you\s+)?with
      |find|answer|provide|assist|access|see\s+any|determine|say\s+for|confirm|verify)\b
    | \b(?:please\s+)?(?:contact|reach\s+out\s+to|call|e?-?mail|consult|check\s+with|speak\s+(?:to|with))\s+
      (?:our\s+|the\s+|your\s+|a\s+|an\s+|customer\s+|human\s+|local\s+)*(?:support|customer\s+service|help\s*desk|team
      |agent|representative|manufacturer|administrator|branch|professional|expert|lawyer|doctor)\b
    | \bas\s+an?\s+(?:ai|language\s+model|virtual\s+assistant)\b | \bbeyond\s+my\b | \boutside\s+(?:of\s+)?my\b
    | \bi\s+was\s+n[o']?t\s+able\b | \bno\s+information\s+(?:available|about|on)\b
    | \b(?:cannot|can't)\s+be\s+answered\s+(?:from|with)\b
    | \bno\s+(?:puedo|podemos|pude)\s+(?:ayudar|responder|encontrar|acceder|confirmar|darte|darle|proporcionar)
    | \bno\s+(?:tengo|dispongo\s+de|cuento\s+con)\s+(?:acceso|informacion|esa|datos|la\s+informacion)\b
    | \bno\s+(?:lo\s+)?se\b(?!\s+(?:puede|debe|cobra|requiere|permite|aplica|admite|necesita|paga|hace|pierde))
    | \bno\s+estoy\s+segur[oa]\b | \bcomo\s+(?:modelo\s+de\s+lenguaje|asistente\s+virtual|una?\s+ia)\b
    | \b(?:contact[ae]|comunique?se|ponte\s+en\s+contacto|pongase\s+en\s+contacto)\b.{0,30}
      \b(?:soporte|atencion|equipo|servicio)
    | \bnao\s+(?:posso|consigo|consegui|sou\s+capaz)\b.{0,20}
      \b(?:ajud|respond|encontr|acess|confirm|inform|fornec)\w*
    | \bnao\s+(?:tenho|possuo|disponho)\b.{0,15}\b(?:acesso|informac\w+|dados|essa)\b | \bnao\s+sei\b
    | \bnao\s+tenho\s+certeza\b | \bcomo\s+(?:um\s+)?modelo\s+de\s+linguagem\b
    | \b(?:entre\s+em\s+contato|contate|fale)\b.{0,20}\b(?:suporte|atendimento|equipe|central|gerente)\b
    | \bje\s+ne\s+(?:peux|suis|sais|dispose|trouve|connais)\b.{0,20}\b(?:pas|aucune?)\b
    | \bje\s+n'(?:ai|arrive|y\s+ai)\s+(?:pas|aucune?)\b.{0,25}\b(?:acces|information\w*|trouve\w*|reponse|donnees)?
    | \ben\s+tant\s+que\s+(?:modele|ia|assistant)\b
    | \b(?:contactez|contacter|adressez-vous|rapprochez-vous)\b.{0,25}\b(?:service|support|equipe|conseiller|agence)\b
    | \bich\s+(?:kann|konnte)\b.{0,40}\b(?:nicht|keine?)\b.{0,40}
      \b(?:helfen|beantworten|finden|sagen|zugreifen|bestatigen|weiterhelfen|geben)\b
    | \bich\s+weiss\s+(?:es\s+|das\s+)?(?:leider\s+)?nicht\b | \bich\s+bin\s+(?:mir\s+)?nicht\s+sicher\b
    | \bich\s+habe\s+(?:leider\s+)?(?:keinen\s+zugriff|keine\s+information\w*|keine\s+daten)
    | \bals\s+(?:ki|sprachmodell)\b | \bwenden\s+sie\s+sich\b.{0,25}
      \b(?:support|kundendienst|kundenservice|team|filiale)
    """,
    re.VERBOSE,
)


def agent_punted(response: str) -> bool:
    """Whether the agent passed: said that it can't or doesn't know, or sent the user to somebody else."""
    return bool(_PUNTS.search(_folded(response).replace("’", "'").replace("ß", "ss")[:4000]))


# --- a claim that can be wrong ----------------------------------------------------------------------------------

_MONTHS = (
    "january|february|march|april|june|july|august|september|october|november|december|"
    "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|"
    "janeiro|fevereiro|marco|maio|junho|julho|setembro|outubro|novembro|dezembro|"
    "janvier|fevrier|mars|avril|juin|juillet|aout|septembre|octobre|novembre|decembre|"
    "januar|februar|marz|mai|juni|juli|oktober|dezember"
)
_DAYS = (
    "monday|tuesday|wednesday|thursday|friday|saturday|sunday|lunes|martes|miercoles|jueves|viernes|sabado|domingo|"
    "segunda-feira|terca-feira|quarta-feira|quinta-feira|sexta-feira|lundi|mardi|mercredi|jeudi|vendredi|samedi|"
    "dimanche|montags?|dienstags?|mittwochs?|donnerstags?|freitags?|samstags?|sonntags?"
)
_UNITS = (
    "days?|hours?|minutes?|weeks?|months?|years?|business\\s+days|dias?|horas?|minutos?|semanas?|mes(?:es)?|anos?|"
    "jours?|heures?|semaines?|mois|ans?|annees?|tage?n?|stunden?|wochen?|monate?n?|jahre?n?|werktage?n?|"
    "kg|km|gb|mb|tb|mbps|kwh|mg|ml|percent|per\\s+cent|prozent|pour\\s*cent|por\\s+ciento|por\\s+cento"
)
_CLAIMS = re.compile(
    rf"""
    (?:[$€£¥₹]|r\$|us\$|\b(?:usd|eur|brl|gbp|chf|mxn))\s?\d | \d[\d.,]{{0,15}}\s?(?:[$€£¥%]
      |(?:usd|eur|brl|gbp|chf|mxn)\b
      |(?:dollars?|euros?|pounds?|reais|real|pesos?|dolares|francs?|franken|cents?|centavos?)\b)
    | \b\d{{1,4}}[/.\-]\d{{1,2}}[/.\-]\d{{1,4}}\b
    | \b\d{{1,2}}(?:st|nd|rd|th|er|\.)?\s+(?:de\s+|of\s+)?(?:{_MONTHS}|may)\b | \b(?:{_MONTHS}|may)\s+\d{{1,2}}\b
    | \b(?:in|since|en|em|depuis|seit|desde)\s+(?:19|20)\d\d\b
    | \b\d{{1,2}}(?::\d\d)?\s?(?:am|pm|a\.m\.|p\.m\.|uhr|h\d{{0,2}})(?!\w) | \b\d{{1,2}}:\d\d\b
    | \b(?:{_DAYS})\b
    | \b(?:\d[\d.,]{{0,15}}|one|two|three|four|five|seven|ten|dos|tres|cinco|dois|duas|deux|trois|zwei|drei|funf)
      [\s-](?:{_UNITS})\b
    | \b(?:we|i|you|it|they)\s*(?:'ll|\s+will)\s+(?:be\s+)?(?:refund|receive|get|arrive|ship|send|deliver|reimburse
      |charged?|credit|replace|waive|cancel)\w*
    | \b(?:guarantee[ds]?|is\s+free|for\s+free|free\s+of\s+charge|no\s+(?:extra\s+)?(?:fee|charge|cost)s?)\b
    | \bgarantiz\w+ | \bgarant(?:imos|ido|ida|ia\s+de) | \b(?:es|son|e|sao)\s+(?:gratis|gratuit[oa]s?)\b
    | \bsin\s+costo\b | \bsem\s+custo\b | \b(?:recibir|recebera|reembolsar|enviar|entregar)(?:a|as|an|emos|em|ei|ao)?\b
    | \b(?:est|sont)\s+gratuite?s?\b | \bgaranti(?:e|es|ssons)?\b | \b(?:recevrez|rembours(?:erons|e|es)|livrerons)\b
    | \bkostenlos\b | \bgarantier\w+ | \bwir\s+(?:erstatten|liefern|versenden|ersetzen)\b | \berhalten\s+sie\b
    """,
    re.VERBOSE,
)


def makes_factual_claim(response: str) -> bool:
    """Whether the answer states a price, a date, a time, a measure or a promise: what a user will rely on."""
    return bool(_CLAIMS.search(_folded_claims(response[:4000])))


def _folded_claims(text: str) -> str:
    return _folded(text).replace("’", "'")


# --- what happened afterwards -----------------------------------------------------------------------------------


def recurrence(asked_at: Moment, earlier: Iterable[Moment], *, within_hours: float = 72.0) -> dict[str, float | bool]:
    """Signals for a user who came back with the same matter: `recurrence`, and the `gap_hours` since the last time.

    Empty where they did not, so that it can be handed to `log_turn_if` as condition and as signals.
    """
    now = _seconds(asked_at)
    gaps = [(now - _seconds(moment)) / 3600 for moment in earlier]
    fit = [gap for gap in gaps if 0 < gap <= within_hours]
    return {"recurrence": True, "gap_hours": round(min(fit), 2)} if fit else {}


def reverted_quickly(done_at: Moment, reverted_at: Moment | None, *, within_hours: float = 1.0) -> bool:
    """Whether what the agent did was taken back so soon that it was hardly wanted."""
    if reverted_at is None:
        return False
    return 0 <= _seconds(reverted_at) - _seconds(done_at) <= within_hours * 3600


def _seconds(moment: Moment) -> float:
    """Unix seconds; a time without a zone is UTC."""
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    return float(moment)


__all__ = ["agent_punted", "is_rephrase", "makes_factual_claim", "recurrence", "reverted_quickly"]
