"""Guards of previews and searches: their own process, their limits, the queue of users, clients that disconnect."""

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
        "a template runs until its process has used up its CPU time",
        _FORK_SERVER.condition("_collected", "reader", "ready"),
        "test_isolation.py::test_work_that_takes_too_long_is_killed_whatever_it_does",
    ),
    mutant(
        "memory limit of a preview",
        "a template can use up the memory of the machine",
        _FORK_SERVER.statement("_limit", "RLIMIT_AS"),
        "test_isolation.py::test_work_that_needs_too_much_memory_fails",
    ),
    mutant(
        "a preview cannot write files",
        "a template that escapes the sandbox can fill the disk",
        _FORK_SERVER.statement("_limit", "RLIMIT_FSIZE"),
        "test_isolation.py::test_work_writes_no_file",
    ),
    mutant(
        "the fork server has an environment without secrets",
        "the process that runs templates can read the secrets of the environment",
        _FORK_SERVER_PROCESS.argument("_start", "Popen", "env", to="dict(os.environ)"),
        "test_isolation.py::test_a_fork_server_has_no_secret_in_its_environment",
    ),
    mutant(
        "a fork server that does not answer is replaced",
        "every later preview waits for it",
        _FORK_SERVER_PROCESS.statement("_require_time", "_until"),
        "test_isolation.py::test_a_fork_server_that_does_not_answer_is_replaced",
    ),
    mutant(
        "a preview is killed when its client disconnects",
        "the preview goes on although its result is not needed",
        _FORK_SERVER_PROCESS.condition("until_readable", "left"),
        "test_isolation.py::test_when_the_client_leaves_its_work_is_killed",
    ),
    mutant(
        "a waiting preview leaves the queue when its client disconnects",
        "it keeps its place in the queue",
        _USER_QUEUE.statement("turn", "require_present"),
        "test_isolation.py::test_a_client_that_leaves_while_it_waits_gives_up_its_place",
    ),
    mutant(
        "limit of previews per user",
        "one user can occupy all places of the queue",
        _USER_QUEUE.condition("place", "MOST_OF_A_USER"),
        "test_isolation.py::test_a_user_has_one_turn_at_a_time_and_few_that_wait",
    ),
    mutant(
        "limit of previews of all users",
        "previews can occupy all threads of the dashboard",
        _USER_QUEUE.condition("place", "most"),
        "test_isolation.py::test_all_users_together_have_few_turns_that_wait",
    ),
    mutant(
        "previews get no secrets",
        "`url_key` values are sent to the process that runs templates",
        _PLAIN_VALUES.statement("plain_config", "url_key", to="pass"),
        "test_previews.py::test_no_secret_is_handed_to_the_fork_server",
    ),
    mutant(
        "an event that takes too long does not stop a remap",
        "the other events of its step are not mapped",
        _CLIENT.caught("plan_in_time", "WorkOverranError"),
        "test_previews.py::test_map_again_keeps_an_event_that_takes_too_long_and_maps_the_others",
    ),
    mutant(
        "users alternate in the queue of previews",
        "a user with many tasks delays all other users",
        _USER_QUEUE.condition("_next", "_last_user", to="True"),
        "test_isolation.py::test_users_take_turns",
    ),
    mutant(
        "a killed piece of a search is skipped",
        "one slow event ends every search with an error",
        _CLIENT.caught("_fits", "WorkOverranError"),
        "test_search_limits.py::test_a_piece_that_overruns_is_killed_and_the_search_goes_past_it_and_says_so",
    ),
    mutant(
        "a search counts the records that it skipped",
        "an incomplete search looks complete",
        _CLIENT.statement("_fits", "left_out"),
        "test_search_limits.py::test_a_piece_that_overruns_is_killed_and_the_search_goes_past_it_and_says_so",
    ),
    mutant(
        "limit of killed pieces per search",
        "a search takes two more seconds for each slow event of the store",
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
        "a remap without time for all events is not complete",
        "it is reported as complete, although some events were not examined",
        _PARKED_SERVICE.condition("remap_step", "plans", "wanted"),
        "test_previews.py::test_a_remap_is_not_complete_while_an_event_was_not_looked_at",
    ),
    mutant(
        "a request is notified when its client disconnects",
        "the request goes on after its client has disconnected",
        _ASGI.statement("_watch_client", "left", to="pass"),
        "test_asgi.py::test_a_request_is_told_that_its_client_has_left_unless_it_is_a_webhook",
    ),
    mutant(
        "a waiting request is not started after its client disconnected",
        "requests of disconnected clients occupy threads",
        _REQUEST_THREADS.condition("_work", "left", "is_set"),
        "test_asgi.py::test_a_request_whose_client_leaves_while_it_waits_is_not_begun",
    ),
)
