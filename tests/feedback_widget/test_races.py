"""The same link sent by many at once, on connections of their own."""

from typing import Any

import pytest

from feedback_widget.models import Submission
from review.models import Annotation, AnnotationVersion, Turn
from routing.models import LedgerRow
from tests.feedback_widget.support import QUESTION, RESPONSE, Widget, visitor
from tests.review.support import Caller, assert_counted, in_threads, turn_of

pytestmark = pytest.mark.django_db(transaction=True)


def sender(link: str, rating: str) -> Any:
    return lambda: visitor().post(link, {"rating": rating}).status_code


def test_one_link_sent_eight_times_at_once(transactional_db: None, widget: Widget) -> None:
    link = widget.link(trace="t1", goal="hours")
    assert in_threads([sender(link, "incorrect")] * 8) == [200] * 8
    assert (Annotation.objects.count(), AnnotationVersion.objects.count(), Submission.objects.count()) == (1, 1, 1)
    assert (Turn.objects.get().signals, LedgerRow.objects.count()) == ({"user_feedback": 1}, 1)
    assert_counted(widget.project)


def test_other_words_at_once_end_as_one_of_them(transactional_db: None, widget: Widget) -> None:
    link = widget.link(trace="t1", goal="hours")
    ratings = ["correct", "incorrect", "partial"] * 3
    assert in_threads([sender(link, rating) for rating in ratings]) == [200] * 9
    annotation = Annotation.objects.get()
    assert annotation.version == AnnotationVersion.objects.count() <= 9
    standing = LedgerRow.objects.filter(withdraws=None).exclude(
        key__in=LedgerRow.objects.exclude(withdraws=None).values("withdraws")
    )
    assert standing.get().score == {"correct": 1.0, "partial": 0.5, "incorrect": 0.0}[annotation.rating]


def test_many_links_to_one_turn_at_once(transactional_db: None, widget: Widget, call: Caller) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE, trace_id="t1", goal="hours"))
    links = [widget.link_to(turn.id, u=str(user)) for user in range(6)] + [widget.link(u=str(n)) for n in range(2)]
    assert in_threads([sender(link, "incorrect") for link in links]) == [200] * 8
    turn.refresh_from_db()
    assert (turn.signals, turn.priority, turn.occurrences) == ({"user_feedback": 8}, 25.0, 1)


def test_noes_about_what_nobody_logged_make_one_turn(transactional_db: None, widget: Widget, call: Caller) -> None:
    works = [sender(widget.link(u=str(user)), "incorrect") for user in range(6)]
    works.append(lambda: call.log(QUESTION, RESPONSE).status)
    assert set(in_threads(works)) <= {200, 201}
    assert Turn.objects.get().signals["user_feedback"] == 6
