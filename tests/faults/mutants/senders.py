"""Guards against strangers: who may send, who may ask, how often."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_API_KEYS = Code("integration/api/keys.py")
_DASHBOARD_THROTTLE = Code("integration/dashboard/auth/throttle.py")
_INTAKE = Code("integration/webhooks/service.py")
_EVENT_CONTEXT = Code("integration/mapping/event_context.py")
_MAPPING = Code("integration/mapping/routes.py")
_RATES = Code("integration/web/rate_limit.py")
_SIGNATURE = Code("integration/webhooks/verification.py")
_SOURCES_HUBSPOT = Code("integration/webhooks/providers/hubspot.py")
_SOURCES_JSON = Code("integration/webhooks/providers/json.py")
_SOURCES_SALESFORCE = Code("integration/webhooks/providers/salesforce.py")
_SOURCES_SIGNATURES = Code("integration/webhooks/providers/signatures.py")
_HANDSHAKES = Code("integration/webhooks/handshakes.py")
_DELIVERIES = Code("integration/store/deliveries.py")
_PRESETS = Code("integration/config/source_models/preset_files.py")
_SIGNED_CONTENT = Code("integration/config/source_models/signed_content.py")
_SOURCES_SCHEMES = Code("integration/webhooks/providers/schemes.py")
_TEMPLATES_ENVIRONMENT = Code("integration/mapping/expressions/environment.py")

GUARDS = (
    mutant(
        "secrets are compared in constant time",
        "they are compared letter by letter, and the time taken tells how many were right",
        _SIGNATURE.call("place_of", "hmac.compare_digest", to="{0} == {1}"),
        "test_verification.py::test_matching_compares_in_constant_time",
    ),
    mutant(
        "all secrets are looked at",
        "the first that fits ends the search, and the time taken tells which",
        _SIGNATURE.result(
            "place_of",
            to="next((place for place, value in enumerate(allowed) if hmac.compare_digest(value, candidate)), None)",
        ),
        "test_verification.py::test_matching_compares_with_every_allowed_value",
    ),
    mutant(
        "replay window of signatures",
        "a captured delivery may be sent for ever",
        _SIGNATURE.condition("require_near", "tolerance"),
        "test_verification.py::test_freshness_is_five_minutes_either_way",
    ),
    mutant(
        "a signature of the future is refused",
        "a captured delivery may be sent until then",
        _SIGNATURE.condition("require_near", "tolerance", to="off > tolerance"),
        "test_verification.py::test_freshness_is_five_minutes_either_way",
    ),
    mutant(
        "url_key",
        "any part of the path will do",
        _SIGNATURE.condition("require_url_key", "matches_any"),
        "test_providers.py::test_another_url_key_is_refused",
    ),
    mutant(
        "url_key is required",
        "an address without one passes",
        _SIGNATURE.statement("require_url_key", "url_key", "is", to="if delivery.url_key is None: return"),
        "test_providers.py::test_another_url_key_is_refused",
    ),
    mutant(
        "v1 and v2 only when named",
        "a signature without a replay guard passes where only v3 is configured",
        _SOURCES_HUBSPOT.value("_verify_older", "named", to="list(_OLDER)"),
        "test_providers_hubspot.py::test_an_older_hubspot_signature_is_refused_unless_it_is_named",
    ),
    mutant(
        "of v1 and v2 only the one that is named",
        "v1 passes where only v2 is configured",
        _SOURCES_HUBSPOT.condition("_verify_older", "not in", to="version not in _OLDER"),
        "test_providers_hubspot.py::test_an_older_hubspot_signature_is_refused_unless_it_is_named",
    ),
    mutant(
        "HubSpot's signature",
        "any signature passes",
        _SOURCES_HUBSPOT.value("_require_match", "place", to="0"),
        "test_verification.py::test_a_vector_with_another_body_or_secret_is_refused",
    ),
    mutant(
        "the digest of a body",
        "any digest passes",
        _SOURCES_SIGNATURES.value("verify_hmac", "place", to="0"),
        "test_verification.py::test_a_vector_with_another_body_or_secret_is_refused",
    ),
    mutant(
        "an empty key signs nothing",
        "a secret of the prefix alone is one that everybody has",
        _SOURCES_SCHEMES.condition("_verify_standard", "key", to="True"),
        "test_verification.py::test_a_standard_secret_with_an_empty_key_matches_nothing",
    ),
    mutant(
        "organization_id",
        "another organisation's messages pass",
        _SOURCES_SALESFORCE.condition("verify", "matches_any"),
        "test_providers_salesforce.py::test_another_organisation_is_refused",
    ),
    mutant(
        "only signed words name an event",
        "anybody between may name a delivery by a webhook-id that no signature covers",
        _SOURCES_SIGNATURES.result("signed_id_header", to='"webhook-id"'),
        "test_sender_signatures.py::test_an_unsigned_header_is_no_message_id",
    ),
    mutant(
        "a dot ends the message id",
        "an id with a dot moves the boundary to the timestamp",
        _SOURCES_SCHEMES.condition("_verify_standard", "message_id"),
        "test_sender_signatures.py::test_standard_webhooks_rejects_an_id_with_a_dot",
    ),
    mutant(
        "a signed text has one meaning",
        "parts may move between id, timestamp, address and body",
        _SIGNED_CONTENT.body("_require_unambiguous", "return"),
        "test_sender_signatures.py::test_a_dot_cannot_move_from_the_id_to_the_time",
    ),
    mutant(
        "an Ed25519 signature",
        "any signature passes",
        _SOURCES_SIGNATURES.statement("is_ed25519", "read_public_key"),
        "test_sender_signatures.py::test_an_ed25519_signature_is_verified",
    ),
    mutant(
        "the token of a body is stored nowhere",
        "it is in the store and in parked events",
        _SOURCES_SCHEMES.condition("without_tokens", "verify", to="True"),
        "test_sender_signatures.py::test_a_token_in_the_body_is_verified_and_not_stored",
    ),
    mutant(
        "the verify_token of a handshake",
        "a stranger may have an address verified",
        _HANDSHAKES.condition("_hub_challenge", "matches_any"),
        "test_handshakes.py::test_metas_challenge_needs_the_verify_token_and_the_exact_shape",
    ),
    mutant(
        "a handshake needs the url_key",
        "an address without its key is verified too",
        _HANDSHAKES.statement("handshake_reply", "require_url_key"),
        "test_handshakes.py::test_a_challenge_to_an_address_without_the_right_key_is_rejected",
    ),
    mutant(
        "an unsigned query names no delivery",
        "a captured delivery may be sent again under another query",
        _DELIVERIES.result("_query_of", to='delivery.headers.get(QUERY, "")'),
        "test_handshakes.py::test_a_delivery_that_was_captured_gives_one_recall_under_any_unsigned_header",
    ),
    mutant(
        "a signed time in a header of its own expires",
        "a captured delivery may be sent for ever",
        _SOURCES_SIGNATURES.statement("_content", "require_near", "-if"),
        "test_sender_signatures.py::test_a_time_outside_the_tolerance_is_rejected_in_both_directions",
    ),
    mutant(
        "another `verify` drops the proof of a preset",
        "keys of another proof count",
        _PRESETS.value("with_preset", "own", to="True"),
        "test_presets.py::test_another_verify_drops_what_the_preset_says_about_its_own",
    ),
    mutant(
        "an echoed value is limited",
        "anything is echoed to anybody",
        _HANDSHAKES.condition("_challenge", "_CHALLENGE"),
        "test_handshakes.py::test_a_request_that_is_not_exactly_a_challenge_is_a_delivery",
    ),
    mutant(
        "API key",
        "any key passes",
        _API_KEYS.condition("caller_of", "secret_bytes", to="True"),
        "test_api_keys.py::test_without_a_known_key_nothing_is_answered_but_how_to_prove_oneself",
    ),
    mutant(
        "a key sees its own accounts only",
        "it sees all",
        _API_KEYS.result("may_see", to="True"),
        "test_api_recall_requests.py::test_a_key_for_other_accounts_may_not_ask",
    ),
    mutant(
        "rate limit of a key",
        "it may ask as often as it likes",
        _API_KEYS.condition("require_rate", "wait"),
        "test_api_keys.py::test_over_its_rate_a_key_waits_and_the_others_do_not",
    ),
    mutant(
        "rate limit of a source",
        "it may send as often as it likes",
        _INTAKE.condition("_require_rate", "wait"),
        "test_receiver.py::test_over_its_rate_a_source_gets_429_with_retry_after",
    ),
    mutant(
        "losses of a sender that does not send again",
        "nobody learns that deliveries are lost",
        _INTAKE.value("_count_result", "lost", to="False"),
        "test_lost_deliveries.py::test_over_the_rate_a_sender_that_does_not_resend_loses_deliveries",
    ),
    mutant(
        "rate limits count over all processes",
        "what is over the limit passes",
        _RATES.condition("over", to="{it} or True"),
        "test_api_keys.py::test_over_its_rate_a_key_waits_and_the_others_do_not",
    ),
    mutant(
        "no answer says which check failed",
        "a 401 tells why",
        _INTAKE.call("_reject", "_error_answer", "401", to="_error_answer(401, error.why)"),
        "test_receiver.py::test_a_forged_delivery_is_refused_and_leaves_nothing",
    ),
    mutant(
        "tries to sign in are limited",
        "passwords may be guessed as fast as they are answered",
        _DASHBOARD_THROTTLE.condition("wait", "wait"),
        "test_signin_refused.py::test_tries_are_limited_by_name_and_by_address",
    ),
    mutant(
        "templates run in a sandbox",
        "a template reads attributes of Python objects",
        _TEMPLATES_ENVIRONMENT.result("getattr", to="getattr(obj, attribute, None) or {it}"),
        "test_expressions.py::test_a_dot_reads_the_events_own_field",
    ),
    mutant(
        "no secret header in templates and in the store",
        "Authorization is kept with the delivery",
        _EVENT_CONTEXT.condition("_is_visible", "_is_secret", to="True"),
        "test_mapping.py::test_a_header_that_proves_the_sender_is_not_told",
    ),
    mutant(
        "the header that a source's secret comes in is one too",
        "a secret in a header of its own name is kept with the delivery",
        _EVENT_CONTEXT.condition("_is_visible", "_secret", to="True"),
        "test_mapping.py::test_the_header_that_the_source_names_as_its_secret_is_not_told",
    ),
    mutant(
        "nothing blank is sent",
        "an empty customer id reaches wolkvox",
        _MAPPING.condition("_clean", "written", "not", "-isprintable"),
        "test_mapping.py::test_an_id_is_one_line_of_text_that_is_not_blank",
    ),
)
