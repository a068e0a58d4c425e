"""Setup instructions for a source: its address, fields, a sample body and a test command. Pure.

The test command reads the secret from a shell variable. Only a revealed address has a key.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import phonenumbers

from integration.config.source_models.signed_content import parts_of
from integration.mapping.route_reads import EVENT_FIELD, texts_of
from integration.telemetry.redaction import DOTS
from integration.webhooks.hook_urls import hook_path, public_url, secret_path
from integration.webhooks.providers.signatures import IN_THE_HEADER

if TYPE_CHECKING:
    from datetime import datetime

    from integration.config.models import Config
    from integration.config.source_models import JsonSource, Source
    from integration.domain.account import Account

_EQUALS: Final = re.compile(r"\bevent((?:\.[A-Za-z_]\w*)+)\s*==\s*['\"]([^'\"]*)['\"]")
_DATE_FORM: Final = re.compile(r"date\(\s*['\"]([^'\"]+)['\"]\s*\)")
_TOKEN: Final = re.compile(r"\{\{\s*body((?:\.[A-Za-z_]\w*)+)\s*\}\}")
_LIST: Final = re.compile(r"body((?:\.[A-Za-z_]\w*)+)")
# HubSpot sets these in every subscription event; a workflow need not send them.
_OF_SUBSCRIPTIONS: Final = frozenset(
    {"appId", "eventId", "objectId", "occurredAt", "portalId", "propertyName", "propertyValue"}
    | {"subscriptionId", "subscriptionType", "attemptNumber", "changeSource", "sourceId"}
)


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a source. `has_key` is True if the text has a key, or dots in place of the key."""

    text: str
    has_key: bool


def address_of(source: Source, root: str, *, revealed: bool = False) -> Address:
    """Return the address that a sender posts to. The key is replaced by dots unless `revealed`.

    `root` is the receiver's base URL (`https://HOST`), used if the source has no `public_url`.
    """
    known, has_key = public_url(source), source.url_key is not None
    if known is not None:
        key = "" if source.url_key is None else source.url_key.get_secret_value()
        masked = key in known and has_key and not revealed
        return Address(known.replace(key, DOTS) if masked else known, has_key=has_key and key in known)
    path = secret_path(source) if revealed or not has_key else f"{hook_path(source)}/{DOTS}"
    return Address(root.rstrip("/") + path, has_key=has_key)


def keys_of(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields that a HubSpot workflow must send: those not nested and not set by HubSpot."""
    return tuple(name for name in fields if "." not in name and name not in _OF_SUBSCRIPTIONS)


# --- sample body -------------------------------------------------------------------------------


def sample_of(config: Config, source: Source, tomorrow: datetime) -> str:
    """Return a sample JSON body for the source's first route, derived from the route's templates.

    The route may reject the sample: only equality tests of `when` are considered. Without a route the
    event is empty. `tomorrow` is a time in the future (aware).
    """
    routes = config.routes_by_source.get(source.name, ())
    event: dict[str, Any] = {}
    if routes:
        account = config.accounts[routes[0].account_names[0]]
        for key, text in texts_of(routes[0]).items():
            for path in EVENT_FIELD.findall(text):
                _put(event, path[1:], _value(key, text, account, tomorrow))
        for path, word in _EQUALS.findall(routes[0].when or ""):
            _put(event, path[1:], word, overwrite=True)
    events = getattr(source, "events", None)
    within = _LIST.fullmatch(events) if events else None
    body: dict[str, Any] = event
    if within:
        body = {}
        _put(body, within[1][1:], [event])
    return json.dumps(body, ensure_ascii=False)


def _put(table: dict[str, Any], path: str, value: Any, *, overwrite: bool = False) -> None:
    *parents, last = path.split(".")
    for part in parents:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        table = inner
    if overwrite or last not in table:
        table[last] = value


def _value(key: str, text: str, account: Account, tomorrow: datetime) -> str:
    if key == "account":
        return account.name
    if key == "recall_telephone":
        return _telephone(account.country)
    if key == "recall_date":
        form = _DATE_FORM.search(text)
        moment = tomorrow.astimezone(account.timezone)
        return moment.strftime(form[1]) if form else moment.isoformat(timespec="seconds")
    return {"campaign_id": "12345", "customer_id": "80123456"}.get(key, "x")


def _telephone(country: str) -> str:
    example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    return "" if example is None else str(example.national_number)


# --- test command ------------------------------------------------------------------------------

_HMAC: Final = frozenset({"hmac", "hmac-sha256"})
_SIGNED_BODY: Final = {
    "hex": "od -An -v -tx1 | tr -d ' \\n'",
    "base64": "base64 | tr -d '\\n'",
}


def command_of(source: JsonSource, address: str, sample: str) -> str:
    """Return shell commands that post the sample, verified by the secret in the shell variable `SECRET`.

    Return "" for `ed25519`: only the sender has the private key.
    """
    if source.verify == "ed25519":
        return ""
    lines = [f"body={_body(source, sample)}", *_signature_lines(source)]
    headers = ["-H 'Content-Type: application/json'", *_headers(source)]
    target = _quoted(address)
    if source.verify == "query-key":
        target = f'{_quoted(f"{address}?{source.param}=")}"$SECRET"'
    call = " \\\n  ".join([f"curl -sS {target}", *headers, '--data-binary "$body"'])
    return "\n".join([*lines, call])


def _body(source: JsonSource, sample: str) -> str:
    """Return the sample, quoted for a shell. A token that the source expects in the body is `$SECRET`."""
    path = _TOKEN.fullmatch(source.token or "")
    if source.verify != "body-token" or path is None:
        return _quoted(sample)
    body = json.loads(sample)
    _put(body, path[1][1:], DOTS)
    return _quoted(json.dumps(body, ensure_ascii=False)).replace(DOTS, "'\"$SECRET\"'")


def _signature_lines(source: JsonSource) -> list[str]:
    """Return the shell lines that compute a signature or token; [] for schemes without one."""
    made = 'id="msg_$(date +%s)" now=$(date +%s)'
    if source.verify in _HMAC:
        digest = f'openssl dgst -{source.algorithm} -hmac "$SECRET" -binary | {_SIGNED_BODY[source.encoding]}'
        signature = f'signature=$(printf %s "{_signed_text(source)}" | {digest})'
        return [signature] if source.signed == "{body}" else [made, signature]
    if source.verify == "jwt":
        return _token_lines(source)
    if source.verify != "standard-webhooks":
        return []
    return [
        made,
        "key=$(printf %s \"$SECRET\" | sed 's/^whsec_//' | base64 -d | od -An -v -tx1 | tr -d ' \\n')",
        'signature=$(printf %s "$id.$now.$body" \\',
        '  | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)',
    ]


def _token_lines(source: JsonSource) -> list[str]:
    """Return the shell lines that make a JSON Web Token, which is valid for five minutes."""
    audience = "" if source.public_url is None else f', "aud": "{source.public_url}"'
    claims = _quoted('{"exp": %s' + audience.replace("%", "%%") + "}")
    return [
        "b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }",
        f"claims=$(printf {claims} $(($(date +%s) + 300)) | b64)",
        """signed=$(printf %s '{"alg":"HS256","typ":"JWT"}' | b64).$claims""",
        'jwt=$signed.$(printf %s "$signed" | openssl dgst -sha256 -hmac "$SECRET" -binary | b64)',
    ]


def _signed_text(source: JsonSource) -> str:
    """Return the signed text with shell variables, for use between double quotes."""
    variables = {
        "body": "$body",
        "timestamp": "${now}",
        "id": "${id}",
        "url": _escaped(source.public_url or ""),
    }
    parts = enumerate(parts_of(source.signed))
    return "".join(variables[part] if number % 2 else _escaped(part) for number, part in parts)


def _headers(source: JsonSource) -> list[str]:
    match source.verify:
        case "standard-webhooks":
            return [
                '-H "webhook-id: $id"',
                '-H "webhook-timestamp: $now"',
                '-H "webhook-signature: v1,$signature"',
            ]
        case "hmac" | "hmac-sha256":
            return _hmac_headers(source)
        case "jwt":
            return ['-H "Authorization: $jwt"']
        case "bearer":
            return ['-H "Authorization: Bearer $SECRET"']
        case "basic":
            return ['-u "$SECRET"']
        case "header":
            return [f'-H "{source.header}: $SECRET"']
    return []


def _hmac_headers(source: JsonSource) -> list[str]:
    signature = f"{_escaped(source.prefix)}$signature"
    named = [f'-H "{source.message_id}: $id"'] if source.message_id else []
    if source.timestamp in IN_THE_HEADER:
        return [f'-H "{source.header}: {source.timestamp}=$now,{signature}"', *named]
    timed = [f'-H "{source.timestamp}: $now"'] if source.timestamp else []
    return [f'-H "{source.header}: {signature}"', *timed, *named]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _escaped(text: str) -> str:
    """Return a text escaped for use between double quotes in a shell."""
    return re.sub(r'([\\"$`])', r"\\\1", text)
