"""Labels of the store's texts in the reader's language. Texts that a user wrote are not changed."""

from __future__ import annotations

import ast
import re
from dataclasses import astuple
from pathlib import Path

import pytest
from flask import Flask
from flask_babel import force_locale

from integration.clients.wolkvox_protocol import VerdictKind
from integration.dashboard import language
from integration.dashboard.presenting.labels import KNOWN, VERDICTS, label_for, verdict_word
from integration.dashboard.presenting.reason_labels import UNITS, reason_text
from integration.dashboard.views.audit import ACTS, REVEALED, act_label
from integration.dashboard.views.recall import _REVEALS
from integration.dashboard.views.recalls import KINDS
from integration.domain.dates import ALLOWED
from integration.domain.phone_numbers import reasons
from integration.webhooks.diagnosis import times as diagnosis_times
from integration.webhooks.verification import proof_text

ROOT = Path(__file__).parent.parent.parent
LUA = "\n".join(path.read_text() for path in sorted((ROOT / "integration" / "store" / "lua").glob("*.lua")))


@pytest.fixture
def spanish():
    app = Flask("words")
    language.install(app)
    with app.test_request_context(), force_locale("es"):
        yield


def literals(path, names):
    """Return the texts that a module passes to calls of these names, or as their `reason`."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Call):
            named = getattr(node.func, "id", getattr(node.func, "attr", ""))
            given = [*node.args] if named in names else []
            given += [word.value for word in node.keywords if word.arg == "reason"]
            found |= {
                each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)
            }
    return {text for text in found if " " in text}


def literal_text(node):
    if isinstance(node, ast.JoinedStr):
        parts = (each.value if isinstance(each, ast.Constant) else "…" for each in node.values)
        text = "".join(parts)
        return text if text.strip("…") else None
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


NUMBER_REASONS = (
    *(value for value in vars(reasons).values() if isinstance(value, reasons.Reason)),
    *reasons.BY_POSSIBILITY.values(),
    *reasons.BY_TYPE.values(),
    reasons.nonexistent("CO"),
    reasons.foreign("MX"),
)

SAID = sorted(
    literals("integration/clients/wolkvox_protocol.py", {"_Meaning", "Verdict"})
    | literals("workers/retry.py", set())
    | literals("workers/drain.py", set())
    | literals("workers/push_results.py", set())
    | {text for reason in NUMBER_REASONS for text in (reason.found, reason.allowed)}
    | literals("integration/domain/schedule/rules.py", {"Drop", "append"})
    | literals("integration/domain/schedule/rules.py", {"unreadable"})
    | literals("integration/domain/dates/moments.py", {"unreadable"})
    | literals("integration/domain/dates/formats.py", {"unreadable"})
    | literals("integration/domain/dates/texts.py", {"unreadable"})
    | set(
        re.findall(
            r"(?:become|Admit\.end_queued|return)\b[^\n]*?'(?:superseded|cancelled|dead|wait)', '([^']* [^']*?)(?:: )?'",
            LUA,
        )
    )
)


def test_the_places_where_reasons_are_said_are_found():
    assert len(SAID) > 25
    assert "workers died while pushing the recall, and others passed" in SAID
    assert "the date was in the past, and the account has late = drop" in SAID


@pytest.mark.parametrize("text", [*SAID, ALLOWED])
def test_every_reason_is_said_in_spanish(spanish, text):
    said = label_for(text)
    assert said != text or any(known.startswith(text) for known in KNOWN), text


def test_what_a_reason_tells_is_kept(spanish):
    assert label_for("a newer request: rc_00000001a1b2") == "un pedido más nuevo: rc_00000001a1b2"
    said = label_for(
        "the recall failed repeatedly while other recalls passed; last fault: TLS: no answer in time"
    )
    assert said.endswith("último error: TLS: no hubo respuesta a tiempo")
    assert label_for("retried by ana, with others") == "reintentada por ana, junto con otras"


def test_what_somebody_wrote_stays_as_it_is(spanish):
    assert label_for("cambiamos la campaña %(x)s 100 %") == "cambiamos la campaña %(x)s 100 %"
    assert label_for("retried by %(name)s and 5 %") == "reintentada por %(name)s and 5 %"
    assert label_for(None) == ""


def test_every_verdict_has_a_word(spanish):
    assert set(VERDICTS) == {str(kind) for kind in VerdictKind} | {"worker lost"}
    assert verdict_word("not_sent") == "sin enviar"
    assert verdict_word("of another version") == "of another version"


# --- why a lookup fails --------------------------------------------------------------------------


def reasons_of_lookups(path):
    """Return the texts of a module that name the CRM, with X in place of each value, without docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, bodies)}
    pieces = {id(each) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for each in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(each.value if isinstance(each, ast.Constant) else "X" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            text = node.value
        else:
            continue
        if text not in docs and re.search(r"\w \w", text) and re.search(r"HubSpot|Bitrix24|Meta|\bX\b", text):
            yield text


LOOKUPS = sorted((ROOT / "integration" / "clients" / "lookups").glob("*.py"))
# Of requests, not of failures: headers, keys, and a reason with its status.
NO_REASONS = {"Bearer X", "X X", "X (X)"}
OF_LOOKUPS = sorted({text for path in LOOKUPS for text in reasons_of_lookups(path)} - NO_REASONS)


def test_the_reasons_of_lookups_are_found():
    assert len(OF_LOOKUPS) > 20


@pytest.mark.parametrize("reason", OF_LOOKUPS)
def test_every_reason_of_a_lookup_is_said_in_spanish(spanish, reason):
    # A reason of a status gets the status appended.
    assert label_for(reason) != reason or label_for(f"{reason} (401)") != f"{reason} (401)"


# --- deliveries, templates and channels ------------------------------------------------------------

ERRORS = {
    "ChannelError",
    "FieldFault",
    "NotVerifiedError",
    "TemplateFaultError",
    "UnmappableError",
    "UnreadableError",
    "UnsupportedTypeError",
}
# A name of the configuration or of a header, a form of data, and a text for which the code has variables only.
NO_WORDS = re.compile(
    r"multipart/form-data.*|…\. …|…: …|a … shaped like …|the timestamp is … s …; at most .*"
)


def texts_of_errors():
    """Yield the texts that code raises with an error whose texts a page shows, with "…" for each value."""
    for package in ("alerts", "domain", "mapping", "web", "webhooks"):
        for path in sorted((ROOT / "integration" / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS:
                    for text in filter(None, map(literal_text, node.args)):
                        if " " in text and not NO_WORDS.fullmatch(text):
                            yield text


def is_known(text):
    """Return whether a text is known in Spanish, also with the values that it can have."""
    values = ("7", "secrets", "name", "filter", "record", "7. Check `to` of the channel.")
    remedies = ("Check the receiver.", "the mail server cannot be reached (x)")
    filled = {text.replace("…", value) for value in values}
    filled |= {text.replace("…", "7", 1).replace("…", each) for each in (*values, *remedies)}
    filled |= {f"{remedies[1]}.{text.removeprefix('…')[1:]}"} if text.startswith("…. ") else set()
    return any(label_for(each) != each for each in filled)


def test_the_texts_of_errors_are_found():
    assert len(set(texts_of_errors())) > 90


@pytest.mark.parametrize("text", sorted(set(texts_of_errors())))
def test_every_text_of_an_error_that_a_page_shows_is_said_in_spanish(spanish, text):
    assert is_known(text), text


@pytest.mark.parametrize("unit", diagnosis_times._UNITS)
def test_a_unit_in_a_diagnosis_is_said_in_spanish(spanish, unit):
    (what, mend) = astuple(reason_text("time in other unit", {"found": unit, "expected": unit}))
    assert unit not in what + mend
    assert str(UNITS[unit]) in what


def test_how_a_delivery_was_verified_is_said_in_spanish(spanish):
    assert label_for(proof_text("signature v3", 1, 2)) == "firma v3, secreto 2 de 2"
    assert label_for("url_key and organization_id") == "url_key y organization_id"


def test_a_sentence_about_a_body_is_said_in_spanish(spanish):
    said = label_for("body, line 2, column 5 is invalid JSON. Use JSON in UTF-8.")
    assert said == "cuerpo, línea 2, columna 5: se encontró JSON no válido. Use JSON en UTF-8."


# --- the audit log -------------------------------------------------------------------------------


def actions_logged():
    """Yield the actions that calls of `note` and `note_done` log, with "…" for each value in a text."""
    for package in ("integration", "workers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                if getattr(node.func, "id", getattr(node.func, "attr", "")) not in {"note", "note_done"}:
                    continue
                texts = (literal_text(argument) for argument in node.args)
                yield from filter(None, (next((text for text in texts if text), None),))


# A chosen action of the bulk actions is a variable, and so are the values that are revealed.
LOGGED = sorted(
    {
        text
        for action in actions_logged()
        if ":…" not in action
        for text in (
            [action.replace("…", kind) for kind in KINDS]
            if action.startswith("begin")
            else [action.replace("…", each) for each in _REVEALS]
        )
    }
    | set(KINDS)
)


def test_the_actions_that_are_logged_are_found():
    assert {"test alert", "sign-out", "retry", "begin cancel of many", "reveal curl", "remap"} <= set(LOGGED)
    assert len(LOGGED) > 35


@pytest.mark.parametrize("action", LOGGED)
@pytest.mark.parametrize("spoken", [name for name in language.LANGUAGES if name != "en"])
def test_every_action_of_the_audit_log_is_said_in_every_language(action, spoken):
    app = Flask("words")
    language.install(app)
    with app.test_request_context():
        english = act_label(action)
        with force_locale(spoken):
            said = act_label(action)
    known = next(act for act in sorted(ACTS, key=len, reverse=True) if action.startswith(act))
    revealed = action.removeprefix(known).strip()
    assert revealed in {"", *REVEALED}, action
    assert not set(said.split()) & set(english.split()) - {"a", "CRM", "curl", "editor"}, (said, english)
