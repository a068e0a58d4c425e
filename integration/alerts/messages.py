"""The texts of alerts, in English, Spanish and Brazilian Portuguese. The texts contain no customer data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from integration.telemetry.redaction import masked

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
            "{reason}. Waiting recalls: {queued}. Fix the cause, then run: ringback resume {subject}",
        ),
        "oldest-queued": (
            "Account {subject}: a recall has waited for {minutes} minutes",
            "The queue is {state}. Waiting recalls: {queued}. {reason}",
        ),
        "dead-letters": (
            "Dead recalls of account {subject}: {dead}",
            (
                "wolkvox refused them; ringback show has the reasons. Fix the cause, then run: "
                "ringback retry --dead --account {subject}"
            ),
        ),
        "quota-used": (
            "Account {subject}: {percent} % of the daily calls are used",
            "{pushed} of {limit} calls were made. When all are used, further recalls wait for the next day.",
        ),
        "source-silent": (
            "Source {subject} has sent nothing for {hours} hours",
            "Its latest delivery arrived on {last}. Check whether the CRM still sends webhooks.",
        ),
        "nothing-verified": (
            "Source {subject}: every delivery is rejected",
            "Deliveries rejected since {since}: {refusals}. Check the secret and the address of the source.",
        ),
        "deliveries-lost": (
            "Source {subject}: deliveries are lost",
            "Deliveries lost since {since}: {losses}. Send them again from the CRM, which does not retry.",
        ),
        "lookups-failing": (
            "Source {subject}: lookups in {provider} fail",
            "{reason}. Waiting events: {events}, since {since}. Next try: {next_try}.",
        ),
        "no-worker": (
            "No worker is running",
            "Waiting recalls: {queued}. Start one. The log of the previous worker says why it ended.",
        ),
        "due-lag": (
            "Queues wait for a free worker",
            "Longest wait: {seconds} s. Running workers: {workers}. Start more workers if this lasts.",
        ),
        "config-pending": (
            "A change of the configuration is pending",
            "It removes entries that are in use: {removed}. Restore the file, or run: ringback config accept",
        ),
        "parked-events": (
            "Parked events of source {subject}: {parked}",
            "They could not be mapped. Correct the route in ringback.toml, then run: ringback remap",
        ),
        "workers-stalled": (
            "Workers that receive no wake-ups: {workers}",
            "Their queues are processed some seconds late. Restart these workers if this lasts.",
        ),
        "config-faulty": (
            "The configuration has a fault; the last valid version stays in use",
            "Run ringback check and correct the file.",
        ),
        "store-unsafe": (
            "The store may lose data or rejects writes",
            "{reason}. Deliveries are rejected with 503 until this is fixed. Run ringback check.",
        ),
        "test": ("Test message", "This is a test of the channel. No action is needed."),
    },
    "es": {
        "queue-stopped": (
            "La cuenta {subject} está detenida",
            "{reason}. Rellamadas en espera: {queued}. Corrija la causa y ejecute: ringback resume {subject}",
        ),
        "oldest-queued": (
            "Cuenta {subject}: una rellamada espera desde hace {minutes} minutos",
            "Estado de la cola: «{state}». Rellamadas en espera: {queued}. {reason}",
        ),
        "dead-letters": (
            "Rellamadas fallidas de la cuenta {subject}: {dead}",
            (
                "wolkvox las rechazó; ringback show da los motivos. Corrija la causa y ejecute: "
                "ringback retry --dead --account {subject}"
            ),
        ),
        "quota-used": (
            "Cuenta {subject}: se usó el {percent} % de las llamadas diarias",
            "Se hicieron {pushed} de {limit} llamadas. Cuando se agoten, las demás esperan al día siguiente.",
        ),
        "source-silent": (
            "El origen {subject} no envía nada desde hace {hours} horas",
            "Su última entrega llegó el {last}. Compruebe si el CRM aún envía webhooks.",
        ),
        "nothing-verified": (
            "Origen {subject}: se rechazan todas las entregas",
            "Entregas rechazadas desde el {since}: {refusals}. Revise el secreto y la dirección del origen.",
        ),
        "deliveries-lost": (
            "Origen {subject}: se pierden entregas",
            "Entregas perdidas desde el {since}: {losses}. Reenvíelas desde el CRM, que no reintenta.",
        ),
        "lookups-failing": (
            "Origen {subject}: fallan las consultas a {provider}",
            "{reason}. Eventos en espera: {events}, desde el {since}. Próximo intento: {next_try}.",
        ),
        "no-worker": (
            "No hay ningún proceso de envío en marcha",
            "Rellamadas en espera: {queued}. Inicie uno. El registro del anterior indica por qué terminó.",
        ),
        "due-lag": (
            "Hay colas que esperan un proceso de envío libre",
            "Espera más larga: {seconds} s. Procesos en marcha: {workers}. Inicie más si esto continúa.",
        ),
        "config-pending": (
            "Hay un cambio pendiente de la configuración",
            "Elimina elementos en uso: {removed}. Restaure el archivo o ejecute: ringback config accept",
        ),
        "parked-events": (
            "Eventos por corregir del origen {subject}: {parked}",
            "No se pudieron procesar. Corrija la ruta en ringback.toml y ejecute: ringback remap",
        ),
        "workers-stalled": (
            "Procesos de envío que no reciben avisos: {workers}",
            "Sus colas se atienden con unos segundos de retraso. Reinicie estos procesos si esto continúa.",
        ),
        "config-faulty": (
            "La configuración tiene un error; se sigue usando la última versión válida",
            "Ejecute ringback check y corrija el archivo.",
        ),
        "store-unsafe": (
            "La base de datos puede perder datos o rechaza escrituras",
            "{reason}. Las entregas se rechazan con 503 hasta que se corrija. Ejecute ringback check.",
        ),
        "test": ("Mensaje de prueba", "Es una prueba del canal. No tiene que hacer nada."),
    },
    "pt_BR": {
        "queue-stopped": (
            "A conta {subject} está parada",
            "{reason}. Rechamadas em espera: {queued}. Corrija a causa e execute: ringback resume {subject}",
        ),
        "oldest-queued": (
            "Conta {subject}: uma rechamada espera há {minutes} minutos",
            "Estado da fila: “{state}”. Rechamadas em espera: {queued}. {reason}",
        ),
        "dead-letters": (
            "Rechamadas com falha da conta {subject}: {dead}",
            (
                "A wolkvox as rejeitou; ringback show dá os motivos. Corrija a causa e execute: "
                "ringback retry --dead --account {subject}"
            ),
        ),
        "quota-used": (
            "Conta {subject}: {percent} % das chamadas diárias foram usadas",
            "Foram feitas {pushed} de {limit} chamadas. Quando acabarem, as demais esperam o dia seguinte.",
        ),
        "source-silent": (
            "A origem {subject} não envia nada há {hours} horas",
            "A última entrega chegou em {last}. Confira se o CRM ainda envia webhooks.",
        ),
        "nothing-verified": (
            "Origem {subject}: todas as entregas são recusadas",
            "Entregas recusadas desde {since}: {refusals}. Confira o segredo e o endereço da origem.",
        ),
        "deliveries-lost": (
            "Origem {subject}: entregas estão sendo perdidas",
            "Entregas perdidas desde {since}: {losses}. Envie-as de novo pelo CRM, que não tenta outra vez.",
        ),
        "lookups-failing": (
            "Origem {subject}: as consultas a {provider} falham",
            "{reason}. Eventos em espera: {events}, desde {since}. Próxima tentativa: {next_try}.",
        ),
        "no-worker": (
            "Nenhum processo de envio está em execução",
            "Rechamadas em espera: {queued}. Inicie um. O registro do anterior diz por que ele terminou.",
        ),
        "due-lag": (
            "Há filas à espera de um processo de envio livre",
            "Maior espera: {seconds} s. Processos em execução: {workers}. Inicie mais se isso continuar.",
        ),
        "config-pending": (
            "Há uma mudança pendente da configuração",
            "Ela remove itens em uso: {removed}. Restaure o arquivo ou execute: ringback config accept",
        ),
        "parked-events": (
            "Eventos a corrigir da origem {subject}: {parked}",
            "Não puderam ser processados. Corrija a rota em ringback.toml e execute: ringback remap",
        ),
        "workers-stalled": (
            "Processos de envio que não recebem avisos: {workers}",
            "Suas filas são atendidas com segundos de atraso. Reinicie estes processos se isso continuar.",
        ),
        "config-faulty": (
            "A configuração tem um erro; a última versão válida continua em uso",
            "Execute ringback check e corrija o arquivo.",
        ),
        "store-unsafe": (
            "O banco de dados pode perder dados ou recusa gravações",
            "{reason}. As entregas são recusadas com 503 até a correção. Execute ringback check.",
        ),
        "test": ("Mensagem de teste", "Este é um teste do canal. Não é preciso fazer nada."),
    },
}
# The text of "lookups-failing" without a next try: the CRM rejects the credentials.
_REFUSED_LOOKUPS: Final = {
    "en": (
        "{reason}. Waiting events: {events}, since {since}. They wait until the lookup of the source is "
        "changed."
    ),
    "es": (
        "{reason}. Eventos en espera: {events}, desde el {since}. Esperan hasta que se cambie la consulta "
        "(lookup) del origen."
    ),
    "pt_BR": (
        "{reason}. Eventos em espera: {events}, desde {since}. Eles esperam até que a consulta (lookup) da "
        "origem seja alterada."
    ),
}
_MANY: Final = {
    "en": ("{number} alerts at once: {kind}", "{names}.", "{names} and {more} more."),
    "es": ("{number} alertas a la vez: {kind}", "{names}.", "{names} y {more} más."),
    "pt_BR": ("{number} alertas ao mesmo tempo: {kind}", "{names}.", "{names} e mais {more}."),
}
_OVER: Final = {
    "en": ("Resolved: {title}", "The alert lasted {lasted}."),
    "es": ("Resuelto: {title}", "La alerta duró {lasted}."),
    "pt_BR": ("Resolvido: {title}", "O alerta durou {lasted}."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageText:
    """The title and text of a message. `link` is None if the URL of the dashboard is not configured."""

    title: str
    text: str
    link: str | None

    @property
    def whole(self) -> str:
        """Return the text and the link as plain text."""
        return self.text if self.link is None else f"{self.text}\n{self.link}"


def message_text(message: AlertMessage, config: Config) -> MessageText:
    """Return the text of a message in the language that `[alerts]` configures."""
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
    """Return the title and the text of one alert, or of a message about several alerts of one kind.

    `values` of several alerts have the key "number". `translate` translates the reason, which the store
    keeps in English. Numbers in `values` that may belong to customers are masked.
    """
    if "number" in values:
        title, all_of_them, some = _MANY[language]
        text = some if values["more"] else all_of_them
        names = ", ".join(values["names"])
        return title.format(number=values["number"], kind=kind), text.format(names=names, more=values["more"])
    title, text = _WORDS[language][kind]
    # rules.py passes "" if there is no next try: the source waits until its lookup is changed.
    if values.get("next_try") == "":
        text = _REFUSED_LOOKUPS[language]
    known = {**values, "subject": subject}
    known["reason"] = translate(str(known.get("reason", "")))
    filled = {name: masked(known.get(name, "")) for name in re.findall(r"{(\w+)}", title + text)}
    return title.format(**filled), _tidied(text.format(**filled))


def link_to(kind: str, subject: str, site: str | None) -> str | None:
    """Return the URL of the dashboard page about an alert, or None if `site` is None.

    `site` is the URL of the dashboard. Without a subject the page is "Requires attention".
    """
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
