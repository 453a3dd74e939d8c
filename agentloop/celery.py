"""The worker's application: what runs later, and when. Every task is safe to lose and safe to run twice."""

import os

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_shutting_down

from agentloop import stopping

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentloop.settings")

app = Celery("agentloop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["agentloop", "review", "routing", "feedback_widget"])

worker_shutting_down.connect(lambda **_: stopping.ask(), weak=False)

app.conf.beat_schedule = {
    # A tick that finds no worker is dropped rather than heaped up: the next one does its work.
    "index turns": {"task": "review.tasks.index_turns", "schedule": 3.0, "options": {"expires": 3}},
    "go on with bulk acts": {"task": "review.tasks.go_on_with_bulk_acts", "schedule": 3.0, "options": {"expires": 3}},
    "go on with evidence": {"task": "review.tasks.go_on_with_evidence", "schedule": 3.0, "options": {"expires": 3}},
    "sweep expired turns": {"task": "review.tasks.sweep_expired", "schedule": 60.0, "options": {"expires": 60}},
    "forget old idempotency keys": {
        "task": "review.tasks.forget_old_keys",
        "schedule": crontab(minute="17"),
        "options": {"expires": 3600},
    },
    "reconcile counters": {
        "task": "review.tasks.reconcile_counters",
        "schedule": crontab(hour="3", minute="41"),
        "options": {"expires": 3600},
    },
    "end old sessions": {
        "task": "agentloop.tasks.end_old_rows",
        "schedule": crontab(hour="3", minute="13"),
        "options": {"expires": 3600},
    },
    "forget ended feedback links": {
        "task": "feedback_widget.tasks.forget_ended_links",
        "schedule": crontab(minute="37"),
        "options": {"expires": 3600},
    },
    "watch goals": {"task": "routing.tasks.watch_goals", "schedule": 60.0, "options": {"expires": 60}},
    "follow changed authority": {
        "task": "routing.tasks.follow_authorities",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "deliver notifications": {
        "task": "agentloop.tasks.deliver_notifications",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "send letters": {"task": "agentloop.tasks.send_letters", "schedule": 60.0, "options": {"expires": 60}},
    "explore goals": {
        "task": "routing.tasks.explore_goals",
        "schedule": crontab(minute="29"),
        "options": {"expires": 3600},
    },
    "end old routing rows": {
        "task": "routing.tasks.end_old_rows",
        "schedule": crontab(minute="7"),
        "options": {"expires": 3600},
    },
    "check routing against its ledger": {
        "task": "routing.tasks.check_a_sample",
        "schedule": crontab(hour="4", minute="11"),
        "options": {"expires": 3600},
    },
}
