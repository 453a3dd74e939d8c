"""A project that orders its sources anew has its outcomes summed up anew, whatever was begun before."""

from datetime import timedelta

import pytest

from agentloop.actors import SYSTEM
from agentloop.models import Project
from agentloop.tenancy import change_settings
from routing import authority
from routing.authority import follow_authority
from routing.engine.evidence import Source
from routing.evidence import Observation, record
from routing.models import Outcome, PathState
from routing.rebuild import differences

SHIPPED = [source.value for source in Source]
USERS_FIRST = ["provider", "inferred", "action", "review", "user"]
AT_ONCE = timedelta(0)


@pytest.fixture
def judged(project: Project) -> Project:
    """Five traces of which a user and a reviewer say different things."""
    said = [(Source.USER, True), (Source.REVIEW, False)]
    record(
        project,
        [Observation("book", source, f"t{n}", model="m", success=word) for n in range(5) for source, word in said],
    )
    return project


def ordered(project: Project, sources: list[str]) -> Project:
    return change_settings(project=project, actor=SYSTEM, changes={"authority": sources})


def words() -> set[tuple[bool | None, str]]:
    return set(Outcome.objects.values_list("success", "source"))


def test_outcomes_and_states_follow_the_new_order(judged: Project) -> None:
    changed = ordered(judged, USERS_FIRST)
    assert differences(changed) != []
    assert follow_authority(changed, grace=AT_ONCE) == 5
    assert words() == {(True, "user")}
    assert PathState.objects.get().own[-1] == 5.0
    assert differences(changed) == []
    assert follow_authority(changed, grace=AT_ONCE) == 0


def test_nothing_is_done_while_other_processes_may_hold_the_old_order(judged: Project) -> None:
    assert follow_authority(ordered(judged, USERS_FIRST)) == 0
    assert words() == {(False, "review")}


def test_a_change_back_half_way_is_followed_too(judged: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "BATCH", 2)
    assert follow_authority(ordered(judged, USERS_FIRST), grace=AT_ONCE, seconds=0) == 2
    assert words() == {(True, "user"), (False, "review")}
    back = ordered(judged, SHIPPED)
    assert follow_authority(back, grace=AT_ONCE) == 5
    assert words() == {(False, "review")}
    assert differences(back) == []


def test_what_was_cut_off_goes_on(judged: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "BATCH", 2)
    changed = ordered(judged, USERS_FIRST)
    assert [follow_authority(changed, grace=AT_ONCE, seconds=0) for _ in range(4)] == [2, 2, 1, 0]
    assert differences(changed) == []


def test_a_project_that_never_changed_it_costs_one_look(judged: Project, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(1):  # type: ignore[operator]
        follow_authority(judged)
