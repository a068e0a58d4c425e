"""`include`: more files, each with its own faults."""

from __future__ import annotations

import pytest

from integration.domain.errors import ConfigError
from integration.services.configuration import load_config, watch_config
from support.config_texts import ACCOUNT, BEARER, RECALL, ROUTE, written

INCLUDE = 'include = ["accounts/*.toml"]\n'
MAIN = INCLUDE + BEARER + ROUTE + RECALL


def folder_with(folder, **files):
    """Write the main file, and `accounts/NAME.toml` for each name."""
    (folder / "accounts").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "accounts" / f"{name}.toml").write_text(text, "utf-8")
    return written(folder, MAIN)


def account(name, more=""):
    return ACCOUNT.replace("accounts.a", f"accounts.{name}").replace("token-a", f"token-{name}") + more


def faults_of(path):
    """The faults as file name, key and found, in their order."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    folder = str(path.parent)
    return [(fault.file.removeprefix(folder), fault.key, fault.found) for fault in caught.value.faults]


def test_the_tables_of_all_files_make_one_configuration(tmp_path):
    more = (
        '[vars]\nventas = "2"\n[api_keys]\nk = "key-of-k-0123456789"\n'
        + ROUTE.replace('name = "r"', 'name = "second"').replace('"a"', '"b"')
        + RECALL
    )
    config = load_config(folder_with(tmp_path, one=account("a"), two=account("b") + more), {})
    assert list(config.accounts) == ["a", "b"]
    assert [route.name for route in config.routes] == ["r", "second"]
    assert (config.vars, set(config.api_keys), set(config.sources)) == ({"ventas": "2"}, {"k"}, {"s"})


def test_the_digest_does_not_depend_on_how_the_tables_are_spread(tmp_path):
    spread = load_config(folder_with(tmp_path, one=account("a"), two=account("b")), {})
    whole = load_config(written(tmp_path, account("a") + account("b") + BEARER + ROUTE + RECALL), {})
    assert spread.digest == whole.digest


def test_each_file_has_its_own_faults_in_the_order_of_the_files(tmp_path):
    wrong_route = ROUTE.replace('name = "r"', 'name = "second"') + RECALL + 'when = "x =="\n'
    path = folder_with(
        tmp_path,
        one=account("a", "daily_limit = 0\n"),
        two=account("b", 'late = "never"\n') + wrong_route,
        three="[accounts.c]\nserver = 3\n",
    )
    path.write_text(MAIN + "[store]\nretention_days = 0\n")
    assert faults_of(path) == [
        ("/ringback.toml", "store.retention_days", "the number 0"),
        ("/accounts/one.toml", "accounts.a.daily_limit", "the number 0"),
        ("/accounts/three.toml", "accounts.c.server", "the number 3"),
        ("/accounts/three.toml", "accounts.c.token", "missing"),
        ("/accounts/three.toml", "accounts.c.timezone", "missing"),
        (
            "/accounts/two.toml",
            'routes[1] ("second").when',
            "a template with a syntax error: unexpected 'end of template' (line 1)",
        ),
        ("/accounts/two.toml", "accounts.b.late", '"never"'),
    ]


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("x = ", "end of document", "invalid TOML (Invalid value)"),
        ("[store]\nretention_days = 9\n", "store", "not allowed in an included file"),
        (INCLUDE, "include", "not allowed in an included file"),
        ("acounts = 5\n", "acounts", "not allowed in an included file"),
        ("accounts = 5\n", "accounts", "the number 5"),
        ("[routes]\n", "routes", "a table"),
    ],
)
def test_a_fault_of_an_included_file_is_reported_for_that_file(tmp_path, text, key, found):
    assert faults_of(folder_with(tmp_path, one=account("a"), two=text)) == [
        ("/accounts/two.toml", key, found)
    ]


def test_an_unreadable_file_makes_no_route_of_the_others_look_faulty(tmp_path):
    path = folder_with(tmp_path, one="x = ", two=account("b", "daily_limit = 0\n"))
    assert [(file, key) for file, key, _ in faults_of(path)] == [
        ("/accounts/one.toml", "end of document"),
        ("/accounts/two.toml", "accounts.b.daily_limit"),
    ]


def test_a_name_in_two_files_is_a_fault_of_the_later_one(tmp_path):
    path = folder_with(tmp_path, one=account("a"), two=account("a") + account("b"))
    ((file, key, found),) = faults_of(path)
    assert (file, key, found) == (
        "/accounts/two.toml",
        "accounts.a",
        f"defined in {path.parent}/accounts/one.toml as well",
    )


@pytest.mark.parametrize(
    "pattern", ['["*/a.toml"]', '["/etc/*.toml"]', '[""]', "[5]", '"accounts/*.toml"', '["a\\u0000b"]']
)
def test_a_pattern_that_cannot_be_used_is_a_fault(tmp_path, pattern):
    path = written(tmp_path, f"include = {pattern}\n" + ACCOUNT)
    ((_, key, _),) = faults_of(path)
    assert key.startswith("include")


def test_a_pattern_without_a_file_is_a_fault(tmp_path):
    path = written(tmp_path, INCLUDE + ACCOUNT)
    assert faults_of(path) == [("/ringback.toml", "include[1]", "a pattern that matches no file")]
    path.write_text('include = ["more.toml"]\n' + ACCOUNT)
    assert faults_of(path) == [("/more.toml", "the file", "missing")]


def test_a_temporary_file_of_an_editor_is_not_read(tmp_path):
    path = folder_with(tmp_path, one=account("a"), **{".#one": "x = ", ".two": "x = "})
    assert list(load_config(path, {}).accounts) == ["a"]


@pytest.mark.parametrize("change", ["added", "changed", "removed", "by a path of its own"])
def test_a_change_of_the_included_files_is_noticed(tmp_path, change):
    path = folder_with(tmp_path, one=account("a"), two=account("b"))
    watch = watch_config(path, {}, every_seconds=0)
    assert watch.look() is None
    if change == "added":
        folder_with(tmp_path, three=account("c"))
        expected = {"a", "b", "c"}
    elif change == "changed":
        folder_with(tmp_path, two=account("longer"))
        expected = {"a", "longer"}
    elif change == "removed":
        (tmp_path / "accounts" / "two.toml").unlink()
        expected = {"a"}
    else:
        path.write_text(MAIN.replace("*", "one"))
        expected = {"a"}
    candidate = watch.look()
    assert candidate is not None
    assert set(candidate.accounts) == expected


def test_an_inline_secret_is_reported_for_the_file_that_everybody_can_read(tmp_path):
    path = folder_with(tmp_path, one=account("a"), two=account("b"))
    (tmp_path / "accounts" / "one.toml").chmod(0o600)
    (tmp_path / "accounts" / "two.toml").chmod(0o644)
    assert load_config(path, {}).exposed_files == (str(tmp_path / "accounts" / "two.toml"),)


SECRETS = (
    BEARER.replace("[sources.s]", "[sources.meta]") + 'verify_token = "verify-token-0123456789"\n',
    '[alerts.channels.c]\nkind = "slack"\nurl = "https://hooks.example.com/services/a-secret"\n',
    '[alerts.channels.c]\nkind = "webhook"\nurl = "https://hooks.example.com/alerts/a-secret"\n',
    '[api_keys]\nk = "key-of-k-0123456789"\n',
)


@pytest.mark.parametrize("text", SECRETS)
def test_every_kind_of_secret_counts_as_inline(tmp_path, text):
    environ = {"TOKEN": "token-a"}
    outside = ACCOUNT.replace('"token-a"', '"env:TOKEN"')
    path = written(tmp_path, outside)
    path.chmod(0o644)
    assert load_config(path, environ).exposed_files == ()
    path.write_text(outside + text, "utf-8")
    assert load_config(path, environ).exposed_files == (str(path),)
