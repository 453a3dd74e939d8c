"""What the made-up agents of the demo are asked, and what they answer when they are right and when they are wrong."""

# ruff: noqa: E501 - an answer is easier to read on one line

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """One kind of exchange. Texts have slots such as `{name}`; `fact` is what a reviewer writes as the correction."""

    language: str
    question: str
    right: str
    wrong: str
    fact: str
    root_cause: str = "model"
    tags: tuple[str, ...] = ()


SLOTS: dict[str, tuple[str, ...]] = {
    "name": ("Ines", "Tomás", "Priya", "Hanna", "Kenji", "Marco", "Leila", "Noah", "Sofia", "Anders", "Chloé", "Yusuf"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "tag": ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag"),
    "dia": ("lunes", "martes", "miércoles", "jueves", "viernes"),
    "time": ("9:00", "9:30", "10:15", "11:00", "13:30", "14:00", "15:45", "16:30"),
    "later": ("10:00", "11:30", "12:15", "14:30", "15:00", "17:00"),
    "order": tuple(f"{70_000 + 137 * number}" for number in range(90)),
    "days": ("9", "12", "16", "21", "24", "33", "41"),
    "amount": ("18.90", "42.00", "64.50", "129.00", "210.00", "349.90"),
    "company": ("Nordlicht GmbH", "Acosta y Hijos", "Bright & Lowe Ltd", "Atelier Moreau", "Kawase Shoten", "Fjord AS"),
    "plan": ("Starter", "Team", "Business"),
    "city": ("Lisbon", "Hamburg", "Osaka", "Porto", "Lyon", "Sevilla"),
}

SCENES: dict[str, tuple[Scene, ...]] = {
    "book_meeting": (
        Scene(
            "en",
            "Can you find 45 minutes with {name} on {day}? I'm free from {time}.",
            "Done: **{day}, {time}**, 45 minutes with {name}. The invitation has a video link, and both calendars were free.",
            "I've booked **{day}, {time}** with {name} for an hour.\n\n"
            "_Note: {name}'s calendar shows another meeting then, but it looked movable._",
            "Never book over a meeting that is there: offer the next slot that is free for everyone.",
            "tool",
            ("double-booking",),
        ),
        Scene(
            "en",
            "Move my {day} {time} with {name} to {later}, please, and tell them why: I'm on a train until then.",
            "Moved to **{later}** on {day}. I told {name} that you are on a train until then; they accepted.",
            "Moved to **{later}** on {day}. {name} was not told, as I can't write messages.",
            "The agent can write to guests: a move always carries the reason that the host gave.",
            "prompt",
            ("silent-change",),
        ),
        Scene(
            "de",
            "Kannst du am {tag} um {time} Uhr einen Termin mit {name} eintragen? Wir sitzen in Hamburg, {name} in Lissabon.",
            "Eingetragen: **{tag}, {time} Uhr in Hamburg**, für {name} eine Stunde früher. Die Einladung ist verschickt.",
            "Eingetragen: **{tag}, {time} Uhr** für euch beide.",
            "Zeitzonen beider Seiten nennen: Lissabon ist eine Stunde hinter Hamburg.",
            "model",
            ("time-zone",),
        ),
        Scene(
            "ja",
            "{name}さんとの打ち合わせを{time}に入れてください。場所は大阪オフィスでお願いします。",
            "{time}に{name}さんとの打ち合わせを登録しました。場所は**大阪オフィス 会議室3**です。招待状を送りました。",
            "{time}に{name}さんとの打ち合わせを登録しました。場所はオンラインです。",
            "場所が指定されたときは、その場所の会議室を必ず予約する。",
            "context",
            ("wrong-place",),
        ),
        Scene(
            "es",
            "¿Puedes buscar un hueco con {name} el {dia} por la tarde? Media hora basta.",
            "Listo: el **{dia} a las {later}**, media hora con {name}. He enviado la invitación.",
            "Listo: el **{dia} a las 9:00**, media hora con {name}.",
            "«Por la tarde» significa después de las 13:00; si no hay hueco, preguntar.",
            "model",
        ),
    ),
    "answer_refund_question": (
        Scene(
            "en",
            "Order {order} arrived {days} days ago and I never opened it. Can I still send it back?",
            "Yes. Unopened orders can come back within **45 days** of delivery, so order {order} still can. "
            "I've sent the label to your address; the refund follows within 5 working days of arrival.",
            "Unfortunately order {order} is past our **14-day** return window, so I can't offer a refund.",
            "Unopened orders can be returned within 45 days of delivery; 14 days is the limit for opened ones.",
            "context",
            ("policy", "returns"),
        ),
        Scene(
            "en",
            "You charged me {amount} twice for order {order}. When do I get the second one back?",
            "I see both charges of {amount}. The second one was reversed today; banks show it within **3 to 5 working days**.",
            "Duplicate charges are usually just holds. Please wait **30 days**; they go away on their own.",
            "A duplicate charge is reversed at once on our side and shows within 3 to 5 working days. Never say 30 days.",
            "model",
            ("policy", "billing"),
        ),
        Scene(
            "de",
            "Ich habe den {plan}-Tarif gestern verlängert und möchte doch kündigen. Bekomme ich das Geld zurück?",
            "Ja: innerhalb von **14 Tagen** nach der Verlängerung erstatten wir den vollen Betrag. "
            "Soll ich den {plan}-Tarif jetzt kündigen?",
            "Eine Verlängerung ist verbindlich; eine Erstattung ist leider nicht möglich.",
            "Verlängerungen sind innerhalb von 14 Tagen voll erstattungsfähig.",
            "context",
            ("policy",),
        ),
        Scene(
            "pt",
            "O pedido {order} chegou com defeito. Preciso devolver para receber os {amount} de volta?",
            "Não precisa devolver: mande uma foto do defeito e reembolsamos **{amount}** em até 5 dias úteis.",
            "Sim, envie o produto para o nosso armazém. O frete fica por sua conta.",
            "Com defeito basta uma foto; o cliente nunca paga o frete de um produto com defeito.",
            "context",
            ("policy", "returns"),
        ),
        Scene(
            "fr",
            "Ma commande {order} n'est jamais arrivée. Je veux être remboursé de {amount} €.",
            "Je suis désolée. Le transporteur confirme la perte : **{amount} €** seront remboursés sous 5 jours ouvrés.",
            "Votre commande {order} est marquée comme livrée ; je ne peux pas la rembourser.",
            "« Livrée » sans signature ne suffit pas : ouvrir une enquête et rembourser après 7 jours sans preuve.",
            "tool",
            ("shipping",),
        ),
        Scene(
            "ar",
            "طلبي رقم {order} وصل متأخرًا {days} أيام. هل أستحق تعويضًا؟",
            "نعم، يستحق كل طلب متأخر أكثر من أسبوع **رصيدًا بقيمة 10%**. أضفته إلى حسابك الآن.",
            "نأسف للتأخير، لكننا لا نقدم تعويضات عن التأخير.",
            "التأخير لأكثر من أسبوع يمنح رصيدًا بقيمة 10% من قيمة الطلب.",
            "context",
            ("policy", "shipping"),
        ),
    ),
    "extract_invoice": (
        Scene(
            "en",
            "Extract this invoice:\n\n```\n{company}\nInvoice {order}\nDate 03/04/2026\n2 x Desk lamp    {amount}\n"
            "VAT 19 % included\n```",
            '```json\n{{\n  "supplier": "{company}",\n  "invoice": "{order}",\n  "date": "2026-04-03",\n  "lines": [\n'
            '    {{"item": "Desk lamp", "quantity": 2, "total": {amount}}}\n  ],\n  "vat": 0.19,\n'
            '  "vat_included": true\n}}\n```',
            '```json\n{{\n  "supplier": "{company}",\n  "invoice": "{order}",\n  "date": "2026-03-04",\n  "lines": [\n'
            '    {{"item": "Desk lamp", "quantity": 1, "total": {amount}}}\n  ],\n  "vat": 0.19\n}}\n```',
            "European suppliers write the day first: 03/04/2026 is 2026-04-03. Quantities stand before the item.",
            "prompt",
            ("dates", "json"),
        ),
        Scene(
            "de",
            "Bitte als JSON:\n\n```\n{company}\nRechnung Nr. {order}\nNetto {amount} EUR\nUSt 7 %\nZahlbar in 30 Tagen\n```",
            '```json\n{{"supplier": "{company}", "invoice": "{order}", "net": {amount}, "vat": 0.07, "due_days": 30}}\n```',
            'Hier ist das JSON:\n\n{{"supplier": "{company}", "invoice": {order}, "net": "{amount} EUR", "vat": 7,',
            "Beträge sind Zahlen ohne Währung, die Steuer ist ein Anteil (0.07), und das JSON muss vollständig sein.",
            "model",
            ("json", "cut-off"),
        ),
    ),
    "summarize_call": (
        Scene(
            "en",
            "Summarise the call with {company} about moving to the {plan} plan: three sentences and the next step.",
            "{company} wants to move 40 seats to **{plan}** before the quarter ends. Their security team asked for the audit "
            "log and single sign-on. Price was accepted with yearly billing.\n\n**Next step:** {name} sends the order form "
            "by {day}.",
            "The call with {company} was productive and covered many topics. Everyone agreed to stay in touch. The mood was "
            "positive.\n\n**Next step:** follow up.",
            "A summary names the decision, the open question, who does the next step and by when.",
            "prompt",
            ("vague",),
        ),
        Scene(
            "es",
            "Resume la llamada con {company}: tres frases y el siguiente paso.",
            "{company} tiene retrasos en las entregas desde {city}. Pide un contacto fijo y un informe semanal. Acepta esperar "
            "hasta el {dia}.\n\n**Siguiente paso:** {name} envía el informe el {dia}.",
            "{company} quiere cancelar el contrato.\n\n**Siguiente paso:** preparar la baja.",
            "El cliente pidió un contacto fijo y un informe semanal; nunca habló de cancelar.",
            "model",
            ("made-up",),
        ),
    ),
    "triage_ticket": (
        Scene(
            "en",
            'Ticket: "Nobody in our {city} office can sign in since {time}. We open in an hour."',
            '```json\n{{"queue": "access", "urgency": "critical", "language": "en"}}\n```',
            '```json\n{{"queue": "general", "urgency": "low", "language": "en"}}\n```',
            "A whole office that can't sign in is critical, whatever the tone.",
            "prompt",
            ("urgency",),
        ),
        Scene(
            "fr",
            "Ticket : « Bonjour, pourriez-vous m'envoyer la facture {order} à nouveau ? Rien d'urgent. »",
            '```json\n{{"queue": "billing", "urgency": "low", "language": "fr"}}\n```',
            '```json\n{{"queue": "access", "urgency": "high", "language": "en"}}\n```',
            "Une copie de facture va à « billing » avec une urgence basse.",
            "model",
            ("wrong-queue",),
        ),
    ),
    "translate_listing": (
        Scene(
            "pt",
            "Traduza para o inglês: «Apartamento com varanda em {city}, a dois passos do metrô, aceita animais.»",
            "Flat with a balcony in {city}, steps from the metro. Pets are welcome.",
            "Apartment with veranda in {city}, two steps of the meter, accepts animals.",
            "“A dois passos” means very near; “metrô” is the metro; “aceita animais” is “pets are welcome”.",
            "model",
            ("literal",),
        ),
    ),
}
