"""Each error of a configuration, with its key, the value found and the values allowed."""

from __future__ import annotations

import json

import pytest

from integration.config.warnings import config_warnings
from integration.domain.errors import invalid_value
from integration.services.configuration import load_config
from support.config_texts import (
    ACCOUNT,
    BEARER,
    HASH,
    HUBSPOT,
    JSON,
    OIDC,
    RECALL,
    ROUTE,
    SALESFORCE,
    SITE,
    faults_of,
    written,
)

HMAC = 'verify = "hmac"\nsecrets = "s"\nheader = "X-Sig"\nsigned = "{body}"\n'

# --- each fault --------------------------------------------------------------------------------

ONE_FAULT = [
    # text, key, words in found, words in allowed
    ("acounts = 1\n", "acounts", "an unknown key", 'Did you mean "accounts"?'),
    ("digest = 'x'\n", "digest", "an unknown key", "one of the tables"),
    ("accounts = 5\n", "accounts", "the number 5", "[accounts.NAME]"),
    ("vars = []\n", "vars", "an empty list", "[vars]"),
    ("routes = 5\n", "routes", "the number 5", "[[routes]]"),
    ("[routes]\nname = 'x'\n", "routes", "a table", "[[routes]]"),
    ("routes = [5]\n", "routes[1]", "the number 5", "[[routes]]"),
    ("[accounts]\na = 'x'\n", "accounts.a", '"x"', "[accounts.a]"),
    (ACCOUNT.replace("accounts.a", 'accounts."a b"'), 'accounts."a b"', "an invalid name", "1 to 63 letters"),
    (ACCOUNT.replace("accounts.a", "accounts." + "a" * 64), "accounts." + "a" * 64, "an invalid name", "1 to 63"),
    (ACCOUNT + 'name = "a"\n', "accounts.a.name", "an unknown key", "the table's head"),
    (ACCOUNT + 'timezon = "x"\n', "accounts.a.timezon", "an unknown key", 'Did you mean "timezone"?'),
    (ACCOUNT.replace("timezone", "timezones"), "accounts.a.timezone", "missing", "IANA"),
    (ACCOUNT.replace("America/Bogota", "America/Bogata"), "accounts.a.timezone", "Bogata", 'Did you mean "America/Bogota"?'),
    (ACCOUNT.replace("America/Bogota", "bogotá"), "accounts.a.timezone", "bogotá", 'Did you mean "America/Bogota"?'),
    (ACCOUNT.replace("America/Bogota", "America/Buenos Aires"), "accounts.a.timezone", "Buenos", 'Did you mean "America/Buenos_Aires"?'),
    (ACCOUNT.replace("America/Bogota", "America/Medellin"), "accounts.a.timezone", "Medellin", 'such as "America/Bogota"'),
    (ACCOUNT.replace("America/Bogota", "America/Cali"), "accounts.a.timezone", "Cali", 'such as "America/Bogota"'),
    (ACCOUNT.replace("America/Bogota", "GMT-5x"), "accounts.a.timezone", "", 'such as "America/Bogota"'),
    (ACCOUNT.replace("America/Bogota", "Mars/Olympus"), "accounts.a.timezone", '"Mars/Olympus"', "IANA"),
    (ACCOUNT.replace("America/Bogota", "../etc/passwd"), "accounts.a.timezone", "", "IANA"),
    (ACCOUNT.replace('"America/Bogota"', "5"), "accounts.a.timezone", "the number 5", "IANA"),
    (ACCOUNT.replace('"0003"', "3"), "accounts.a.server", "the number 3", "in quotes"),
    (ACCOUNT.replace('"0003"', '"wv0003"'), "accounts.a.server", "6 characters", 'without "wv"'),
    (ACCOUNT.replace('"0003"', '"0003.wolkvox.com"'), "accounts.a.server", "16 characters", '"0003"'),
    (ACCOUNT.replace('server = "0003"\n', ""), "accounts.a.server", "missing, and so is base_url", "exactly one"),
    (ACCOUNT + 'base_url = "https://x.com"\n', "accounts.a.server", "set in addition to base_url", "exactly one"),
    (ACCOUNT.replace("token-a", "token a"), "accounts.a.token", "spaces", "visible ASCII"),
    (ACCOUNT.replace("token-a", "tokén"), "accounts.a.token", "other characters", "visible ASCII"),
    (ACCOUNT.replace("token-a", "token\\n"), "accounts.a.token", "line breaks", "visible ASCII"),
    (ACCOUNT.replace('"token-a"', "12345"), "accounts.a.token", "a number", "visible ASCII"),
    (ACCOUNT + 'country = "co"\n', "accounts.a.country", '"co"', "two capital letters"),
    (ACCOUNT + 'country = "XX"\n', "accounts.a.country", '"XX"', '"CO"'),
    (ACCOUNT + 'countries = ["CO", "XX"]\n', "accounts.a.countries[2]", '"XX"', '"CO"'),
    (ACCOUNT + 'countries = ["co"]\n', "accounts.a.countries[1]", '"co"', "two capital letters"),
    (ACCOUNT + "countries = []\n", "accounts.a.countries", "an empty list", "two capital letters"),
    (ACCOUNT + 'phone_check = "none"\n', "accounts.a.phone_check", '"none"', '"possible"'),
    (ACCOUNT + 'toll_free = "perhaps"\n', "accounts.a.toll_free", '"perhaps"', "true or false"),
    (ACCOUNT + 'dial_format = "9"\n', "accounts.a.dial_format", "no placeholder", "{national}"),
    (ACCOUNT + 'dial_format = "{phone}"\n', "accounts.a.dial_format", "{phone}", "{e164}"),
    (ACCOUNT + 'type_campaign = "preview"\n', "accounts.a.type_campaign", '"preview"', "no callbacks for preview"),
    (ACCOUNT + "timeout_seconds = 0\n", "accounts.a.timeout_seconds", "the number 0", "more than 0"),
    (ACCOUNT + "timeout_seconds = nan\n", "accounts.a.timeout_seconds", "a number", "at most 600"),
    (ACCOUNT + "timeout_seconds = true\n", "accounts.a.timeout_seconds", "true", "a number"),
    (ACCOUNT + 'timeout_seconds = "soon"\n', "accounts.a.timeout_seconds", '"soon"', "a number"),
    (ACCOUNT + "server_limit_seconds = -1\n", "accounts.a.server_limit_seconds", "-1", "from 0 to 3600"),
    (ACCOUNT + "daily_limit = 0\n", "accounts.a.daily_limit", "the number 0", "1 or more"),
    (ACCOUNT + "daily_limit = 1.5\n", "accounts.a.daily_limit", "1.5", "whole number"),
    (ACCOUNT + "daily_limit = true\n", "accounts.a.daily_limit", "true", "whole number"),
    (ACCOUNT + "min_lead_minutes = -1\n", "accounts.a.min_lead_minutes", "-1", "0 to 10080"),
    (ACCOUNT + "quota_resets_at = 30\n", "accounts.a.quota_resets_at", "the number 30", '"00:00"'),
    (ACCOUNT + 'quota_resets_at = "25:00"\n', "accounts.a.quota_resets_at", '"25:00"', '"00:00"'),
    (ACCOUNT + 'quota_resets_at = "0630"\n', "accounts.a.quota_resets_at", "4 characters", '"00:00"'),
    (ACCOUNT + 'late = "never"\n', "accounts.a.late", '"never"', '"drop"'),
    (ACCOUNT + 'mode = "dry"\n', "accounts.a.mode", '"dry"', '"dry-run"'),
    (ACCOUNT + 'calling_hours = "co-ley"\n', "accounts.a.calling_hours", '"co-ley"', 'Did you mean "co-ley-2300"?'),
    (ACCOUNT + 'calling_hours = {monday = "9-5"}\n', "accounts.a.calling_hours.monday", '"9-5"', "HH:MM-HH:MM"),
    (ACCOUNT + 'calling_hours = {monday = ["08:00-09:00", 5]}\n', "accounts.a.calling_hours.monday[2]", "5", "HH:MM-HH:MM"),
    ("[store]\naccept_lost = true\n", "store.accept_lost", "an unknown key", 'Did you mean "accept_loss"?'),
    ('[store]\naccept_loss = "maybe"\n', "store.accept_loss", '"maybe"', "true or false"),
    ("[store]\nretention_days = 0\n", "store.retention_days", "the number 0", "1 or more"),
    ("[store]\nraw_retention_days = -1\n", "store.raw_retention_days", "-1", "0 or more"),
    ("[store.retention]\ndead = 0\n", "store.retention.dead", "0", "1 or more (default: retention_days)"),
    ("[store.retention]\nded = 9\n", "store.retention.ded", "an unknown key", 'Did you mean "dead"?'),
    ("[api_keys]\nk = 5\n", "api_keys.k", "a number", "the key as a text, or a table"),
    ('[api_keys]\nk = "a b"\n', "api_keys.k", "spaces", "visible ASCII"),
    ('[api_keys]\nk = {accounts = ["a"]}\n' + ACCOUNT, "api_keys.k.key", "missing", "visible ASCII"),
    ('[api_keys]\nk = {key = "x", acounts = []}\n', "api_keys.k.acounts", "an unknown key", 'Did you mean "accounts"?'),
    ('[api_keys]\nk = {key = "x", accounts = []}\n', "api_keys.k.accounts", "an empty list", "default: all accounts"),
    ('[api_keys]\nk = {key = "x", rate_per_minute = 0}\n', "api_keys.k.rate_per_minute", "0", "1 or more"),
    ('[api_keys]\nk = {key = "x", accounts = ["a", "b"]}\n' + ACCOUNT, "api_keys.k.accounts[2]", '"b"', "one of the accounts"),
    ('[api_keys]\nk = {key = "x", accounts = "bogata"}\n', "api_keys.k.accounts", '"bogata"', "one of the accounts (none is configured)"),
    ("[sources.s]\n", "sources.s.kind", "missing", '"hubspot", "json", "salesforce"'),
    ('[sources.s]\nkind = "hubspto"\n', "sources.s.kind", '"hubspto"', 'Did you mean "hubspot"?'),
    ('[sources.s]\nkind = "typeform"\n', "sources.s.kind", '"typeform"', '"json", and add preset = "typeform"'),
    ('[sources.s]\nkind = "contact_form_7"\n', "sources.s.kind", '"contact_form_7"', '"json", and add preset = "contact-form-7"'),
    ('[sources.s]\nkind = "json"\npreset = "typefrom"\n', "sources.s.preset", '"typefrom"', 'Did you mean "typeform"?'),
    ("[sources.s]\nkind = ['json']\n", "sources.s.kind", "a list", "one of the kinds"),
    (HUBSPOT.replace("sources.s", "sources.'s/t'"), 'sources."s/t"', "an invalid name", "1 to 63"),
    ('[sources.s]\nkind = "hubspot"\n', "sources.s.secrets", "missing", "client secret"),
    ('[sources.s]\nkind = "hubspot"\nsecrets = []\n', "sources.s.secrets", "an empty list", "client secret"),
    ('[sources.s]\nkind = "hubspot"\nsecrets = ["a", 5]\n', "sources.s.secrets[2]", "a number", "client secret"),
    (HUBSPOT + 'signatures = ["v3", "v4"]\n', "sources.s.signatures[2]", '"v4"', '"v3"'),
    (HUBSPOT + "signatures = []\n", "sources.s.signatures", "an empty list", '"v3"'),
    (HUBSPOT + 'public_url = "http://hooks.example.com"\n', "sources.s.public_url", '"http://hooks', "https://"),
    (HUBSPOT + 'public_url = "https://a.co/h#x"\n', "sources.s.public_url", '"https://a.co', "without user"),
    (HUBSPOT + 'public_url = "/hooks/s"\n', "sources.s.public_url", '"/hooks/s"', "https://"),
    (HUBSPOT + 'lookup = {properties = ["a"]}\n', "sources.s.lookup.token", "missing", "visible ASCII"),
    (HUBSPOT + 'lookup = {token = "t", properties = []}\n', "sources.s.lookup.properties", "an empty list", "not empty"),
    (HUBSPOT + 'lookup = {token = "t", properties = ["a"], base_ulr = ""}\n', "sources.s.lookup.base_ulr", "an unknown", "base_url"),
    (HUBSPOT + "lookup = 5\n", "sources.s.lookup", "the number 5", "a table"),
    (HUBSPOT + "dedup_hours = 0\n", "sources.s.dedup_hours", "the number 0", "more than 0"),
    (HUBSPOT + "rate_per_minute = 0\n", "sources.s.rate_per_minute", "the number 0", "1 or more"),
    (HUBSPOT + 'url_key = "short"\n', "sources.s.url_key", "5 characters", "16 characters"),
    (HUBSPOT + 'url_key = "0123456789abcde/"\n', "sources.s.url_key", "16 characters", "A-Z a-z 0-9"),
    (HUBSPOT + 'event_time = "{{ event."\n', "sources.s.event_time", "", ""),
    (SALESFORCE.replace("url_key", "url_kye"), "sources.s.url_key", "missing", "16 characters"),
    (SALESFORCE.replace("EAA", "E"), "sources.s.organization_id", "16 characters", "15 or 18"),
    (JSON, "sources.s.verify", "missing", '"standard-webhooks"'),
    (JSON + 'verify = "hmac-sha"\n', "sources.s.verify", '"hmac-sha"', '"hmac-sha256"'),
    (JSON + HMAC.replace("{body}", "{bdy}"), "sources.s.signed", "", "{body} once"),
    (JSON + HMAC + 'timestamp = "t"\n', "sources.s.signed", "", "{timestamp}"),
    (JSON + HMAC + 'message_id = "X-Id"\n', "sources.s.signed", "", "{id}"),
    (JSON + HMAC.replace("{body}", "{timestamp}{body}"), "sources.s.timestamp", "missing", '"t"'),
    (JSON + HMAC.replace("{body}", "{id}.{body}"), "sources.s.message_id", "missing", "the name of a header"),
    (JSON + HMAC.replace("{body}", "{url}{body}"), "sources.s.public_url", "missing", "the signature covers it"),
    (JSON + HMAC + 'algorithm = "md5"\n', "sources.s.algorithm", '"md5"', '"sha512"'),
    (JSON + HMAC + "tolerance_seconds = 0\n", "sources.s.tolerance_seconds", "the number 0", "from 1 to 86400"),
    (JSON + HMAC + 'timestamp = "X_Time"\n', "sources.s.timestamp", "", 'without "_"'),
    (JSON + 'verify = "ed25519"\nheader = "X"\n', "sources.s.public_keys", "missing", "public key"),
    (JSON + 'verify = "ed25519"\nheader = "X"\npublic_keys = ["AAAA"]\n', "sources.s.public_keys[1]", '"AAAA"', "Ed25519"),
    (JSON + 'verify = "body-token"\nsecrets = "a-token-0123456789"\n', "sources.s.token", "missing", "a template"),
    (JSON + 'verify = "body-token"\nsecrets = "short"\ntoken = "{{ body.t }}"\n', "sources.s.secrets", "5 characters", "16"),
    (JSON + 'verify = "body-token"\nsecrets = "a-token-0123456789"\ntoken = "{{ event.t }}"\n', "sources.s.token", "", ""),
    (JSON + 'verify = "jwt"\n', "sources.s.secrets", "missing", "needs one"),
    (JSON + 'verify = "jwt"\nsecrets = "too-short"\n', "sources.s.secrets", "9 characters", "16 characters"),
    (JSON + 'verify = "query-key"\nsecrets = "a-code-0123456789"\n', "sources.s.param", "missing", '"code"'),
    (JSON + 'verify = "query-key"\nparam = "c"\nsecrets = "a code of 20 letters"\n', "sources.s.secrets", "20 char", "A-Z"),
    (JSON + HMAC + 'handshake = "hub-challenge"\n', "sources.s.verify_token", "missing", "hub-challenge"),
    (JSON + HMAC + 'handshake = "hub"\n', "sources.s.handshake", '"hub"', '"hub-challenge"'),
    (JSON + HMAC + "answer_status = 204\n", "sources.s.answer_status", "the number 204", "200 or 202"),
    (JSON + HMAC + "retry_status = 500\n", "sources.s.retry_status", "the number 500", "429 or 503"),
    (JSON + 'verify = "bearer"\n', "sources.s.secrets", "missing", "needs one"),
    (JSON + 'verify = "basic"\nsecrets = []\n', "sources.s.secrets", "an empty list", "needs one"),
    (JSON + 'verify = "standard-webhooks"\n', "sources.s.secrets", "missing", "needs one"),
    (JSON + 'verify = "hmac-sha256"\nheader = "X"\n', "sources.s.secrets", "missing", "needs one"),
    (JSON + 'verify = "header"\nheader = "X"\n', "sources.s.secrets", "missing", "needs one"),
    (JSON + 'verify = "hmac-sha256"\nsecrets = ["x"]\n', "sources.s.header", "missing", "needs one"),
    (JSON + 'verify = "header"\nsecrets = ["x"]\n', "sources.s.header", "missing", "needs one"),
    (JSON + 'verify = "url-key"\n', "sources.s.url_key", "missing", "needs one"),
    (JSON + 'verify = "basic"\nsecrets = ["nocolon"]\n', "sources.s.secrets[1]", "7 characters", "USER:PASSWORD"),
    (JSON + 'verify = "bearer"\nsecrets = ["a b"]\n', "sources.s.secrets[1]", "3 characters", "visible ASCII"),
    (JSON + 'verify = "header"\nheader = "X"\nsecrets = ["a "]\n', "sources.s.secrets[1]", "2 char", "visible ASCII"),
    (JSON + 'verify = "standard-webhooks"\nsecrets = ["whsec_?"]\n', "sources.s.secrets[1]", "7 characters", "base64"),
    (JSON + 'verify = "standard-webhooks"\nsecrets = "whsec_abcd?efgh"\n', "sources.s.secrets", "15 characters", "base64"),
    (JSON + 'verify = "standard-webhooks"\nsecrets = "whsec_"\n', "sources.s.secrets", "6 characters", "base64"),
    (JSON + 'verify = "standard-webhooks"\nsecrets = "whsk_YWJj"\n', "sources.s.secrets", "9 characters", "whsk_"),
    (BEARER + 'header = "a b"\n', "sources.s.header", '"a b"', '"X-Signature"'),
    (BEARER + 'encoding = "base32"\n', "sources.s.encoding", '"base32"', '"base64"'),
    (BEARER + 'prefix = "a\\nb"\n', "sources.s.prefix", "3 characters", "sha256="),
    (BEARER + 'events = ""\n', "sources.s.events", "an empty text", "body.items"),
    (BEARER + 'events = "body."\n', "sources.s.events", "", ""),
    (BEARER + 'dedup_key = "{{ nothing }}"\n', "sources.s.dedup_key", "the unknown name 'nothing'", ""),
    (ACCOUNT + ROUTE.replace('"s"', '"x"') + RECALL + BEARER, 'routes[1] ("r").source', '"x"', "one of the sources"),
    (ACCOUNT + ROUTE.replace('"a"', '"aa"') + RECALL + BEARER, 'routes[1] ("r").account', '"aa"', 'Did you mean "a"?'),
    (ACCOUNT + BEARER + ROUTE.replace('"a"', '"{{ event.account }}"') + RECALL, 'routes[1] ("r").accounts', "missing", "a list of the accounts"),
    (ACCOUNT + BEARER + ROUTE.replace('"a"', '"{{ event.account }}"\naccounts = []') + RECALL, 'routes[1] ("r").accounts', "an empty list", "not empty"),
    (ACCOUNT + BEARER + ROUTE.replace('"a"', '"{{ event.account }}"\naccounts = ["a", "aa"]') + RECALL, 'routes[1] ("r").accounts[2]', '"aa"', 'Did you mean "a"?'),
    (ACCOUNT + BEARER + ROUTE.replace('"a"', '"{{ event.account"\naccounts = ["a"]') + RECALL, 'routes[1] ("r").account', "syntax", "Jinja"),
    (ACCOUNT + BEARER + ROUTE.replace('"a"', '"{{ evnt.account }}"\naccounts = ["a"]') + RECALL, 'routes[1] ("r").account', "evnt", "event"),
    (ACCOUNT + BEARER + ROUTE.replace('"a"', '"a"\naccounts = ["a"]') + RECALL, 'routes[1] ("r").accounts', "a list", "the name of one account"),
    (ACCOUNT + BEARER + ROUTE + RECALL.replace("recall_date", "#"), 'routes[1] ("r").recall_date', "missing", "needs one"),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'action = "cancel"\n', 'routes[1] ("r").recall_telephone', "", "cancel"),
    (ACCOUNT + BEARER + ROUTE + 'action = "cancle"\n', 'routes[1] ("r").action', '"cancle"', '"cancel"'),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'action = "call"\n', 'routes[1] ("r").action', '"call"', '"cancel"'),
    (ACCOUNT + BEARER + ROUTE.replace('name = "r"\n', "") + RECALL, "routes[1].name", "missing", "characters"),
    (ACCOUNT + BEARER + ROUTE.replace('"1"', '""') + RECALL, 'routes[1] ("r").campaign_id', "an empty text", "template"),
    (ACCOUNT + BEARER + ROUTE.replace('"1"', "true") + RECALL, 'routes[1] ("r").campaign_id', "true", "template"),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'when = "event.x =="\n', 'routes[1] ("r").when', "", ""),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'when = "evnt.x"\n', 'routes[1] ("r").when', "evnt", "event"),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'whe = "x"\n', 'routes[1] ("r").whe', "an unknown key", 'Did you mean "when"?'),
    ("[users.ana]\nrole = 'operator'\n", "users.ana.password", "missing", "argon2id"),
    ("[users.ana]\npassword = 'hunter2hunter2'\n", "users.ana.password", "not an argon2id hash", "ringback user"),
    ("[users.ana]\npassword = '" + HASH + "'\nrole = 'boss'\n", "users.ana.role", '"boss"', '"operator"'),
    ("[users.'a b']\npassword = '" + HASH + "'\n", 'users."a b"', "an invalid name", "letters, digits"),
    ("[dashboard]\nsession_hours = 0\n", "dashboard.session_hours", "0", "more than 0"),
    ("[dashboard]\npublic_url = 'http://example.com'\n", "dashboard.public_url", '"http://example.com"', "https://HOST"),
    ("[dashboard]\npublic_url = 'https://example.com/x'\n", "dashboard.public_url", "/x", "https://HOST"),
    ("[dashboard]\nhours = 1\n", "dashboard.hours", "an unknown key", "session_hours"),
    (SITE + OIDC.replace("https://id", "http://id"), "oidc.issuer", '"http://id.example.com"', "https://HOST"),
    (OIDC, "dashboard.public_url", "missing", "[oidc] redirects users to it"),
    (SITE + OIDC.replace("admin", "boss"), "oidc.roles", "a table", '"operator"'),
    (SITE + OIDC + "name = ''\n", "oidc.name", "an empty text", "1 to 60"),
    ('[api_keys]\na = "same"\nb = "same"\n', "api_keys.b", "the same text as api_keys.a", "another text"),
    ('[api_keys]\nb = {key = "token-a"}\n' + ACCOUNT, "api_keys.b.key", "the same text as accounts.a.token", "another text"),
    (ACCOUNT.replace("token-a", "bearer-secret-of-s") + BEARER, "sources.s.secrets[1]", "as accounts.a.token", "another text"),
    (BEARER + '[api_keys]\nb = "bearer-secret-of-s"\n', "api_keys.b", "the same text as sources.s.secrets[1]", "another text"),
    (SALESFORCE + SALESFORCE.replace("sources.s", "sources.t"), "sources.t.url_key", "as sources.s.url_key", "another text"),
    (SALESFORCE + '[api_keys]\nb = "0123456789abcdef"\n', "api_keys.b", "the same text as sources.s.url_key", "another text"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key", "found", "allowed"), ONE_FAULT, ids=[f"{n}-{case[1]}" for n, case in enumerate(ONE_FAULT)]
)
def test_a_fault_names_its_key_what_was_found_and_what_to_use(tmp_path, text, key, found, allowed):
    faults = faults_of(written(tmp_path, text))
    assert found in faults[key][0]
    assert allowed in faults[key][1]
    assert all(part.strip() for part in faults[key])


@pytest.mark.parametrize(("text", "key"), [(text, key) for text, key, _, _ in ONE_FAULT])
def test_one_mistake_makes_one_fault(tmp_path, text, key):
    also = {
        "accounts.a.timezone": {"accounts.a.timezones"},
        "sources.s.url_key": {"sources.s.url_kye"},
        'routes[1] ("r").recall_telephone': {'routes[1] ("r").recall_date'},
    }
    routes_alone = {"routes[1]"} if text.startswith("routes = [") else set()
    assert faults_of(written(tmp_path, text)).keys() - also.get(key, set()) - routes_alone - {key} == set()


@pytest.mark.parametrize(
    "url",
    [
        "http://wv0003.wolkvox.com",
        "http://192.168.1.5",
        "http://134744072",
        "http://0x08080808",
        "http://localhost.example.com",
        "ftp://localhost",
        "https://",
        "https://x.com?y=1",
        "https://x.com?",
        "https://x.com#y",
        "https://x.com#",
        "https://user:word@x.com",
        "https://x.com:99999",
        "https://x.com:0",
        "http://[::1",
        "https://x.com/a b",
        "https://x.com\n",
        "wv0003.wolkvox.com",
    ],
)
def test_the_token_does_not_travel_in_clear_nor_to_an_odd_address(tmp_path, url):
    text = ACCOUNT.replace('server = "0003"', f"base_url = {json.dumps(url)}")
    assert "https://HOST" in faults_of(written(tmp_path, text))["accounts.a.base_url"][1]
    lookup = HUBSPOT + f'lookup = {{token = "t", properties = ["x"], base_url = {json.dumps(url)}}}\n'
    assert "https://HOST" in faults_of(written(tmp_path, lookup))["sources.s.lookup.base_url"][1]


@pytest.mark.parametrize(
    ("key", "value", "other"),
    [
        ("timeout_seconds", "30", "20"),
        ("server_limit_seconds", "90", "60"),
        ("daily_limit", "10", None),
        ("daily_limit", None, "10"),
        ("quota_resets_at", '"01:00"', '"00:00"'),
        ("server", '"0016"', None),
        ("base_url", '"http://127.0.0.1:1"', None),
    ],
)
def test_accounts_with_one_token_must_agree(tmp_path, key, value, other):
    second = ACCOUNT.replace("accounts.a", "accounts.b")
    if key in {"server", "base_url"}:
        second = second.replace('server = "0003"\n', "")
    text = (
        ACCOUNT + (f"{key} = {other}\n" if other else "") + second + (f"{key} = {value}\n" if value else "")
    )
    faults = faults_of(written(tmp_path, text))
    assert faults.keys() == {f"accounts.b.{key}"}
    assert "the value of accounts.a, which has the same token" in faults[f"accounts.b.{key}"][1]
    assert load_config(written(tmp_path, text.replace("token-a", "token-b", 1)), {})


def test_accounts_with_one_token_agree_on_an_address_however_it_is_written(tmp_path):
    second = ACCOUNT.replace("accounts.a", "accounts.b").replace(
        'server = "0003"', 'base_url = "https://wv0003.wolkvox.com/"'
    )
    assert load_config(written(tmp_path, ACCOUNT + second), {})


def test_sources_may_share_the_secret_of_their_app(tmp_path):
    assert load_config(written(tmp_path, HUBSPOT + HUBSPOT.replace("sources.s", "sources.t")), {})


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        '[[routes]]\nname = "first"\nsource = "s"\naccount = "a"\ncampaign_id = "{{ evnt.x }}"\nwhen = "x =="\n'
        "[accounts.a]\nserver = 3\ndaily_limit = 0\n"
        '[api_keys]\nk = "env:UNSET"\n[sources.s]\nkind = "json"\nverify = "hmac-sha256"\nevents = "body."\nheder = "x"\n'
    )
    assert list(faults_of(written(tmp_path, text))) == [
        'routes[1] ("first").campaign_id',
        'routes[1] ("first").when',
        'routes[1] ("first").customer_id',
        'routes[1] ("first").recall_telephone',
        'routes[1] ("first").recall_date',
        "accounts.a.server",
        "accounts.a.daily_limit",
        "accounts.a.token",
        "accounts.a.timezone",
        "api_keys.k",
        "sources.s.events",
        "sources.s.heder",
        "sources.s.secrets",
        "sources.s.header",
    ]


def test_a_fault_makes_no_other_table_look_faulty(tmp_path):
    unset = ACCOUNT.replace("token-a", "env:UNSET")
    other = unset.replace("accounts.a", "accounts.b") + "daily_limit = 5\n"
    keys = (
        HUBSPOT
        + 'lookup = {tokn = "t", properties = ["phone"]}\n'
        + '[api_keys]\nx = "env:UNSET"\ny = "env:UNSET"\n'
    )
    route = ROUTE + RECALL.replace("event.phone", "contact.properties.phone")
    assert faults_of(written(tmp_path, unset + other + keys + route)).keys() == {
        "accounts.a.token",
        "accounts.b.token",
        "sources.s.lookup.tokn",
        "sources.s.lookup.token",
        "api_keys.x",
        "api_keys.y",
    }


def test_a_faulty_address_makes_no_other_account_of_its_token_look_faulty(tmp_path):
    near = ACCOUNT.replace('server = "0003"', 'base_url = "ftp://x"')
    assert faults_of(written(tmp_path, near + ACCOUNT.replace("accounts.a", "accounts.b"))).keys() == {
        "accounts.a.base_url"
    }


def test_a_route_is_counted_from_one_and_named(tmp_path):
    broken = ROUTE.replace('name = "r"', 'name = "second"') + RECALL + 'when = "x =="\n'
    faults = faults_of(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL + broken))
    assert faults.keys() == {'routes[2] ("second").when'}


# --- alerts ------------------------------------------------------------------------------------

CHAT = '[alerts.channels.chat]\nkind = "slack"\nurl = "https://hooks.slack.example.com/x"\n'
ALERT_FAULTS = [
    ("[alerts]\nlanguage = 'fr'\n", "alerts.language", '"en", "es" or "pt_BR"'),
    ('[alerts.channels.chat]\nkind = "pigeon"\n', "alerts.channels.chat.kind", "slack"),
    (
        '[alerts.channels.chat]\nkind = "slack"\nurl = "http://a.example.com"\n',
        "alerts.channels.chat.url",
        "https",
    ),
    ("[alerts]\nchannels = 1\n", "alerts.channels", "[alerts.channels.NAME]"),
    ("[alerts]\nrules = 1\n", "alerts.rules", "[[alerts.rules]]"),
    ('[[alerts.rules]]\nkind = "queue-stoped"\n', "alerts.rules[1].kind", 'Did you mean "queue-stopped"?'),
    ('[[alerts.rules]]\nkind = "queue-stopped"\nminutes = 1\n', "alerts.rules[1].minutes", "one of the keys"),
    ('[[alerts.rules]]\nkind = "quota-used"\npercent = 101\n', "alerts.rules[1].percent", "at most 100"),
    ('[[alerts.rules]]\nkind = "queue-stopped"\naccounts = ["b"]\n', "alerts.rules[1].accounts[1]", '"a"'),
    ('[[alerts.rules]]\nkind = "source-silent"\nsources = "b"\n', "alerts.rules[1].sources", '"s"'),
    (
        CHAT + '[[alerts.rules]]\nkind = "no-worker"\nchannels = ["x"]\n',
        "alerts.rules[1].channels[1]",
        '"chat"',
    ),
    (
        '[[alerts.rules]]\nkind = "source-silent"\nhours_of = "a"\n',
        "alerts.rules[1].hours_of",
        "calling_hours",
    ),
]
MAIL = '[alerts.channels.m]\nkind = "email"\nhost = "smtp.example.com"\nsender = "a@b.co"\nto = "c@d.co"\n'
ALERT_FAULTS += [
    (MAIL + 'user = "u"\n', "alerts.channels.m.user", "both"),
    (MAIL + 'user = "u"\npassword = "p"\nsecurity = "none"\n', "alerts.channels.m.security", "starttls"),
    (MAIL.replace("c@d.co", "Ana <c@d.co>"), "alerts.channels.m.to", "without a name"),
    (MAIL.replace("c@d.co", "c@d.co\\r\\nBcc: x@y.co"), "alerts.channels.m.to", "without a name"),
]


@pytest.mark.parametrize(("text", "key", "allowed"), ALERT_FAULTS)
def test_a_fault_of_the_alerts_is_named_with_what_is_allowed(tmp_path, text, key, allowed):
    faults = faults_of(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL + text))
    assert faults.keys() == {key}
    assert allowed in faults[key][1]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('[[alerts.rules]]\nkind = "no-worker"\n', "only on the dashboard"),
        (CHAT, "no alert is ever sent"),
        (CHAT + '[[alerts.rules]]\nkind = "quota-used"\n', "alerts.rules[1] watches daily_limit"),
    ],
)
def test_alerts_without_channels_or_rules_are_a_warning(tmp_path, text, warning):
    config = load_config(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL + text), {})
    assert [each for each in config_warnings(config) if warning in each]
    fine = CHAT + '[[alerts.rules]]\nkind = "no-worker"\n'
    assert config_warnings(load_config(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL + fine), {})) == ()


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ("1 or 2", "x is 3. Use 1 or 2."),
        ('"a". Did you mean "a"?', 'x is 3. Use "a". Did you mean "a"?'),
        ("Remove the key: y is set", "x is 3. Remove the key: y is set."),
    ],
)
def test_a_remedy_that_is_an_instruction_is_a_sentence_of_its_own(allowed, message):
    assert invalid_value("x", "3", allowed) == message
