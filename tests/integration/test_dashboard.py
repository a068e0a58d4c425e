"""The frame of the dashboard: who gets in, what pages may load, what is said when something is wrong."""

from __future__ import annotations

import re
from io import BytesIO
from types import SimpleNamespace

import pytest
from flask import request
from werkzeug.test import Client

from integration.app import compose
from integration.dashboard import blueprint
from integration.dashboard.auth import roles
from integration.dashboard.auth.cookies import StoredKeySessions
from integration.dashboard.charts.plots import PlotSeries, ceiling, plot
from integration.dashboard.headers import CONTENT_POLICY
from integration.dashboard.presenting.problem_labels import MOST_KEYS, faulty_files
from integration.domain.errors import ConfigError, ConflictError, Fault, NotFoundError, StoreAwayError
from integration.domain.limits import MAX_BODY_BYTES
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.audit import COMMAND_LINE
from integration.store.client import Store, connect
from support import ENVIRON, NoRates, make_services, url_of, write_config
from support.dashboard_client import Pages, text_of

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def with_view(monkeypatch):
    """Add a view of the test's own at /try."""

    def add(view, method="GET"):
        # `wraps` needs a function, and a page needs a name.
        module = SimpleNamespace(VIEWS=((f"{method} /try", view),))
        monkeypatch.setattr(blueprint, "PAGES", (*blueprint.PAGES, module))

    return add


def raising(error, least="viewer"):
    @roles.role(least)
    def attempt(services):
        raise error

    return attempt


ADDRESSES = ["/", "/recalls", "/jobs", "/calendar", "/accounts", "/deliveries", "/parked", "/studio"]


@pytest.mark.parametrize("language", ["en", "es", "pt-BR"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_is_drawn_whole_for_a_browser_and_in_part_for_htmx(services, address, language):
    pages = Pages(services, "admin", language=language)
    whole = pages.get(address)
    assert whole.status_code == 200
    assert f'<html lang="{language}"' in whole.text
    assert whole.text.count('<main id="content"') == 1
    part = pages.get(address, headers={"HX-Request": "true"})
    assert part.text.count('<main id="content"') == 1
    assert "<nav" not in part.text.split("<main")[0]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_page_needs_what_its_policy_forbids(services, address):
    answer = Pages(services, "admin").get(address)
    assert answer.headers["Content-Security-Policy"] == CONTENT_POLICY
    assert not re.search(r"<script(?![^>]*\ssrc=)", answer.text)
    assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:|<style|hx-on|hx-vals=.js:", answer.text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)


def test_a_page_is_not_kept_and_a_file_of_the_package_is(services):
    pages = Pages(services)
    page = pages.get("/")
    assert page.headers["Cache-Control"] == "no-store"
    for address in re.findall(r'(?:src|href)="(/static/[^"#]+)"', page.text):
        file = pages.get(address)
        assert (file.status_code, "immutable" in file.headers["Cache-Control"]) == (200, True), address
        assert "Set-Cookie" not in file.headers


def test_a_view_without_a_mark_does_not_start(services, with_view):
    with_view(lambda _: "everybody")
    with pytest.raises(TypeError, match="declares no role"):
        Pages(services)


def test_no_page_is_shown_in_a_frame_of_others(services):
    headers = Pages(services, "viewer").get("/").headers
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_role_that_is_not_enough_is_told_which_would_be(services, with_view):
    with_view(raising(AssertionError, least="admin"))
    answer = Pages(services, "operator").get("/try")
    assert answer.status_code == 403
    assert "The role admin is required." in answer.text


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotFoundError("no such recall"), 404, "it was deleted after its retention"),
        (ConflictError("accepted"), 409, "the recall is now: accepted"),
        (StoreAwayError("x"), 503, "The store is away"),
    ],
)
def test_what_a_view_raises_becomes_a_page_that_says_what_to_do(services, with_view, error, status, words):
    with_view(raising(error))
    pages = Pages(services)
    whole, part = pages.get("/try"), pages.get("/try", headers={"HX-Request": "true"})
    assert (whole.status_code, part.status_code) == (status, status)
    assert words in whole.text
    assert words in part.text
    assert whole.text.startswith("<!doctype html>")
    assert part.text.startswith('<div id="said">')


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConflictError("accepted"), "el estado de la rellamada ahora es: aceptada"),
        (
            ConflictError("dead", "the customer has a newer request, which replaces this recall"),
            "No se hizo nada: el cliente tiene un pedido más nuevo, que sustituye a esta rellamada.",
        ),
        (
            ConflictError("dead", "the account is no longer in the configuration"),
            "No se hizo nada: la cuenta ya no está en la configuración.",
        ),
    ],
)
def test_a_conflict_says_its_reason_in_the_language_of_the_page(services, with_view, error, words):
    with_view(raising(error))
    assert words in text_of(Pages(services, language="es").get("/try"), 409)


def test_an_error_of_our_own_shows_no_trace(services, with_view):
    with_view(raising(RuntimeError("3001112233")))
    answer = Pages(services).get("/try")
    assert answer.status_code == 500
    assert "3001112233" not in answer.text
    assert "Traceback" not in answer.text


def test_an_unknown_address_is_a_page_for_a_browser_and_a_problem_for_a_program(services):
    pages = Pages(services)
    assert "There is no page at this address." in pages.get("/nothing", headers=HTML).text
    assert pages.get("/nothing", headers={"Accept": "*/*"}).content_type == "application/problem+json"
    for address in ("/v1/nothing", "/hooks/nothing/a/b"):
        assert pages.get(address, headers=HTML).content_type == "application/problem+json"


def test_a_form_that_is_not_ours_does_nothing(services, with_view):
    done = []

    @roles.signed_in
    def attempt(services):
        done.append(1)
        return "done"

    with_view(attempt, "POST")
    pages = Pages(services)
    assert pages.client.post("/try").status_code == 400
    assert pages.client.post("/try", headers={"X-CSRFToken": "made up"}).status_code == 400
    assert not done
    assert pages.post("/try").text == "done"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("spare", "status"), [(100, 200), (-1, 413)])
def test_a_form_is_read_up_to_a_mebibyte(services, with_view, announced, spare, status):
    @roles.signed_in
    def attempt(services):
        return str(len(request.form["text"]))

    with_view(attempt, "POST")
    pages = Pages(services)
    proof = re.search(r'"X-CSRFToken": "([^"]+)"', pages.get("/").text)[1]
    body = b"text=".ljust(MAX_BODY_BYTES - spare, b"x")
    length = {"CONTENT_LENGTH": str(len(body))} if announced else {"wsgi.input_terminated": True}
    answer = pages.client.post(
        "/try",
        input_stream=BytesIO(body),
        headers={"X-CSRFToken": proof},
        content_type="application/x-www-form-urlencoded",
        environ_overrides=length,
    )
    assert answer.status_code == status


def test_programs_need_no_proof_and_get_no_cookie(services):
    client = Client(compose(services, NoRates()))
    for address in ("/v1/recalls", "/hooks/forms"):
        answer = client.post(address, json={})
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers
    assert "Set-Cookie" not in client.get("/healthz").headers


def test_a_request_of_a_program_opens_no_session(services):
    app = compose(services, NoRates())
    read = []
    app.dashboard.session_interface = StoredKeySessions(lambda: read.append(1) or b"key")
    client = Client(app)
    for address in ("/v1/me", "/hooks/nobody", "/openapi.json", "/static/ringback.css"):
        client.get(address)
    assert not read
    client.get("/")
    assert read


def test_without_a_store_a_page_says_so(tmp_path, start_valkey):
    server = start_valkey()
    with server.client() as client:
        services = make_services(tmp_path, client)
    server.kill()
    answer = Pages(services).get("/accounts")
    assert answer.status_code == 503
    assert "The store is away" in answer.text
    assert answer.headers["Retry-After"]


def test_the_key_of_the_cookie_is_the_stores_and_is_read_anew(services, store):
    first, second = Pages(services), Pages(services)
    cookie = first.get("/").headers["Set-Cookie"]
    second.client.set_cookie("ringback", re.match(r"ringback=([^;]+)", cookie)[1])
    assert "Set-Cookie" not in second.get("/").headers
    assert len(bytes.fromhex(store.hget("{ringback}:store", "cookie_key"))) == 32


def test_nobody_sees_a_page_before_there_is_a_user(services):
    client = Client(compose(services, NoRates()))
    for address in ADDRESSES:
        answer = client.get(address)
        assert "ringback user" in answer.text
        assert "bogota" not in answer.text
        assert "<nav" not in answer.text


def test_hostile_words_are_shown_as_text(services, with_view):
    from integration.dashboard.responses import flash_message, page

    nasty = "<script>alert(1)</script>\"'\u202e\x00" + "A" * 10_000

    @roles.signed_in
    def attempt(services):
        flash_message(nasty)
        return page("failure.html", title=nasty, words=nasty, hint=nasty)

    with_view(attempt)
    text = Pages(services).get("/try").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


# --- plots --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "top"), [(0, 2), (2, 2), (3, 3), (7, 8), (10, 10), (57, 60), (1234, 2000)])
def test_the_scale_of_a_plot_ends_at_a_round_number(value, top):
    assert ceiling(value) == top


def test_a_plot_is_broken_where_nothing_is_known():
    drawn = plot(PlotSeries("pushes", [0, 10, None, 5]))
    assert drawn.lines[0].path == "M0 100L33.33 0M100 50"
    assert plot(PlotSeries("pushes", [])).empty


# --- three applications -----------------------------------------------------------------------


def test_each_application_has_its_own_addresses_and_no_others(services):
    web = compose(services, NoRates())
    hooks = {str(rule) for rule in web.receiver.url_map.iter_rules()}
    addresses = {"/hooks/<source>", "/hooks/<source>/<url_key>"}
    assert hooks == {*addresses, *(f"{address}/options" for address in addresses), "/healthz", "/readyz"}
    api = {str(rule) for rule in web.api.url_map.iter_rules()} - {"/healthz", "/readyz", "/openapi.json"}
    assert api
    assert all(rule.startswith("/v1/") for rule in api)
    pages = {str(rule) for rule in web.dashboard.url_map.iter_rules()}
    assert {"/", "/metrics", "/healthz", "/readyz", "/sign-in"} <= pages
    assert not [rule for rule in pages if rule.startswith(("/hooks", "/v1"))]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/hooks/forms", "receiver"), ("/hooks", "receiver"), ("/v1/me", "api"), ("/openapi.json", "api"),
        ("/", "dashboard"), ("/metrics", "dashboard"), ("/hooksandmore", "dashboard"), ("", "dashboard"),
    ],
)  # fmt: skip
def test_the_first_part_of_a_path_chooses_the_application(services, path, name):
    web = compose(services, NoRates())
    assert web.application_for(path) is getattr(web, name)


def test_receiver_and_api_have_no_sessions_and_know_nothing_of_pages(services):
    web = compose(services, NoRates())
    for app in (web.receiver, web.api):
        assert "csrf" not in app.extensions
        assert "babel" not in app.extensions
        assert app.before_request_funcs.get(None, []) == []


# --- the configuration -------------------------------------------------------------------------


@pytest.fixture
def watched(tmp_path, store):
    """Return the pages of a process that looks at its file with each request, and the file."""
    path = write_config(tmp_path)
    watch = watch_config(path, ENVIRON, every_seconds=0)
    return Services(watch, Store(connect(url_of(store))), WakeUpPublisher.silent()), path


@pytest.mark.parametrize(
    ("language", "words", "key"),
    [
        (
            "en",
            "The configuration has a fault; the last valid version stays in use",
            "accounts.bogota.country",
        ),
        (
            "es",
            "La configuración tiene un error; se sigue usando la última versión válida",
            "accounts.bogota.country",
        ),
        (
            "pt-BR",
            "A configuração tem um erro; a última versão válida continua em uso",
            "accounts.bogota.country",
        ),
    ],
)
def test_a_faulty_file_is_named_on_the_first_page_until_it_is_corrected(watched, language, words, key):
    services, path = watched
    pages, good = Pages(services, language=language), path.read_text()
    assert words not in pages.get("/").text
    path.write_text(good.replace('country = "CO"', 'country = "no-such-value"'))
    page = pages.get("/").text
    assert words in page
    assert str(path) in page
    assert key in page
    assert "no-such-value" not in page
    path.write_text(good)
    assert words not in pages.get("/").text


@pytest.mark.parametrize("text", ["", "[accounts.bogota", '[accounts.bogota]\ntoken = "'])
def test_a_truncated_file_is_named_on_the_first_page(watched, text):
    services, path = watched
    path.write_text(text)
    page = Pages(services).get("/").text
    assert "The configuration has a fault" in page
    assert str(path) in page
    assert "All quiet" not in page


def test_the_keys_of_a_faulty_file_are_listed_once_and_in_part():
    faults = [Fault("a.toml", f"key{n}", "nothing", "a text") for n in (*range(MOST_KEYS + 2), 0)]
    first, second = faulty_files(ConfigError((*faults, Fault("b.toml", "other", "nothing", "a text"))))
    assert (first.path, len(first.keys), first.more) == ("a.toml", MOST_KEYS, 2)
    assert (second.path, second.keys, second.more) == ("b.toml", ("other",), 0)


def test_spanish_pages_agree_in_gender_and_name_the_command_line_and_the_mode(services):
    pages = Pages(services, "admin", language="es")
    services.audit.note(COMMAND_LINE, "accept configuration", ["d1"])
    assert "Fallidas 0 ninguna" in text_of(pages.get("/"))
    assert "Procesos de envío" in text_of(pages.get("/"))
    assert '<option value="">todas</option>' in pages.get("/recalls").text
    assert "Modo real" in text_of(pages.get("/accounts/bogota"))
    for address in ("/audit", "/audit?who=línea de comandos"):
        assert "línea de comandos aceptar la configuración" in text_of(pages.get(address))
