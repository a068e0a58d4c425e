"""`ringback hubspot project` keeps every edit of the files when it runs again."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.config.models import Route
from integration.config.source_models import HubspotSource
from integration.webhooks.hubspot_project import project_files, updated_files
from integration.webhooks.hubspot_project.files import ACTION_FILE, APP_FILE, PROJECT_FILE, WEBHOOKS_FILE

PROPERTIES = ("callback_at", "phone", "lifecyclestage")
INPUTS = ("account", "campaign", "customer", "telephone")


def files_of(properties=(), inputs=(), host="hooks.example.com"):
    """Return the generated files for a source with these subscriptions and input fields."""
    source = HubspotSource(
        name="crm", kind="hubspot", secrets=("s" * 20,), public_url=f"https://{host}/hooks/crm"
    )
    reads = " ".join(f"{{{{ event.inputFields.{name} }}}}" for name in inputs) or "1"
    fields = {"campaign_id": reads, "customer_id": "1", "recall_telephone": "1", "recall_date": "1"}
    route = Route(
        name="r", source="crm", account="a", when=f"event.propertyName in {list(properties)}", **fields
    )
    return project_files(source, [route])


generated = st.builds(
    files_of,
    st.lists(st.sampled_from(PROPERTIES), unique=True),
    st.lists(st.sampled_from(INPUTS), unique=True),
    st.sampled_from(["hooks.example.com", "other.example.com"]),
)


def leaves(value, path=()):
    """Yield the path of each value that is neither a table nor a list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path


def at(value, path):
    for part in path:
        value = value[part]
    return value


def put(value, path, new):
    at(value, path[:-1])[path[-1]] = new


def as_sets(value):
    """Return JSON values with sets in place of lists, because the merge may reorder lists."""
    if isinstance(value, dict):
        return {key: as_sets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted(json.dumps(as_sets(inner), sort_keys=True) for inner in value)
    return value


def run(base, new, current):
    """Run the update. Return the files and the base of the next update."""
    written, next_base = updated_files(base, new, current)
    return copy.deepcopy({**current, **written}), copy.deepcopy(next_base)


# --- any edit --------------------------------------------------------------------------------------


@given(generated, generated)
def test_files_without_edits_become_what_is_generated(old, new):
    current, base = run({}, old, {})
    after, next_base = run(base, new, current)
    assert as_sets(after) == as_sets(next_base)
    for path, content in new.items():
        if path != WEBHOOKS_FILE:  # this one keeps the subscriptions of before
            assert as_sets(after[path]) == as_sets(content)


@given(generated, generated, st.data())
def test_an_edited_value_is_not_changed(old, new, data):
    current, base = run({}, old, {})
    edited = copy.deepcopy(current)
    path = data.draw(st.sampled_from(sorted(leaves(edited), key=str)))
    # A value that identifies an item of a list makes it another item, which stays whole.
    put(edited, path, "edited")
    after, _ = run(base, new, edited)
    assert json.dumps(after).count('"edited"') == 1


@given(generated, generated, st.data())
def test_what_was_added_stays_and_what_was_deleted_stays_away(old, new, data):
    current, base = run({}, old, {})
    edited = copy.deepcopy(current)
    tables = [path[:-1] for path in leaves(edited) if isinstance(path[-1], str)]
    at(edited, data.draw(st.sampled_from(sorted(set(tables), key=str))))["our own"] = {"a": [1, 1]}
    after, _ = run(base, new, edited)
    assert json.dumps(after).count('"our own": {"a": [1, 1]}') == 1


@given(generated, generated, st.data())
def test_the_same_run_again_changes_nothing(old, new, data):
    current, base = run({}, old, {})
    edited = copy.deepcopy(current)
    put(edited, data.draw(st.sampled_from(sorted(leaves(edited), key=str))), "edited")
    once, next_base = run(base, new, edited)
    twice, last_base = run(next_base, new, once)
    assert (twice, last_base) == (once, next_base)


@given(generated, generated, generated, st.data())
def test_an_edit_survives_several_changes_of_the_configuration(first, second, third, data):
    current, base = run({}, first, {})
    name = data.draw(st.sampled_from(sorted(current)))
    current[name]["note"] = "edited"
    for new in (second, third, first):
        current, base = run(base, new, current)
    assert current[name]["note"] == "edited"


# --- edits that people make ------------------------------------------------------------------------


def edited(change, *, old=None, new=None):
    """Return the files after a run, an edit and a second run."""
    current, base = run({}, old or files_of(PROPERTIES, INPUTS), {})
    change(current)
    return run(base, new or files_of(PROPERTIES[:1], INPUTS[1:], "other.example.com"), current)[0]


def test_items_that_look_alike_stay_both():
    def twice(files):
        lists = files[WEBHOOKS_FILE]["config"]["subscriptions"]
        lists["crmObjects"].append(
            {**lists["crmObjects"][0], "active": False, "note": "for the test account"}
        )

    subscriptions = edited(twice)[WEBHOOKS_FILE]["config"]["subscriptions"]["crmObjects"]
    same = [each for each in subscriptions if each["propertyName"] == PROPERTIES[0]]
    assert [each["active"] for each in same] == [True, False]


def test_texts_in_another_language_and_of_our_own_stay():
    def translate(files):
        labels = files[ACTION_FILE]["config"]["labels"]
        labels["en"]["actionName"] = "Call the customer"
        labels["es"] = {"actionName": "Llamar al cliente"}

    labels = edited(translate)[ACTION_FILE]["config"]["labels"]
    assert labels["en"]["actionName"] == "Call the customer"
    assert labels["es"] == {"actionName": "Llamar al cliente"}


def test_the_action_for_other_objects_stays_so():
    def deals(files):
        files[ACTION_FILE]["config"]["objectTypes"] = ["DEAL", "TICKET"]

    assert edited(deals)[ACTION_FILE]["config"]["objectTypes"] == ["DEAL", "TICKET"]


def test_a_list_in_place_of_a_text_and_a_table_in_place_of_a_list_stay():
    def odd(files):
        files[APP_FILE]["config"]["name"] = ["Our", "app"]
        files[APP_FILE]["config"]["auth"]["optionalScopes"] = {"a": 1}
        files[WEBHOOKS_FILE]["config"] = None

    after = edited(odd)
    assert after[APP_FILE]["config"]["name"] == ["Our", "app"]
    assert after[APP_FILE]["config"]["auth"]["optionalScopes"] == {"a": 1}
    assert after[WEBHOOKS_FILE]["config"] is None


@pytest.mark.parametrize("lost", [PROJECT_FILE, APP_FILE, ACTION_FILE, WEBHOOKS_FILE])
def test_without_the_record_every_value_stays_and_what_is_missing_is_added(lost):
    current, _ = run({}, files_of(PROPERTIES, INPUTS), {})
    current[APP_FILE]["config"]["name"] = "Our app"
    del current[lost]
    after, _ = run({}, files_of(PROPERTIES, INPUTS, "other.example.com"), current)
    assert lost in after
    assert lost == APP_FILE or after[APP_FILE]["config"]["name"] == "Our app"
    assert lost == WEBHOOKS_FILE or "hooks.example.com" in json.dumps(after[WEBHOOKS_FILE])
