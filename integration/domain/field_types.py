"""Types for the fields of configuration models, and descriptions of the values that each type accepts.

The error for an invalid value contains the description. It never quotes a secret.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import time
from difflib import SequenceMatcher, get_close_matches
from typing import Annotated, Literal, get_args
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from integration.domain.passwords import HASH_WORDS, is_sound

CLOCK_WORDS = 'a time of day such as "00:00"'
ZONE_WORDS = 'an IANA time zone such as "America/Bogota"'
NAME_WORDS = "1 to 63 letters, digits, - and _, the first a letter or a digit"
FILLED_TEXT_WORDS = "a text that is not empty"
HEADER_TEXT_WORDS = "a text of visible ASCII characters without spaces, because it is sent in a header"
URL_KEY_WORDS = "at least 16 characters of A-Z a-z 0-9 . _ ~ -"
BASE_URL_WORDS = (
    "https://HOST[:PORT][/PATH] without user, query or fragment; http:// only for this machine "
    "(localhost, 127.0.0.1) or a name without dots, because the token is sent in a header"
)
PUBLIC_URL_WORDS = (
    "the full https:// address as the sender signs it, without user or fragment; "
    "http:// only for this machine"
)
SITE_WORDS = "https://HOST[:PORT], the dashboard's address in a browser; http:// only for this machine"
ROLE_WORDS = '"viewer", "operator" or "admin"'
ROLES_WORDS = (
    'a table with the provider\'s groups as keys and roles as values, such as { "callcentre" = "operator" }'
)
HOOK_URL_WORDS = "an https:// address without user or fragment; http:// only for this machine"
MAIL_WORDS = "an address such as operator@example.com, without a name before it"
_LONGEST_ZONE = 60
_SIMILAR_CITY = 0.75
Role = Literal["viewer", "operator", "admin"]


@dataclass(frozen=True, slots=True)
class ValidationIssue:
    """An invalid value of a configuration key.

    `place` is the path to the value from the table that is validated (texts are keys, numbers are indexes
    from 0). `allowed` describes the accepted values. `found` describes the value without a secret; with
    None, the fault has the default description.
    """

    place: tuple[str | int, ...]
    allowed: str
    found: str | None = None


def invalid(allowed: str, found: str | None = None, *, key: str = "") -> PydanticCustomError:
    """Return pydantic's error for an invalid value. `allowed` describes the accepted values.

    `found` replaces the default description of the value, and must not quote a secret. `key` is the key
    to report if the error concerns a whole table.
    """
    return PydanticCustomError("refused", "{allowed}", {"allowed": allowed, "found": found, "key": key})


def _known_zone(name: object) -> ZoneInfo:
    if isinstance(name, ZoneInfo):
        return name
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError) as error:
        close = _similar_zone(str(name)[:_LONGEST_ZONE])
        allowed = f'an IANA time zone. Did you mean "{close}"?' if close else ZONE_WORDS
        raise invalid(allowed) from error


def _similar_zone(name: str) -> str | None:
    """Return the time zone with a similar city, or None.

    The similarity of the cities decides, because the names of one continent are all similar. The whole
    names are compared only between zones with the same city. Zones such as Etc/GMT-5 are never suggested,
    because their sign is the opposite of the common one (https://data.iana.org/time-zones/tzdb/etcetera).
    """
    known = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))
    cities = {zone: zone.rpartition("/")[2].casefold() for zone in known}
    wanted = name.rpartition("/")[2].casefold().replace(" ", "_")
    close = get_close_matches(wanted, cities.values(), n=1, cutoff=_SIMILAR_CITY)
    zones = [zone for zone, city in cities.items() if city in close]
    return max(zones, key=lambda zone: SequenceMatcher(None, zone, name).ratio(), default=None)


def _clock(value: object) -> time:
    # Pydantic would read 30 as thirty seconds past midnight, and "1800" as half past midnight.
    if isinstance(value, str) and re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?", value, re.ASCII):
        hour, minute, second, *_ = map(int, [*value.split(":"), "0"])
        return time(hour, minute, second)
    if isinstance(value, time) and value.tzinfo is None:
        return value.replace(microsecond=0)
    raise invalid(CLOCK_WORDS)


def _not_bool(value: object) -> object:
    # bool is a subclass of int.
    if isinstance(value, bool):
        raise ValueError("true and false are not numbers")  # noqa: TRY004 (pydantic reports ValueError)
    return value


def one_or_more(value: object) -> object:
    """Return a single text or secret as a tuple with one item, and any other value unchanged."""
    return (value,) if isinstance(value, str | SecretStr) else value


def _not_empty(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise invalid(FILLED_TEXT_WORDS, "an empty text")
    return secret


def _fits_header(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", _not_empty(secret).get_secret_value()):
        raise invalid(
            HEADER_TEXT_WORDS,
            "a text with spaces, line breaks or other characters that are not visible ASCII",
        )
    return secret


def _fits_path(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9._~-]{16,}", _not_empty(secret).get_secret_value()):
        raise invalid(URL_KEY_WORDS)
    return secret


def is_this_machine(host: str) -> bool:
    """Return True for a loopback IP address, `localhost`, and names that end with `.localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _address(text: str, allowed: str) -> SplitResult:
    """Return the parts of an http or https URL.

    Raise pydantic's error with `allowed` for any other text, and for a URL with a user name, a fragment
    or characters that are not visible ASCII.
    """
    try:
        parts = urlsplit(text)
        sound = parts.port != 0
    except ValueError as error:
        raise invalid(allowed) from error
    sound = sound and parts.scheme in {"http", "https"} and bool(parts.hostname)
    if not sound or parts.fragment or "@" in parts.netloc or not re.fullmatch(r"[!-~]+", text):
        raise invalid(allowed)
    return parts


def _base_url(text: str) -> str:
    parts = _address(text, BASE_URL_WORDS)
    host = parts.hostname or ""
    # A name without dots resolves only inside one network, such as a container network.
    is_local = is_this_machine(host) or re.fullmatch(r"[a-z][a-z0-9_-]*", host)
    if "?" in text or "#" in text or (parts.scheme == "http" and not is_local):
        raise invalid(BASE_URL_WORDS)
    return text


def _public_url(text: str) -> str:
    parts = _address(text, PUBLIC_URL_WORDS)
    if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
        raise invalid(PUBLIC_URL_WORDS)
    return text


def _site(text: str) -> str:
    parts = _address(text, SITE_WORDS)
    if (
        parts.path.strip("/")
        or "?" in text
        or (parts.scheme == "http" and not is_this_machine(parts.hostname or ""))
    ):
        raise invalid(SITE_WORDS)
    return text.rstrip("/")


def _password_hash(secret: SecretStr) -> SecretStr:
    if not is_sound(secret.get_secret_value()):
        raise invalid(HASH_WORDS, "a text that is not an argon2id hash in these limits")
    return secret


def roles_by_group(value: object) -> object:
    """Return a table of roles unchanged. Raise pydantic's error if it is empty or has an unknown role."""
    if not isinstance(value, dict) or not value or not set(map(str, value.values())) <= set(get_args(Role)):
        raise invalid(ROLES_WORDS)
    return value


def _hook_url(secret: SecretStr) -> SecretStr:
    parts = _address(_not_empty(secret).get_secret_value(), HOOK_URL_WORDS)
    if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
        raise invalid(HOOK_URL_WORDS)
    return secret


Secret = Annotated[SecretStr, AfterValidator(_not_empty)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_fits_header)]
UrlKey = Annotated[SecretStr, AfterValidator(_fits_path)]
PasswordHash = Annotated[SecretStr, AfterValidator(_password_hash)]
Zone = Annotated[ZoneInfo, BeforeValidator(_known_zone)]
Clock = Annotated[time, BeforeValidator(_clock)]
Whole = Annotated[int, BeforeValidator(_not_bool)]
Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", description=NAME_WORDS)]
Template = Annotated[str, Field(min_length=1)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
Site = Annotated[str, AfterValidator(_site)]
HookUrl = Annotated[SecretStr, AfterValidator(_hook_url)]
Mail = Annotated[str, Field(pattern=r"^[^\s@,;<>\"]+@[A-Za-z0-9.-]+$", max_length=254)]
Window = tuple[time, time]


class Table(BaseModel):
    """Base class of the models of configuration tables. They are frozen and accept no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
