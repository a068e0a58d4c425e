"""Bodies as real senders post them, through the receiver: queued, parked or rejected.

The shapes are known from public reports about form plug-ins, CRMs and HTTP libraries. Names and numbers are
made up.
"""

from __future__ import annotations

import pytest

from support import make_services, parked_events, two_accounts
from support.hook_client import HookClient

KEY = "urlkey-case-0123456789abcdef"
CONFIG = """
[sources.forms]
kind = "json"
verify = "url-key"
url_key = "urlkey-case-0123456789abcdef"

[sources.query]
kind = "json"
verify = "url-key"
url_key = "urlkey-case-abcdef0123456789"
body = "query"

[[routes]]
name = "query"
source = "query"
account = "bogota"
campaign_id = "{{ delivery.query.campana | default('12345') }}"
customer_id = "{{ event.documento }}"
recall_telephone = "{{ event.celular }}"
recall_date = "{{ event.fecha }}"

[[routes]]
name = "fields with ids"
source = "forms"
account = "bogota"
when = "event.contact"
campaign_id = "12345"
customer_id = "{{ event.contact.fields['7'] }}"
recall_telephone = "{{ event.contact.phone }}"
recall_date = "{{ event.contact.fields['23'] | default(event.callback) }}"

[[routes]]
name = "form"
source = "forms"
account = "bogota"
campaign_id = "{{ delivery.query.campana | default('12345') }}"
customer_id = "{{ event.documento }}"
recall_telephone = "{{ event.celular }}"
recall_date = "{{ event.fecha }}"
"""
FORM = "application/x-www-form-urlencoded"
DATE = "2030-06-04T15:30:00"
JSON = '{"documento": "80123456", "celular": "3001112233", "fecha": "2030-06-04T15:30:00"%s}'
PLAIN = JSON % ""
WITH_FORM = f"documento=80123456&celular=3001112233&fecha={DATE}"


@pytest.fixture
def web(tmp_path, store):
    return HookClient(make_services(tmp_path, store, two_accounts() + CONFIG))


def post(web, body, content_type="application/json", *, path=f"/hooks/forms/{KEY}", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    body = body.encode() if isinstance(body, str) else body
    return web.post("forms", body, path=path, headers={"content-type": content_type, **headers})


def queued(web, answer):
    """Return the customer, telephone and campaign of the only recall of a response."""
    assert answer.status_code == 202, answer.text
    assert answer.json["parked"] == 0, parked_events(web.services)
    (recall,) = (web.recall(one) for one in answer.json["recalls"])
    assert recall.recall_date.strftime("%Y-%m-%dT%H:%M:%S") == DATE
    return recall.customer_id, recall.recall_telephone, recall.campaign_id


EXPECTED = ("80123456", "3001112233", "12345")


@pytest.mark.parametrize(
    "body",
    [
        "contact[fields][7]=80123456",
        "contact[fields][5]=3104445566&contact[fields][7]=80123456",
        "contact[fields][7]=80123456&contact[fields][318]=x",
        "contact[fields][0]=x&contact[fields][7]=80123456",
        "contact%5Bfields%5D%5B7%5D=80123456&contact%5Bfields%5D%5B249%5D=x",
        "&".join(f"contact[fields][{n}]={'80123456' if n == 7 else n}" for n in range(9)),
        "contact[fields][]=a&contact[fields][1]=b&contact[fields][7]=80123456",
    ],
)
def test_a_field_is_read_by_its_id_whatever_other_fields_come_along(web, body):
    body = f"callback={DATE}&contact[phone]=3001112233&{body}"
    assert queued(web, post(web, body, FORM)) == EXPECTED


def test_an_id_from_250_on_changes_nothing_for_the_other_ids(web):
    start = f"contact[phone]=3001112233&contact[fields][7]=80123456&contact[fields][23]={DATE}"
    for more in ("", "&contact[fields][249]=x", "&contact[fields][250]=x", "&contact[fields][318]=x"):
        assert queued(web, post(web, start + more, FORM)) == EXPECTED


def multipart(*parts, line="\r\n", boundary="X", end="--"):
    written = [f"--{boundary}{line}{head}{line}{line}{content}{line}" for head, content in parts]
    return "".join(written) + f"--{boundary}{end}{line}"


def text_part(name, value, more=""):
    return f'Content-Disposition: form-data; name="{name}"{more}', value


FIELDS = (
    text_part("documento", "80123456"),
    text_part("celular", "3001112233"),
    text_part("fecha", DATE),
)


@pytest.mark.parametrize(
    "body",
    [
        multipart(text_part("formID", "243231271343446"), *FIELDS, text_part("rawRequest", '{"q4":"8"}')),
        multipart(*FIELDS, line="\n"),
        multipart(*FIELDS, text_part("cv", "PK\x03\x04", '; filename="hoja de vida.pdf"')),
        multipart(text_part("foto", "", '; filename=""'), *FIELDS),
        "preamble\r\n" + multipart(*FIELDS) + "epilogue",
    ],
)
def test_a_multipart_form_is_read_like_any_other_form(web, body):
    assert queued(web, post(web, body, "multipart/form-data; boundary=X")) == EXPECTED


def test_of_a_file_in_a_form_the_name_is_kept_and_not_the_content(web):
    body = multipart(*FIELDS, text_part("cv", "the words of the file", '; filename="hoja de vida.pdf"'))
    answer = post(web, body, 'multipart/form-data; boundary="X"')
    kept = web.services.delivery_log.delivery(answer.json["delivery"])
    assert b"hoja de vida.pdf" in kept.body
    assert b"the words of the file" not in kept.body
    assert b"80123456" in kept.body


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart(*FIELDS, end=""), "multipart/form-data; boundary=X"),
        (multipart(*FIELDS), "multipart/form-data; boundary=Y"),
        (multipart(*FIELDS), "multipart/form-data"),
        (multipart(("X-Part: 1", "no name")), "multipart/form-data; boundary=X"),
        (multipart(*FIELDS, text_part("a", "x", "; b=" + "y" * 5000)), "multipart/form-data; boundary=X"),
        (multipart(*FIELDS * 667), "multipart/form-data; boundary=X"),
    ],
    ids=["no end", "another boundary", "no boundary", "no name", "long head", "2001 parts"],
)
def test_a_multipart_body_that_is_incomplete_or_too_large_is_unreadable(web, body, content_type):
    assert post(web, body, content_type).status_code == 400


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (PLAIN, "text/plain; charset=UTF-8"),
        (PLAIN, "text/plain"),
        (PLAIN, FORM),
        (f"\n  {PLAIN}", f"{FORM}; charset=UTF-8"),
    ],
)
def test_json_is_read_where_the_sender_calls_it_text_or_a_form(web, body, content_type):
    assert queued(web, post(web, body, content_type)) == EXPECTED


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("UTF-16", "utf-16"),
        ("utf-16le", "utf-16-le"),
        ("x-unknown", "utf-8"),
        ("us-ascii", "utf-8"),
        ('"UTF8"', "utf-8"),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", FORM])
def test_a_body_is_decoded_by_its_charset(web, charset, codec, kind):
    if kind == FORM:
        body = WITH_FORM.replace("80123456", "CÉ-80123456")
    else:
        body = (JSON % "").replace("80123456", "CÉ-80123456")
    answer = post(web, body.encode(codec), f"{kind}; charset={charset}")
    assert queued(web, answer) == ("CÉ-80123456", "3001112233", "12345")


def test_an_escape_in_a_form_is_one_of_its_charset(web):
    body = WITH_FORM.replace("80123456", "C%C9-80123456")
    answer = post(web, body, f"{FORM}; charset=ISO-8859-1")
    assert queued(web, answer) == ("CÉ-80123456", "3001112233", "12345")
    assert post(web, body, FORM).status_code == 400


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xef\xbb\xbf" * 2])
@pytest.mark.parametrize(("body", "content_type"), [(PLAIN, "application/json"), (WITH_FORM, FORM)])
def test_byte_order_marks_before_a_body_are_no_part_of_it(web, mark, body, content_type):
    assert queued(web, post(web, mark + body.encode(), content_type)) == EXPECTED


@pytest.mark.parametrize(
    "coding", ["UTF-8", "utf8", "ISO-8859-1", "identity", "", "application/json", "none"]
)
def test_a_content_encoding_that_is_no_compression_is_ignored(web, coding):
    assert queued(web, post(web, PLAIN, content_encoding=coding)) == EXPECTED


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "UTF-8, gzip"])
def test_a_compressed_body_is_rejected(web, coding):
    assert post(web, PLAIN, content_encoding=coding).status_code == 415


@pytest.mark.parametrize(
    ("note", "content_type"),
    [
        (r"hola \ud83d", "application/json"),
        (r"\ude00 hola", "application/json"),
        (r"\ud83d\ud83d\ude00 \\ud83d", "application/json"),
        (b"hola \xed\xa0\xbd", "application/json"),
    ],
)
def test_a_lone_surrogate_becomes_a_replacement_character(web, note, content_type):
    note = note if isinstance(note, bytes) else note.encode()
    assert queued(web, post(web, (JSON % ', "nota": "%s"').encode() % note, content_type)) == EXPECTED


def test_a_lone_surrogate_in_a_form_becomes_a_replacement_character(web):
    answer = post(web, WITH_FORM.replace("80123456", "80123456%ED%A0%BD"), FORM)
    assert queued(web, answer) == ("80123456\ufffd", "3001112233", "12345")


@pytest.mark.parametrize(
    "customer",
    [
        *("80123456\u200b", "\ufeff80123456", "8012\u00ad3456", "\u202a80123456\u202c", "80123456\ufe0f"),
        *("80123456\u3164", "80123456\u00a0", "\u206080123456", "80123456.0", "80123456.0\u200b"),
    ],
    ids=ascii,
)
def test_an_id_loses_what_copying_and_spreadsheets_add(web, customer):
    assert queued(web, post(web, PLAIN.replace("80123456", customer))) == EXPECTED


@pytest.mark.parametrize("customer", ["8.01E+07", "8,0123456E+7", "8E+07", "8.5e7"])
def test_an_id_that_a_spreadsheet_shortened_is_parked(web, customer):
    answer = post(web, PLAIN.replace("80123456", customer))
    assert (answer.status_code, answer.json["parked"]) == (202, 1)
    (event,) = parked_events(web.services)
    assert (event["field"], event["found"]) == (
        "customer_id",
        "a number in scientific notation, which has lost digits",
    )


@pytest.mark.parametrize("customer", ["65e0123456789", "v1.0", "1.00", "1.5", "A-8.01E+07", "12.0.0"])
def test_an_id_that_only_resembles_a_number_stays_as_it_is(web, customer):
    assert queued(web, post(web, PLAIN.replace("80123456", customer)))[0] == customer


@pytest.mark.parametrize("path", [f"/hooks/forms/{KEY}/", f"/hooks/forms/{KEY}/?utm=x"])
@pytest.mark.parametrize(("body", "content_type"), [(PLAIN, "application/json"), (WITH_FORM, FORM)])
def test_a_slash_at_the_end_of_the_address_changes_nothing(web, path, body, content_type):
    first = post(web, body, content_type, path=path)
    assert queued(web, first) == EXPECTED
    assert post(web, body, content_type).json["recalls"] == first.json["recalls"]


def test_a_slash_at_the_end_is_taken_without_a_key_too(web):
    answer = post(web, PLAIN, path="/hooks/forms/")
    assert answer.status_code == 401  # the key is missing, but the source is found


QUERY = "documento=80123456&celular=3001112233&fecha=2030-06-04T15:30:00"
QUERY_PATH = "/hooks/query/urlkey-case-abcdef0123456789"


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        (f"{QUERY_PATH}?{QUERY}", "", ""),
        (f"{QUERY_PATH}/?{QUERY}", "{}", "application/json"),
        (f"{QUERY_PATH}?{QUERY}&utm[source]=x", "ignored=1", FORM),
        (QUERY_PATH, QUERY, FORM),
    ],
)
def test_a_source_may_have_its_data_in_the_query_string(web, path, body, content_type):
    assert queued(web, post(web, body, content_type, path=path)) == EXPECTED


def test_a_template_reads_the_query_string(web):
    for campaign in ("777", "778"):
        answer = post(web, PLAIN, path=f"/hooks/forms/{KEY}?campana={campaign}")
        assert queued(web, answer)[2] == campaign


def test_a_query_string_that_cannot_be_read_is_absent(web):
    assert queued(web, post(web, PLAIN, path=f"/hooks/forms/{KEY}?campana=%FF")) == EXPECTED


def test_the_query_string_is_still_known_when_a_parked_event_is_mapped_again(web):
    answer = post(web, PLAIN.replace("3001112233", "x"), path=f"/hooks/forms/{KEY}?campana=777&token=s3cr3t")
    (event,) = parked_events(web.services)
    kept = web.services.parked.event(event["id"])
    assert kept.delivery.headers[":query"] == "campana=777"
    stored = web.services.delivery_log.delivery(answer.json["delivery"])
    assert stored.headers[":query"] == "campana=777"
