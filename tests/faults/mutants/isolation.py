"""Guards of previews and searches: a process of their own, their limits, the queue of users, clients that leave."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_ASGI = Code("integration/asgi.py")
_REQUEST_THREADS = Code("integration/web/request_threads.py")
_FORK_SERVER = Code("integration/web/isolation/fork_server.py")
_FORK_SERVER_PROCESS = Code("integration/web/isolation/fork_server_process.py")
_USER_QUEUE = Code("integration/web/isolation/user_queue.py")
_PLAIN_VALUES = Code("integration/webhooks/isolated_work/plain_values.py")
_PARKED_SERVICE = Code("integration/services/parked.py")
_CLIENT = Code("integration/webhooks/isolated_work/client.py")

GUARDS = (
    mutant(
        "time limit of a preview",
        "a template runs until the processor time of its process is used up",
        _FORK_SERVER.condition("_collected", "reader", "ready"),
        "test_isolation.py::test_work_that_takes_too_long_is_killed_whatever_it_does",
    ),
    mutant(
        "memory limit of a preview",
        "a template takes the memory of the machine",
        _FORK_SERVER.statement("_limit", "RLIMIT_AS"),
        "test_isolation.py::test_work_that_needs_too_much_memory_fails",
    ),
    mutant(
        "previews write no files",
        "a template that got out of the sandbox fills the disk",
        _FORK_SERVER.statement("_limit", "RLIMIT_FSIZE"),
        "test_isolation.py::test_work_writes_no_file",
    ),
    mutant(
        "environment of the fork server",
        "the process that runs templates has the secrets of the environment",
        _FORK_SERVER_PROCESS.argument("_start", "Popen", "env", to="dict(os.environ)"),
        "test_isolation.py::test_a_fork_server_has_no_secret_in_its_environment",
    ),
    mutant(
        "a fork server that hangs",
        "every later preview waits for it",
        _FORK_SERVER_PROCESS.statement("_require_time", "_until"),
        "test_isolation.py::test_a_fork_server_that_does_not_answer_is_replaced",
    ),
    mutant(
        "a client that leaves during its preview",
        "the preview goes on for nobody",
        _FORK_SERVER_PROCESS.condition("until_readable", "left"),
        "test_isolation.py::test_when_the_client_leaves_its_work_is_killed",
    ),
    mutant(
        "a client that leaves while it waits",
        "it takes a place of the queue",
        _USER_QUEUE.statement("turn", "require_present"),
        "test_isolation.py::test_a_client_that_leaves_while_it_waits_gives_up_its_place",
    ),
    mutant(
        "few previews of a user",
        "one user occupies all places",
        _USER_QUEUE.condition("place", "MOST_OF_A_USER"),
        "test_isolation.py::test_a_user_has_one_turn_at_a_time_and_few_that_wait",
    ),
    mutant(
        "few previews of all users",
        "previews occupy all threads of the dashboard",
        _USER_QUEUE.condition("place", "most"),
        "test_isolation.py::test_all_users_together_have_few_turns_that_wait",
    ),
    mutant(
        "secrets of a preview",
        "url keys are handed to the process that runs templates",
        _PLAIN_VALUES.statement("plain_config", "url_key", to="pass"),
        "test_previews.py::test_no_secret_is_handed_to_the_fork_server",
    ),
    mutant(
        "an event that takes too long to map again",
        "it keeps the others of its step from being mapped",
        _CLIENT.caught("plan_in_time", "WorkOverranError"),
        "test_previews.py::test_map_again_keeps_an_event_that_takes_too_long_and_maps_the_others",
    ),
    mutant(
        "users take turns",
        "a user with many pieces of work keeps the others waiting",
        _USER_QUEUE.condition("_next", "_last_user", to="True"),
        "test_isolation.py::test_users_take_turns",
    ),
    mutant(
        "a piece of a search that overruns",
        "one event ends every search with an error",
        _CLIENT.caught("_fits", "WorkOverranError"),
        "test_search_limits.py::test_a_piece_that_overruns_is_killed_and_the_search_goes_past_it_and_says_so",
    ),
    mutant(
        "records that a search left out",
        "an incomplete search looks complete",
        _CLIENT.statement("_fits", "left_out"),
        "test_search_limits.py::test_a_piece_that_overruns_is_killed_and_the_search_goes_past_it_and_says_so",
    ),
    mutant(
        "few pieces of a search overrun",
        "a search takes two seconds for each slow event of the store",
        _CLIENT.condition("goes_on", "MOST_OVERRUNS", to="True"),
        "test_search_limits.py::test_a_search_ends_after_a_few_pieces_that_overrun",
    ),
    mutant(
        "time limit of a search",
        "a search reads all bodies of the store",
        _CLIENT.condition("goes_on", "until_seconds", to="True"),
        "test_search_limits.py::test_a_search_whose_time_is_over_says_what_it_did_not_examine",
    ),
    mutant(
        "events that a remap has no time for",
        "a remap is complete, although events were not looked at",
        _PARKED_SERVICE.condition("remap_step", "plans", "wanted"),
        "test_previews.py::test_a_remap_is_not_complete_while_an_event_was_not_looked_at",
    ),
    mutant(
        "a page is told that its client has left",
        "work for a client goes on after it has left",
        _ASGI.statement("_watch_client", "left", to="pass"),
        "test_asgi.py::test_a_request_is_told_that_its_client_has_left_unless_it_is_a_webhook",
    ),
    mutant(
        "a request whose client has left is not begun",
        "requests that nobody waits for occupy threads",
        _REQUEST_THREADS.condition("_work", "left", "is_set"),
        "test_asgi.py::test_a_request_whose_client_leaves_while_it_waits_is_not_begun",
    ),
)
