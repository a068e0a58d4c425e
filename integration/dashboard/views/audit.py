"""The page of the audit log, for admins: each action with its user, time, address and object."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from flask import request, url_for
from flask_babel import lazy_gettext as _l

from integration.config.models import zone_of
from integration.dashboard.auth.roles import role
from integration.dashboard.presenting.labels import label_for
from integration.dashboard.responses import page
from integration.store.audit import COMMAND_LINE

if TYPE_CHECKING:
    from flask import Response

    from integration.services.container import Services

PAGE_SIZE: Final = 50
# Labels of audit actions by their logged text; also the options of the filter. A logged "reveal" can be
# followed by a key of REVEALED.
ACTS: Final = {
    "sign-in": _l("sign-in"),
    "failed sign-in": _l("failed sign-in"),
    "sign-out": _l("sign-out"),
    "search": _l("search"),
    "reveal": _l("reveal"),
    "open event in the studio": _l("open an event in the route editor"),
    "try a route on what came": _l("try a route"),
    "retry": _l("retry"),
    "cancel": _l("cancel"),
    "ask again": _l("request again"),
    "send again": _l("send again"),
    "begin retry of many": _l("start retrying many"),
    "begin cancel of many": _l("start cancelling many"),
    "begin send again of many": _l("start sending many again"),
    "stop job": _l("stop job"),
    "remap": _l("map again"),
    "dismiss parked": _l("dismiss parked events"),
    "put back parked": _l("park an event again"),
    "pause": _l("pause"),
    "resume": _l("resume"),
    "test call": _l("test call"),
    "test alert": _l("test alert"),
    "acknowledge problem": _l("acknowledge a problem"),
    "snooze problem": _l("snooze a problem"),
    "assign problem": _l("take a problem"),
    "reopen problem": _l("open a problem again"),
    "export": _l("export"),
    "export recalls": _l("export a list of recalls"),
    "find person": _l("search for a person"),
    "forget": _l("erase"),
    "accept configuration": _l("accept configuration"),
}
# Labels of revealed values. After "request" and "answer", the number of the attempt follows.
REVEALED: Final = {
    "telephone": _l("telephone"),
    "customer": _l("customer"),
    "record": _l("record in the CRM"),
    "headers": _l("headers"),
    "body": _l("body"),
    "event": _l("event"),
    "curl": _l("curl command"),
    "request": _l("request of attempt"),
    "answer": _l("answer to attempt"),
    "parked event": _l("parked event"),
    "delivery": _l("delivery"),
}


@role("admin")
def audit(services: Services) -> Response:
    """List the entries of the audit log that match the filters, newest first."""
    who, what = request.args.get("who", "").strip(), request.args.get("what", "")
    logged_who = COMMAND_LINE if who == label_for(COMMAND_LINE) else who
    found, following = services.audit.page(limit=PAGE_SIZE, cursor=_cursor(), who=logged_who, what=what)
    query: dict[str, Any] = {name: value for name, value in (("who", who), ("what", what)) if value}
    return page(
        "audit.html",
        found=found,
        who=who,
        what=what,
        acts=list(ACTS.items()),
        in_words=act_label,
        first=url_for("dashboard.audit", **query),
        next=url_for("dashboard.audit", **query, cursor=following) if following else None,
        zone=zone_of(services.config),
        days=services.config.store.retention_days,
        addresses={each: _address(services, each) for entry in found for each in entry.about},
    )


def act_label(what: str) -> str:
    """Return a logged text in the language of the request. Unknown words stay unchanged."""
    known = max((act for act in ACTS if f"{what} ".startswith(f"{act} ")), key=len, default="")
    if not known:
        return what
    revealed, _dash, number = what.removeprefix(known).strip().partition("-")
    words = (ACTS[known], REVEALED.get(revealed, revealed), number)
    return " ".join(str(each) for each in words if each)


def _cursor() -> str | None:
    cursor = request.args.get("cursor", "")
    return cursor if re.fullmatch(r"\d{1,15}-\d{1,10}", cursor, re.ASCII) else None


def _address(services: Services, about: str) -> str | None:
    """Return the address of the page of a recall or account; None for any other text."""
    if re.fullmatch(r"rc_[0-9a-z]{12}", about):
        return url_for("dashboard.recall", recall_id=about)
    if about in services.config.accounts:
        return url_for("dashboard.account", name=about)
    return None


VIEWS = (("GET /audit", audit),)
