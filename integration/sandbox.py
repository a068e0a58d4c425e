"""The wolkvox simulator: answers as wolkvox is documented to, fails on demand, shows what it received.

Promises: a call counts as in flight until its work is done, also when its client has left before that,
so what it says of overlaps is the server's view; tokens are shown as fingerprints only.
Never calls anybody, writes nothing to disk. Where wolkvox's words are not documented, a comment says so.
"""

from __future__ import annotations

import hashlib
import html
import http.server
import json
import os
import re
import signal
import socket
import socketserver
import struct
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self, cast
from urllib.parse import parse_qs, urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

BODY_LIMIT = 1024 * 1024
CALLS_KEPT = 100_000
OVERLAPS_KEPT = 1_000
SIMULTANEOUS_LIMIT = 2


# --- rules: faults on demand -----------------------------------------------------------------


class Rule(BaseModel):
    """A fault, and the calls that it befalls: all that match every one of the fields given.

    It begins with the `nth` matching call and befalls `times` of them (None: all that follow). The
    first rule that matches decides. `seconds` is the work wolkvox seems to do before it answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    action: Literal["answer", "delay", "drop", "reset", "drip", "hang", "html", "redirect", "huge"]
    token: str | None = None
    token_prefix: str | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    nth: int = Field(default=1, ge=1)
    times: int | None = Field(default=None, ge=1)

    seconds: float = Field(default=0.0, ge=0, le=3600)
    """delay, hang: how long. Every other action: before it."""
    interval: float = Field(default=1.0, ge=0, le=3600)
    """drip: seconds between two bytes of the answer."""
    when: Literal["before", "after"] = "after"
    """drop, reset: before anything is done, or while the work goes on without the client."""
    after_bytes: int = Field(default=0, ge=0)
    """drop, reset: how much of the answer is sent before."""
    status: int | None = Field(default=None, ge=200, le=599)
    """answer (200), html (502), redirect (302): the HTTP status."""
    code: int | str | None = None
    """answer: the body's `code`; left out, the HTTP status."""
    msg: str = ""
    error: str | None = None
    retry_after: str | None = None
    size: int = Field(default=1024 * 1024, ge=1, le=64 * 1024 * 1024)
    """huge: bytes of the answer's body."""

    def matches(self, call: _Received) -> bool:
        """Tell whether it could befall this call, its count left aside."""
        return (
            (self.token is None or self.token == call.token)
            and (self.token_prefix is None or call.token.startswith(self.token_prefix))
            and (self.customer_id is None or self.customer_id == call.customer_id)
            and (self.campaign_id is None or self.campaign_id == call.campaign_id)
        )


@dataclass(slots=True)
class _Placed:
    id: int
    rule: Rule
    seen: int = 0
    used: int = 0

    def takes(self, call: _Received) -> bool:
        if not self.rule.matches(call):
            return False
        self.seen += 1
        if self.seen < self.rule.nth or (self.rule.times is not None and self.used >= self.rule.times):
            return False
        self.used += 1
        return True

    def shown(self) -> dict[str, Any]:
        shown = self.rule.model_dump(exclude_defaults=True, exclude={"token", "token_prefix"})
        if self.rule.token is not None:
            shown["token"] = fingerprint(self.rule.token)
        if self.rule.token_prefix is not None:
            shown["token_prefix"] = "(set)"  # noqa: S105  (says only that there is one)
        return {"id": self.id, **shown, "seen": self.seen, "used": self.used}


# --- what was received -----------------------------------------------------------------------


def fingerprint(token: str) -> str:
    """Give a short mark of a token that does not give it away."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()[:8] if token else ""


@dataclass(slots=True)
class _Received:
    """One call, as it arrived and as it went on."""

    seq: int
    received_at: datetime
    token: str = field(repr=False)
    method: str
    path: str
    query: dict[str, str]
    body: Any
    finished_at: datetime | None = None
    status: int | None = None
    code: str | None = None
    rule: int | None = None
    in_flight: int = 1
    answered: bool = False
    mark: str = ""

    @property
    def customer_id(self) -> str | None:
        return self.body_text("customer_id") or self.query.get("customer_id")

    @property
    def campaign_id(self) -> str | None:
        return self.query.get("campaign_id")

    def body_text(self, name: str) -> str | None:
        found = self.body.get(name) if isinstance(self.body, dict) else None
        return None if found is None else str(found)

    def shown(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "received_at": _iso(self.received_at),
            "finished_at": None if self.finished_at is None else _iso(self.finished_at),
            "token": self.mark,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "body": self.body,
            "status": self.status,
            "code": self.code,
            "rule": self.rule,
            "in_flight": self.in_flight,
            "answered": self.answered,
        }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Book:
    """Everything the sandbox knows, behind one lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: deque[_Received] = deque(maxlen=CALLS_KEPT)
        self.rules: list[_Placed] = []
        self.running: dict[str, list[_Received]] = {}
        self.recalls: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.used_today: Counter[tuple[str, date]] = Counter()
        self._next_rule = 1
        self._next_seq = 1
        self._forget_counts()

    def _forget_counts(self) -> None:
        self.count = 0
        self.codes: Counter[str] = Counter()
        self.overlap_count = 0
        self.overlaps: deque[dict[str, Any]] = deque(maxlen=OVERLAPS_KEPT)
        self.most: Counter[str] = Counter({mark: len(calls) for mark, calls in self.running.items()})

    def forget_calls(self) -> None:
        with self.lock:
            self.calls.clear()
            self.recalls.clear()
            self.used_today.clear()
            self._forget_counts()

    def place(self, rules: Iterable[Rule]) -> list[dict[str, Any]]:
        with self.lock:
            placed = []
            for rule in rules:
                placed.append(_Placed(self._next_rule, rule))
                self._next_rule += 1
            self.rules.extend(placed)
            return [rule.shown() for rule in placed]

    def remove(self, rule_id: int | None) -> int:
        """Take one rule away, or all of them; gives how many."""
        with self.lock:
            before = len(self.rules)
            self.rules = [] if rule_id is None else [r for r in self.rules if r.id != rule_id]
            return before - len(self.rules)

    def enter(self, call: _Received) -> Rule | None:
        """A call begins: it is numbered, counted and compared with those that run. Gives its rule."""
        with self.lock:
            call.seq = self._next_seq
            self._next_seq += 1
            self.count += 1
            self.calls.append(call)
            if call.token:
                self.used_today[call.mark, _today()] += 1
                self._overlap(call)
            placed = next((rule for rule in self.rules if rule.takes(call)), None)
            call.rule = None if placed is None else placed.id
            return None if placed is None else placed.rule

    def _overlap(self, call: _Received) -> None:
        running = self.running.setdefault(call.mark, [])
        if running:
            self.overlap_count += 1
            seqs = [other.seq for other in running]
            self.overlaps.append(
                {"token": call.mark, "seq": call.seq, "with": seqs, "at": _iso(call.received_at)}
            )
        running.append(call)
        call.in_flight = len(running)
        self.most[call.mark] = max(self.most[call.mark], call.in_flight)

    def leave(self, call: _Received) -> None:
        """A call's work is done."""
        with self.lock:
            if call.finished_at is not None:
                return
            call.finished_at = datetime.now(UTC)
            self.codes[call.code or "none"] += 1
            running = self.running.get(call.mark, [])
            if call in running:
                running.remove(call)
            if not running:
                self.running.pop(call.mark, None)

    def stats(self) -> dict[str, Any]:
        with self.lock:
            return {
                "count": self.count,
                "accepted": self.codes["202"],
                "codes": dict(self.codes),
                "max_in_flight": dict(self.most),
                "in_flight": {mark: len(calls) for mark, calls in self.running.items()},
                "overlap_count": self.overlap_count,
                "overlaps": list(self.overlaps),
            }


def _today() -> date:
    return datetime.now(UTC).date()


# --- what wolkvox answers --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer before it is written; `takes_effect` is run when the work is done."""

    status: int
    body: bytes
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    takes_effect: Callable[[], None] | None = None


def _api_answer(
    code: int,
    msg: str,
    *,
    error: str | None = None,
    data: Any = None,
    effect: Callable[[], None] | None = None,
) -> _Answer:
    # Whether wolkvox repeats `code` as the HTTP status is not documented; the sandbox does.
    fields: dict[str, Any] = {"code": code, "error": error, "msg": msg}
    if data is not None:
        fields["data"] = data
    return _Answer(code, orjson.dumps(fields), str(code), takes_effect=effect)


# wolkvox's words, from the error table of its API.
NO_SUCH_API = _api_answer(400, "THE API YOU WANT TO CONSULT DOES NOT EXIST", error="BAD REQUEST")
PARAMETERS_REQUIRED = _api_answer(400, "SOME PARAMETERS ARE REQUIRED", error="BAD REQUEST")
TOKEN_MISSING = _api_answer(401, "PLEASE ENTER THE WOLKVOX-TOKEN", error="UNAUTHORIZED")
TOKEN_UNKNOWN = _api_answer(403, "PLEASE VALIDATE TOKEN", error="FORBIDDEN")
TOKEN_USED_UP = _api_answer(403, "TOKEN LIMIT EXCEEDED", error="FORBIDDEN")
TOKEN_BUSY = _api_answer(403, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)", error="FORBIDDEN")

DEFAULT_CAMPAIGNS: Mapping[str, str] = {"12345": "predictive", "67890": "preview"}


@dataclass(slots=True)
class Settings:
    """How the sandbox behaves without a rule.

    `latency_ms` is the work of every call, `daily_limit` calls a token may make on a day (UTC; None:
    any number), `tokens` those that are valid (None: any), `campaigns` their types by id. Campaigns
    that are not listed are taken as predictive ones, since wolkvox documents no word for them.
    """

    latency_ms: float = 0.0
    daily_limit: int | None = None
    tokens: frozenset[str] | None = None
    campaigns: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_CAMPAIGNS))


class _Wolkvox:
    """What wolkvox would answer, rules aside."""

    def __init__(self, settings: Settings, book: _Book) -> None:
        self.settings = settings
        self._book = book
        self._apis: dict[tuple[str, str, str], Callable[[_Received], _Answer]] = {
            ("PUT", "campaign.php", "recall"): self._recall,
            ("GET", "information.php", "campaigns"): self._campaigns,
            ("GET", "information.php", "token_info"): self._token_info,
            ("GET", "real_time.php", "recall"): self._recalls,
        }

    def answer(self, call: _Received) -> _Answer:
        refusal = self._refusal(call)
        if refusal is not None:
            return refusal
        script = call.path.removeprefix("/api/v2/")
        api = self._apis.get((call.method, script, call.query.get("api", "")))
        return NO_SUCH_API if api is None else api(call)

    def _refusal(self, call: _Received) -> _Answer | None:
        if not call.token:
            return TOKEN_MISSING
        if self.settings.tokens is not None and call.token not in self.settings.tokens:
            return TOKEN_UNKNOWN
        if call.in_flight > SIMULTANEOUS_LIMIT:
            return TOKEN_BUSY
        limit = self.settings.daily_limit
        if limit is not None and self._book.used_today[call.mark, _today()] > limit:
            return TOKEN_USED_UP
        return None

    def _recall(self, call: _Received) -> _Answer:
        campaign, customer = call.campaign_id, call.customer_id
        telephone, when = call.body_text("recall_telephone"), call.body_text("recall_date")
        # What wolkvox says of a malformed date, of an unknown campaign or customer and of a preview
        # campaign is not documented: the first and the last are answered with its nearest words.
        if not (campaign and customer and telephone and when and _is_date(when)):
            return PARAMETERS_REQUIRED
        kind = call.query.get("type_campaign", "predictive")
        if kind != "predictive" or self.settings.campaigns.get(campaign) == "preview":
            return PARAMETERS_REQUIRED
        recall = {
            "seq": call.seq,
            "token": call.mark,
            "campaign_id": campaign,
            "customer_id": customer,
            "recall_telephone": telephone,
            "recall_date": when,
        }

        def record() -> None:
            self._book.recalls[call.mark, campaign, customer] = recall

        msg = f"customer_id {customer} has been updated and will be call back on {when} to phone {telephone}"
        return _api_answer(202, msg, effect=record)

    # The shape around a report's rows, and the words beside them, are not documented.

    def _campaigns(self, call: _Received) -> _Answer:
        wanted = call.query.get("campaign")
        rows = [
            {
                "campaign_id": campaign,
                "campaign_name": f"Campaign {campaign}",
                "type_campaign": kind,
                "status": "Started",
                "records": 0,
            }
            for campaign, kind in self.settings.campaigns.items()
            if wanted in {None, campaign}
        ]
        return _api_answer(200, "", data=rows)

    def _token_info(self, call: _Received) -> _Answer:
        used = self._book.used_today[call.mark, _today()]
        limit = self.settings.daily_limit
        row = {
            "token_limit": limit,
            "token_use_today": used,
            "all_token_today": used,
            "available_consumption_options": None if limit is None else max(0, limit - used),
        }
        return _api_answer(200, "", data=[row])

    def _recalls(self, call: _Received) -> _Answer:
        # Callbacks asked for by API are taken as "auto"; the form of `date_recall` is not documented.
        with self._book.lock:
            recalls = [recall for key, recall in self._book.recalls.items() if key[0] == call.mark]
        rows = [
            {
                "type_recall": "auto",
                "date_recall": recall["recall_date"],
                "phone_number": recall["recall_telephone"],
                "id_campaign": recall["campaign_id"],
                "id_agent": "",
            }
            for recall in recalls
            if call.query.get("type", "all") in {"all", "auto"}
        ]
        return _api_answer(200, "", data=rows)


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{14}", text):
        return False
    try:
        datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007  (the clock of the operation, unknown here)
    except ValueError:
        return False
    return True


# --- the connection --------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    """One client's connection, kept alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _route(self) -> None:
        body = self._body()
        if body is None:
            return
        url = urlsplit(self.path)
        if url.path.startswith("/api/"):
            self._api(url.path, url.query, body)
        else:
            self._control(url.path, url.query, body)

    do_GET = do_PUT = do_POST = do_DELETE = _route  # noqa: N815  (the names that http.server looks for)

    def _body(self) -> bytes | None:
        try:
            length = int(self.headers.get("content-length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= BODY_LIMIT or "transfer-encoding" in self.headers:
            self.close_connection = True
            self._reply(400, {"error": f"a body needs a Content-Length of at most {BODY_LIMIT}"})
            return None
        return self.rfile.read(length) if length else b""

    # --- calls to wolkvox ---

    def _api(self, path: str, query: str, body: bytes) -> None:
        sandbox = self.server.sandbox
        token = self.headers.get("wolkvox-token", "").strip()
        call = _Received(
            seq=0,
            received_at=datetime.now(UTC),
            token=token,
            mark=fingerprint(token),
            method=self.command,
            path=path,
            query={name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()},
            body=_value(body),
        )
        rule = sandbox.book.enter(call)
        try:
            self._serve(call, rule)
        finally:
            sandbox.book.leave(call)

    def _serve(self, call: _Received, rule: Rule | None) -> None:
        answer = self.server.sandbox.wolkvox.answer(call)
        if rule is None:
            self._finish(call, answer, 0.0)
        else:
            getattr(self, f"_do_{rule.action}")(call, rule, answer)

    def _finish(self, call: _Received, answer: _Answer, seconds: float) -> None:
        """Do the work, then answer. The call has left before its answer's last byte can be read."""
        self._work(call, answer, seconds)
        self.server.sandbox.book.leave(call)
        call.answered = self._write(_wire(answer))

    def _work(self, call: _Received, answer: _Answer, seconds: float) -> None:
        call.status, call.code = answer.status, answer.code
        if answer is not TOKEN_BUSY:
            self.server.pause(seconds + self.server.sandbox.settings.latency_ms / 1000)
        if answer.takes_effect is not None:
            answer.takes_effect()

    def _do_delay(self, call: _Received, rule: Rule, answer: _Answer) -> None:
        self._finish(call, answer, rule.seconds)

    def _do_answer(self, call: _Received, rule: Rule, _: _Answer) -> None:
        status = rule.status or 200
        code = status if rule.code is None else rule.code
        body = orjson.dumps({"code": code, "error": rule.error, "msg": rule.msg})
        self._finish(call, _Answer(status, body, str(code), _headers("application/json", rule)), rule.seconds)

    def _do_html(self, call: _Received, rule: Rule, _: _Answer) -> None:
        page = b"<!doctype html><title>wolkvox</title><h1>This is not JSON</h1>"
        answer = _Answer(rule.status or 502, page, None, _headers("text/html", rule))
        self._finish(call, answer, rule.seconds)

    def _do_redirect(self, call: _Received, rule: Rule, _: _Answer) -> None:
        headers = (*_headers("text/html", rule), ("Location", "/elsewhere"))
        self._finish(call, _Answer(rule.status or 302, b"", None, headers), rule.seconds)

    def _do_huge(self, call: _Received, rule: Rule, _: _Answer) -> None:
        fixed = b'{"code":202,"error":null,"msg":""}'
        body = fixed[:-2] + b"x" * max(0, rule.size - len(fixed)) + fixed[-2:]
        self._finish(call, _Answer(202, body, "202"), rule.seconds)

    def _do_drip(self, call: _Received, rule: Rule, answer: _Answer) -> None:
        self._work(call, answer, rule.seconds)
        wire = _wire(answer)
        for place in range(len(wire) - 1):
            if not self._write(wire[place : place + 1]):
                return
            self.server.pause(rule.interval)
        self.server.sandbox.book.leave(call)
        call.answered = self._write(wire[-1:])

    def _do_hang(self, call: _Received, rule: Rule, answer: _Answer) -> None:
        self._work(call, answer, rule.seconds or 60.0)
        self._cut(reset=False)

    def _do_drop(self, call: _Received, rule: Rule, answer: _Answer) -> None:
        self._break_off(call, rule, answer, reset=False)

    def _do_reset(self, call: _Received, rule: Rule, answer: _Answer) -> None:
        self._break_off(call, rule, answer, reset=True)

    def _break_off(self, call: _Received, rule: Rule, answer: _Answer, *, reset: bool) -> None:
        if rule.after_bytes:
            self._write(_wire(answer)[: rule.after_bytes])
        self._cut(reset=reset)
        if rule.when == "after":
            self._work(call, answer, rule.seconds)

    def _write(self, data: bytes) -> bool:
        """Write to the client; False when it has left."""
        try:
            self.connection.sendall(data)
        except OSError:
            self.close_connection = True
            return False
        return True

    def _cut(self, *, reset: bool) -> None:
        """Close the connection at once, by FIN or by RST, while the handler goes on."""
        self.close_connection = True
        try:
            if reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.server.forget(self.connection)
            os.close(self.connection.detach())
        except OSError:
            pass

    # --- the sandbox's own addresses ---

    def _control(self, path: str, query: str, body: bytes) -> None:
        sandbox = self.server.sandbox
        wanted = {name: values[-1] for name, values in parse_qs(query).items()}
        if self.command == "GET" and path == "/":
            self._reply(200, _page(sandbox), "text/html; charset=utf-8")
        elif path == "/sandbox/rules":
            self._rules(body)
        elif self.command == "DELETE" and re.fullmatch(r"/sandbox/rules/[0-9]{1,9}", path):
            removed = sandbox.book.remove(int(path.rpartition("/")[2]))
            self._reply(200 if removed else 404, {"removed": removed})
        elif path == "/sandbox/settings" and self.command in {"GET", "PUT", "POST"}:
            self._settings(body)
        else:
            self._lists(path, wanted)

    def _lists(self, path: str, wanted: Mapping[str, str]) -> None:
        sandbox = self.server.sandbox
        if self.command == "GET" and path == "/sandbox/calls":
            after, limit = _whole(wanted.get("after"), 0), _whole(wanted.get("limit"), CALLS_KEPT)
            self._reply(200, sandbox.calls(after=after, limit=limit))
        elif self.command == "DELETE" and path == "/sandbox/calls":
            sandbox.clear_calls()
            self._reply(200, {"removed": "all"})
        elif self.command == "GET" and path == "/sandbox/stats":
            self._reply(200, sandbox.stats())
        elif self.command == "GET" and path == "/sandbox/recalls":
            self._reply(200, sandbox.recalls())
        else:
            self._reply(404, {"error": "the sandbox has no such address"})

    def _rules(self, body: bytes) -> None:
        sandbox = self.server.sandbox
        if self.command == "GET":
            self._reply(200, sandbox.rules())
        elif self.command == "DELETE":
            self._reply(200, {"removed": sandbox.book.remove(None)})
        else:
            self._placed(_value(body))

    def _placed(self, value: Any) -> None:
        try:
            rules = [Rule.model_validate(rule) for rule in (value if isinstance(value, list) else [value])]
        except ValidationError as error:
            self._reply(400, {"error": _faults(error)})
            return
        self._reply(201, self.server.sandbox.book.place(rules))

    def _settings(self, body: bytes) -> None:
        settings = self.server.sandbox.settings
        if self.command != "GET":
            try:
                change = _Change.model_validate(_value(body))
            except ValidationError as error:
                self._reply(400, {"error": _faults(error)})
                return
            for name in change.model_fields_set:
                setattr(settings, name, getattr(change, name))
        self._reply(200, {"latency_ms": settings.latency_ms, "daily_limit": settings.daily_limit})

    def _reply(self, status: int, value: Any, content_type: str = "application/json") -> None:
        body = value.encode() if isinstance(value, str) else orjson.dumps(value)
        self._write(_wire(_Answer(status, body, headers=(("Content-Type", content_type),))))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's)
        """Say nothing: what was received is kept, and shown on request."""


class _Change(BaseModel):
    """What may be set while the sandbox runs."""

    model_config = ConfigDict(extra="forbid")

    latency_ms: float = Field(default=0.0, ge=0, le=3_600_000)
    daily_limit: int | None = Field(default=None, ge=0)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else default


def _value(body: bytes) -> Any:
    """Give a body as JSON, as text if it is none; None for an empty one."""
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _faults(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in fault['loc']) or 'rule'}: {fault['msg']}"
        for fault in error.errors()
    ]


def _headers(content_type: str, rule: Rule) -> tuple[tuple[str, str], ...]:
    more = () if rule.retry_after is None else (("Retry-After", rule.retry_after),)
    return (("Content-Type", content_type), *more)


def _wire(answer: _Answer) -> bytes:
    """Write an answer down in one piece."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unnamed"
    lines = [f"HTTP/1.1 {answer.status} {phrase}", f"Content-Length: {len(answer.body)}"]
    # A rule's text must not become a header of its own.
    lines += [f"{name}: {' '.join(value.split())}" for name, value in answer.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + answer.body


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def pause(self, seconds: float) -> None:
        """Let time pass, unless the sandbox stops."""
        if seconds > 0:
            self._stopped.wait(seconds)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.forget(request)
        super().shutdown_request(request)

    def forget(self, request: socket.socket) -> None:
        with self._open_lock:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client leaves in the middle of a request."""

    def end(self) -> None:
        """Stop: no new connections, and those that are open end."""
        self._stopped.set()
        self.shutdown()
        self.server_close()
        with self._open_lock:
            left, self._open = self._open, set()
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


# --- the sandbox -----------------------------------------------------------------------------


class Sandbox:
    """A wolkvox of one's own, in threads of this process; a context manager.

    `port` 0 takes a free one. `rules` are as for `POST /sandbox/rules`. Settings may be changed while
    it runs, through `settings`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        settings: Settings | None = None,
        rules: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.settings = settings or Settings()
        self.book = _Book()
        self.wolkvox = _Wolkvox(self.settings, self.book)
        for rule in rules:
            self.add_rule(**rule)
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """Its address, as an account's `base_url`."""
        host = str(self._server.server_address[0])
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.port}"  # noqa: S104  (compared only)

    def start(self) -> Self:
        """Begin to answer; until then connections wait."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End; calls still worked on are given up."""
        self._server.end()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add_rule(self, **rule: Any) -> int:
        """Place a rule behind the others; gives its id. Raises pydantic's ValidationError."""
        return cast("int", self.book.place([Rule.model_validate(rule)])[0]["id"])

    def clear_rules(self) -> None:
        """Take all rules away."""
        self.book.remove(None)

    def rules(self) -> list[dict[str, Any]]:
        """Give the rules, with how many calls each has seen and befallen."""
        with self.book.lock:
            return [rule.shown() for rule in self.book.rules]

    def calls(self, *, after: int = 0, limit: int = CALLS_KEPT) -> list[dict[str, Any]]:
        """Give the calls received after that number, oldest first."""
        with self.book.lock:
            found = [call for call in self.book.calls if call.seq > after][:limit]
            return [call.shown() for call in found]

    def clear_calls(self) -> None:
        """Forget calls, counts, callbacks and the day's use; what is in flight stays in flight."""
        self.book.forget_calls()

    def recalls(self) -> list[dict[str, Any]]:
        """Give the callbacks on record: the last word per token, campaign and customer."""
        with self.book.lock:
            return list(self.book.recalls.values())

    def stats(self) -> dict[str, Any]:
        """Give the counts: calls, codes, and the most that were in flight per token, with every overlap."""
        return self.book.stats()


def serve(
    port: int,
    host: str = "127.0.0.1",
    *,
    settings: Settings | None = None,
    rules: Iterable[Mapping[str, Any]] = (),
    announce: Callable[[str], None] = print,
) -> None:
    """Run a sandbox until SIGTERM or Ctrl-C; `announce` is told its address once it answers.

    For a process's main thread. Raises OSError when the port is taken.
    """
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        with Sandbox(host, port, settings=settings, rules=rules) as sandbox:
            announce(sandbox.url)
            ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


# --- the page --------------------------------------------------------------------------------

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="refresh" content="2"><title>wolkvox sandbox</title>
<style>body{{font:14px/1.5 system-ui;margin:2rem;max-width:75rem}}
table{{border-collapse:collapse;width:100%}}
td,th{{border-bottom:1px solid #ccc;padding:.25rem .5rem;text-align:left}}
code{{white-space:pre-wrap;word-break:break-word}}</style></head><body>
<h1>wolkvox sandbox</h1>
<p>{count} calls, {accepted} accepted; {overlaps} overlapped another on its token.</p>
<h2>Calls, newest first</h2>
<table><tr><th>#<th>received<th>token<th>call<th>body<th>answer</tr>{calls}</table>
<h2>Rules</h2><table><tr><th>#<th>rule</tr>{rules}</table></body></html>"""


def _page(sandbox: Sandbox) -> str:
    stats = sandbox.stats()
    with sandbox.book.lock:
        newest = [call.shown() for _, call in zip(range(100), reversed(sandbox.book.calls), strict=False)]
    calls = "".join(
        _row(
            call["seq"],
            call["received_at"],
            call["token"],
            f"{call['method']} {call['path']} {json.dumps(call['query'])}",
            json.dumps(call["body"], ensure_ascii=False),
            f"{call['status'] or '…'} / {call['code'] or '-'}",
        )
        for call in newest
    )
    rules = "".join(_row(rule["id"], json.dumps(rule, ensure_ascii=False)) for rule in sandbox.rules())
    return _PAGE.format(
        count=stats["count"],
        accepted=stats["accepted"],
        overlaps=stats["overlap_count"],
        calls=calls,
        rules=rules,
    )


def _row(*cells: object) -> str:
    return "<tr>" + "".join(f"<td><code>{html.escape(str(cell))}</code></td>" for cell in cells) + "</tr>"
