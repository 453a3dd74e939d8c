"""What the worker does for the widget. Losing it or running it twice does no harm."""

from celery import shared_task

from feedback_widget import upkeep


@shared_task
def forget_ended_links() -> None:
    upkeep.forget_ended_links()
