"""What the worker does for the site."""

from celery import shared_task

from agentloop import delivery, upkeep


@shared_task
def end_old_rows() -> None:
    upkeep.end_old_rows()


@shared_task
def deliver_notifications() -> None:
    delivery.deliver_due()


@shared_task
def send_letters() -> None:
    delivery.send_letters()
