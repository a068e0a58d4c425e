"""The texts of alerts, in Spanish and English. They contain names, counts and reasons, no customer's data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from integration.telemetry.redaction import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.config.models import Config
    from integration.store.monitoring.alerts import AlertMessage


_PAGES: Final = {
    "queue-stopped": "/accounts/{}",
    "oldest-queued": "/accounts/{}",
    "quota-used": "/accounts/{}",
    "dead-letters": "/recalls?state=dead&account={}",
    "source-silent": "/sources/{}",
    "nothing-verified": "/sources/{}",
    "deliveries-lost": "/sources/{}",
    "parked-events": "/parked",
    "lookups-failing": "/sources/{}",
}

_WORDS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "en": {
        "queue-stopped": (
            "Account {subject} is stopped",
            "{reason}. Waiting recalls: {queued}. Correct the cause, then resume the account.",
        ),
        "oldest-queued": (
            "Account {subject}: a recall has waited for {minutes} minutes",
            "Waiting recalls: {queued}; the queue is {state}. {reason}",
        ),
        "dead-letters": (
            "Account {subject}: dead recalls: {dead}",
            "See each reason with ringback show. Correct the cause, then retry or cancel them.",
        ),
        "quota-used": (
            "Account {subject}: {percent} % of the day's calls are used",
            "{pushed} of {limit} calls.",
        ),
        "source-silent": (
            "Source {subject} has sent nothing for {hours} hours",
            "Its latest delivery arrived on {last}.",
        ),
        "nothing-verified": (
            "Source {subject}: every delivery is rejected",
            "{refusals} since {since}, none was verified. Check the secret of the source and its address.",
        ),
        "deliveries-lost": (
            "Source {subject}: deliveries are lost",
            "{losses} since {since}, and this sender does not send again. Send them again from the CRM.",
        ),
        "lookups-failing": (
            "Source {subject}: {provider} cannot be read",
            "{reason}. {events} events have waited for it since {since}; next try: {next_try}.",
        ),
        "no-worker": (
            "No worker is running",
            "Waiting recalls: {queued}. Start a worker, or read in its log why it ended.",
        ),
        "due-lag": (
            "Work waits for workers",
            "A queue with work has waited for {seconds} s; {workers} workers are running.",
        ),
        "config-pending": (
            "A change of the configuration is pending",
            "It would remove what is in use: {removed}. Restore the file, or run: ringback config accept",
        ),
        "parked-events": (
            "Source {subject}: parked events: {parked}",
            "They could not be mapped. Correct the route or the event, then map them again.",
        ),
        "workers-stalled": (
            "Workers that take no wake-ups: {workers}",
            "The sweep works off their queues, some seconds later. Restart them if this lasts.",
        ),
        "config-faulty": (
            "The configuration has a fault, and the last valid one is in use",
            "Run ringback check, and correct the file.",
        ),
        "store-unsafe": ("The store is not safe", "{reason}. Deliveries get 503 until this is fixed."),
        "test": ("A test", "This is a test of the channel. Nothing is wrong."),
    },
    "es": {
        "queue-stopped": (
            "La cuenta {subject} está detenida",
            "{reason}. Rellamadas en espera: {queued}. Corrija la causa y reanude la cuenta.",
        ),
        "oldest-queued": (
            "Cuenta {subject}: una rellamada espera desde hace {minutes} minutos",
            "Rellamadas en espera: {queued}; la cola está en «{state}». {reason}",
        ),
        "dead-letters": (
            "Cuenta {subject}: rellamadas fallidas: {dead}",
            "Vea cada motivo con ringback show. Corrija la causa y reinténtelas o cancélelas.",
        ),
        "quota-used": (
            "Cuenta {subject}: usado el {percent} % de las llamadas del día",
            "{pushed} de {limit} llamadas.",
        ),
        "source-silent": (
            "El origen {subject} no envía nada desde hace {hours} horas",
            "Su última entrega llegó el {last}.",
        ),
        "nothing-verified": (
            "Origen {subject}: se rechaza cada entrega",
            "{refusals} desde el {since}, ninguna verificada. Revise el secreto del origen y su dirección.",
        ),
        "deliveries-lost": (
            "Origen {subject}: se pierden entregas",
            "{losses} desde el {since}, y este remitente no reenvía. Vuelva a enviarlas desde el CRM.",
        ),
        "lookups-failing": (
            "Origen {subject}: no se puede leer {provider}",
            "{reason}. {events} eventos lo esperan desde el {since}; próximo intento: {next_try}.",
        ),
        "no-worker": (
            "No hay ningún proceso de envío en marcha",
            "Rellamadas en espera: {queued}. Inicie uno o lea en su registro por qué terminó.",
        ),
        "due-lag": (
            "Hay trabajo que espera un proceso de envío",
            "Una cola con trabajo espera desde hace {seconds} s; hay {workers} procesos de envío en marcha.",
        ),
        "config-pending": (
            "Un cambio de la configuración está pendiente",
            "Quitaría lo que está en uso: {removed}. Restaure el archivo o ejecute: ringback config accept",
        ),
        "parked-events": (
            "Origen {subject}: eventos por corregir: {parked}",
            "No se pudieron procesar. Corrija la ruta o el evento y procéselos de nuevo.",
        ),
        "workers-stalled": (
            "Procesos de envío que no reciben avisos: {workers}",
            "El barrido atiende sus colas, con segundos de demora. Reinícielos si esto dura.",
        ),
        "config-faulty": (
            "La configuración tiene un error, y se usa la última válida",
            "Ejecute ringback check y corrija el archivo.",
        ),
        "store-unsafe": (
            "La base de datos no es segura",
            "{reason}. Las entregas reciben 503 hasta que se corrija.",
        ),
        "test": ("Una prueba", "Es una prueba del canal. No hay ningún problema."),
    },
}
_MANY: Final = {
    "en": ("{number} at once: {kind}", "{names}.", "{names} and {more} more."),
    "es": ("{number} a la vez: {kind}", "{names}.", "{names} y {more} más."),
}
_OVER: Final = {
    "en": ("Resolved: {title}", "It lasted {lasted}."),
    "es": ("Resuelto: {title}", "Duró {lasted}."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageText:
    """A message: a title of one line, a text, and a link to the dashboard if its address is known."""

    title: str
    text: str
    link: str | None

    @property
    def whole(self) -> str:
        """Return the text and the link as plain text."""
        return self.text if self.link is None else f"{self.text}\n{self.link}"


def message_text(message: AlertMessage, config: Config) -> MessageText:
    """Return the text of a message in the operator's language."""
    language = config.alerts.language
    title, text = text_of(message.kind, message.subject, message.values, language)
    if message.phase == "is over":
        over, lasted = _OVER[language]
        duration = message.at - message.since
        title, names = over.format(title=title), text
        text = lasted.format(lasted=_duration(duration.total_seconds()))
        text = names if "number" in message.values else text
    return MessageText(
        title=f"Ringback: {title}",
        text=text,
        link=link_to(message.kind, message.subject, config.dashboard.public_url),
    )


def text_of(
    kind: str, subject: str, values: Mapping[str, Any], language: str, translate: Callable[[str], str] = str
) -> tuple[str, str]:
    """Return title and text of one alert, or of many of a kind.

    `translate` translates a reason, which is in English in the store.
    """
    if "number" in values:
        title, all_of_them, some = _MANY[language]
        text = some if values["more"] else all_of_them
        names = ", ".join(values["names"])
        return title.format(number=values["number"], kind=kind), text.format(names=names, more=values["more"])
    title, text = _WORDS[language][kind]
    known = {**values, "subject": subject}
    known["reason"] = translate(str(known.get("reason", "")))
    filled = {name: harmless(known.get(name, "")) for name in re.findall(r"{(\w+)}", title + text)}
    return title.format(**filled), _tidied(text.format(**filled))


def link_to(kind: str, subject: str, site: str | None) -> str | None:
    """Return the URL of the page about an alert, None if the dashboard's address is not configured."""
    if site is None:
        return None
    page = _PAGES.get(kind, "/").format(quote(subject, safe="")) if subject else "/attention"
    return site.rstrip("/") + page


def _tidied(text: str) -> str:
    return " ".join(text.removeprefix(". ").split())


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
