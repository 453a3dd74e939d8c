"""What the worker does for the site."""

from celery import shared_task

from agentloop import upkeep


@shared_task
def end_old_rows() -> None:
    upkeep.end_old_rows()
