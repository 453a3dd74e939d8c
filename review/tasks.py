"""What the worker does for the queue. Each task is a function called; losing one or running it twice does no harm."""

from celery import shared_task

from review import bulk, evidence, upkeep


@shared_task
def index_turns() -> None:
    upkeep.index_turns()


@shared_task
def sweep_expired() -> None:
    upkeep.sweep_expired()


@shared_task
def forget_old_keys() -> None:
    upkeep.forget_old_keys()


@shared_task
def reconcile_counters() -> None:
    upkeep.reconcile_counters()


@shared_task
def go_on_with_bulk_acts() -> None:
    bulk.go_on()


@shared_task
def go_on_with_evidence() -> None:
    evidence.go_on()
