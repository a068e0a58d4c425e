"""Guards of authentication, authorization and rate limits, for senders, API clients and dashboard users."""

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
        "the response time reveals how many characters of a guessed secret are right",
        _SIGNATURE.call("place_of", "hmac.compare_digest", to="{0} == {1}"),
        "test_verification.py::test_matching_compares_in_constant_time",
    ),
    mutant(
        "a candidate is compared with every configured secret",
        "the response time reveals which secret matched",
        _SIGNATURE.result(
            "place_of",
            to="next((place for place, value in enumerate(allowed) if hmac.compare_digest(value, candidate)), None)",
        ),
        "test_verification.py::test_matching_compares_with_every_allowed_value",
    ),
    mutant(
        "signature timestamps must be recent",
        "a captured delivery can be replayed without a time limit",
        _SIGNATURE.condition("require_near", "tolerance"),
        "test_verification.py::test_freshness_is_five_minutes_either_way",
    ),
    mutant(
        "signature timestamps must not be far in the future",
        "a captured delivery with a future timestamp can be replayed until that time",
        _SIGNATURE.condition("require_near", "tolerance", to="off > tolerance"),
        "test_verification.py::test_freshness_is_five_minutes_either_way",
    ),
    mutant(
        "`url_key` must equal the last segment of the path",
        "any key in the path is accepted",
        _SIGNATURE.condition("require_url_key", "matches_any"),
        "test_providers.py::test_another_url_key_is_refused",
    ),
    mutant(
        "a path without its `url_key` is rejected",
        "requests to the address without the key are accepted",
        _SIGNATURE.statement("require_url_key", "url_key", "is", to="if delivery.url_key is None: return"),
        "test_providers.py::test_another_url_key_is_refused",
    ),
    mutant(
        "HubSpot signatures v1 and v2 must be enabled in `signatures`",
        "a v1 or v2 signature, which has no timestamp, is accepted where only v3 is configured",
        _SOURCES_HUBSPOT.value("_verify_older", "named", to="list(_OLDER)"),
        "test_providers_hubspot.py::test_an_older_hubspot_signature_is_refused_unless_it_is_named",
    ),
    mutant(
        "only the configured version of HubSpot's older signatures is accepted",
        "a v1 signature is accepted where only v2 is configured",
        _SOURCES_HUBSPOT.condition("_verify_older", "not in", to="version not in _OLDER"),
        "test_providers_hubspot.py::test_an_older_hubspot_signature_is_refused_unless_it_is_named",
    ),
    mutant(
        "verification of HubSpot signatures",
        "any signature is accepted",
        _SOURCES_HUBSPOT.value("_require_match", "place", to="0"),
        "test_verification.py::test_a_vector_with_another_body_or_secret_is_refused",
    ),
    mutant(
        "verification of HMAC signatures",
        "any digest is accepted",
        _SOURCES_SIGNATURES.value("verify_hmac", "place", to="0"),
        "test_verification.py::test_a_vector_with_another_body_or_secret_is_refused",
    ),
    mutant(
        "a Standard Webhooks secret with an empty key never matches",
        "with a secret that consists of the prefix alone, anybody can sign deliveries",
        _SOURCES_SCHEMES.condition("_verify_standard", "key", to="True"),
        "test_verification.py::test_a_standard_secret_with_an_empty_key_matches_nothing",
    ),
    mutant(
        "Salesforce messages must have the configured `organization_id`",
        "messages of another Salesforce organization are accepted",
        _SOURCES_SALESFORCE.condition("verify", "matches_any"),
        "test_providers_salesforce.py::test_another_organisation_is_refused",
    ),
    mutant(
        "a message id is used only if the signature covers it",
        "an attacker can change the `webhook-id` of a captured delivery, so that it counts as new",
        _SOURCES_SIGNATURES.result("signed_id_header", to='"webhook-id"'),
        "test_sender_signatures.py::test_an_unsigned_header_is_no_message_id",
    ),
    mutant(
        "a Standard Webhooks message id must not contain a dot",
        "the boundary between the id and the timestamp in the signed text is ambiguous",
        _SOURCES_SCHEMES.condition("_verify_standard", "message_id"),
        "test_sender_signatures.py::test_standard_webhooks_rejects_an_id_with_a_dot",
    ),
    mutant(
        "ambiguous signed content is rejected",
        "characters can be moved between id, timestamp, URL and body without changing the signature",
        _SIGNED_CONTENT.body("_require_unambiguous", "return"),
        "test_sender_signatures.py::test_a_dot_cannot_move_from_the_id_to_the_time",
    ),
    mutant(
        "verification of Ed25519 signatures",
        "any signature is accepted",
        _SOURCES_SIGNATURES.statement("is_ed25519", "read_public_key"),
        "test_sender_signatures.py::test_an_ed25519_signature_is_verified",
    ),
    mutant(
        "a token in a body is masked before the body is stored",
        "the token is stored with the delivery and in parked events",
        _SOURCES_SCHEMES.condition("without_tokens", "verify", to="True"),
        "test_sender_signatures.py::test_a_token_in_the_body_is_verified_and_not_stored",
    ),
    mutant(
        "a handshake must have the configured `verify_token`",
        "anybody can get the address verified",
        _HANDSHAKES.condition("_hub_challenge", "matches_any"),
        "test_handshakes.py::test_metas_challenge_needs_the_verify_token_and_the_exact_shape",
    ),
    mutant(
        "a handshake must have the `url_key`",
        "an address without its key is verified",
        _HANDSHAKES.statement("handshake_reply", "require_url_key"),
        "test_handshakes.py::test_a_challenge_to_an_address_without_the_right_key_is_rejected",
    ),
    mutant(
        "an unsigned query string is not part of the deduplication key",
        "a captured delivery can be replayed with another query string",
        _DELIVERIES.result("_query_of", to='delivery.headers.get(QUERY, "")'),
        "test_handshakes.py::test_a_delivery_that_was_captured_gives_one_recall_under_any_unsigned_header",
    ),
    mutant(
        "signed timestamps in a separate header must be recent",
        "a captured delivery can be replayed without a time limit",
        _SOURCES_SIGNATURES.statement("_content", "require_near", "-if"),
        "test_sender_signatures.py::test_a_time_outside_the_tolerance_is_rejected_in_both_directions",
    ),
    mutant(
        "a source with another `verify` does not inherit the preset's verification keys",
        "keys for the preset's verification are applied to another kind of verification",
        _PRESETS.value("with_preset", "own", to="True"),
        "test_presets.py::test_another_verify_drops_what_the_preset_says_about_its_own",
    ),
    mutant(
        "length and character limits for echoed challenge values",
        "arbitrary text is echoed to any client",
        _HANDSHAKES.condition("_challenge", "_CHALLENGE"),
        "test_handshakes.py::test_a_request_that_is_not_exactly_a_challenge_is_a_delivery",
    ),
    mutant(
        "verification of API keys",
        "any API key is accepted",
        _API_KEYS.condition("caller_of", "secret_bytes", to="True"),
        "test_api_keys.py::test_without_a_known_key_nothing_is_answered_but_how_to_prove_oneself",
    ),
    mutant(
        "an API key can access only its own accounts",
        "an API key can access all accounts",
        _API_KEYS.result("may_see", to="True"),
        "test_api_recall_requests.py::test_a_key_for_other_accounts_may_not_ask",
    ),
    mutant(
        "rate limit for each API key",
        "an API key can be used without a rate limit",
        _API_KEYS.condition("require_rate", "wait"),
        "test_api_keys.py::test_over_its_rate_a_key_waits_and_the_others_do_not",
    ),
    mutant(
        "rate limit for each source",
        "a source can send without a rate limit",
        _INTAKE.condition("_require_rate", "wait"),
        "test_receiver.py::test_over_its_rate_a_source_gets_429_with_retry_after",
    ),
    mutant(
        "lost deliveries of senders without retries are counted and logged",
        "deliveries are lost without a warning",
        _INTAKE.value("_count_result", "lost", to="False"),
        "test_lost_deliveries.py::test_over_the_rate_a_sender_that_does_not_resend_loses_deliveries",
    ),
    mutant(
        "rate limits count requests of all processes",
        "requests over the limit are allowed",
        _RATES.condition("over", to="{it} or True"),
        "test_api_keys.py::test_over_its_rate_a_key_waits_and_the_others_do_not",
    ),
    mutant(
        "a 401 response does not name the failed check",
        "the response tells an attacker why the request was rejected",
        _INTAKE.call("_reject", "_error_answer", "401", to="_error_answer(401, error.why)"),
        "test_receiver.py::test_a_forged_delivery_is_refused_and_leaves_nothing",
    ),
    mutant(
        "rate limit for sign-in attempts",
        "passwords can be guessed without a rate limit",
        _DASHBOARD_THROTTLE.condition("wait", "wait"),
        "test_signin_refused.py::test_tries_are_limited_by_name_and_by_address",
    ),
    mutant(
        "sandbox for templates",
        "a template can read attributes of Python objects",
        _TEMPLATES_ENVIRONMENT.result("getattr", to="getattr(obj, attribute, None) or {it}"),
        "test_expressions.py::test_a_dot_reads_the_events_own_field",
    ),
    mutant(
        "secret headers are hidden from templates and not stored",
        "the header `Authorization` is stored with the delivery",
        _EVENT_CONTEXT.condition("_is_visible", "_is_secret", to="True"),
        "test_mapping.py::test_a_header_that_proves_the_sender_is_not_told",
    ),
    mutant(
        "the configured secret header of a source is hidden from templates and not stored",
        "a secret in a custom header is stored with the delivery",
        _EVENT_CONTEXT.condition("_is_visible", "_secret", to="True"),
        "test_mapping.py::test_the_header_that_the_source_names_as_its_secret_is_not_told",
    ),
    mutant(
        "blank customer ids are rejected",
        "an empty customer id is sent to wolkvox",
        _MAPPING.condition("_clean", "written", "not", "-isprintable"),
        "test_mapping.py::test_an_id_is_one_line_of_text_that_is_not_blank",
    ),
)
