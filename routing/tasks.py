"""What the worker does for routing. Each task is a function called; losing one or running it twice does no harm."""

from celery import shared_task

from routing import authority, sampling, watch


@shared_task
def watch_goals() -> None:
    watch.watch_goals()


@shared_task
def follow_authorities() -> None:
    authority.follow_all()


@shared_task
def explore_goals() -> None:
    watch.explore_goals()


@shared_task
def end_old_rows() -> None:
    watch.end_old_rows()


@shared_task
def check_a_sample() -> None:
    sampling.check_a_sample()
