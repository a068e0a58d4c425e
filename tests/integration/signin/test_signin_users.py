"""`ringback user`, and the users that the configuration takes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from integration.cli.main import main
from integration.domain.passwords import is_sound
from support import two_accounts
from support.dashboard_users import ANA, HASHES


def test_the_table_that_is_printed_is_a_user_who_gets_in(make):
    done = CliRunner().invoke(main, ["user", "eva", "--role", "admin"], input="a password from a pipe\n")
    assert done.exit_code == 0, done.output
    _, browser = make(two_accounts() + done.stdout)
    assert browser.sign_in("eva", "a password from a pipe").status_code == 303
    assert browser.inside


@pytest.mark.parametrize(("name", "password"), [("ana", "short"), ("a b", ANA), ("", ANA), ("ana", "")])
def test_a_bad_name_or_a_short_password_is_wrong_usage(name, password):
    done = CliRunner().invoke(main, ["user", name], input=f"{password}\n")
    assert done.exit_code == 2
    assert not done.stdout


def test_a_program_gets_the_user_as_json():
    done = CliRunner().invoke(main, ["user", "ana", "--json"], input=f"{ANA}\n")
    told = json.loads(done.stdout)
    assert (told["name"], told["role"], is_sound(told["password"])) == ("ana", "viewer", True)


@pytest.mark.parametrize(
    "text",
    [
        "plain", "$2b$12$" + "a" * 53, HASHES["ana"].replace("argon2id", "argon2i"),
        HASHES["ana"].replace("m=8", "m=999999"), HASHES["ana"].replace("t=1", "t=99"),
    ],
    # A hash is another one in each process, and the workers of a run must agree on the names.
    ids=["no hash", "bcrypt", "argon2i", "much memory", "many rounds"],
)  # fmt: skip
def test_what_cannot_be_checked_at_a_bounded_cost_is_no_password(text):
    assert not is_sound(text)
