"""`manage.py up`: everything that this installation needs, until Ctrl-C."""

import logging
import sys
from argparse import ArgumentParser
from threading import Thread
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connections

from agentloop import env, metrics, startup, supervisor
from agentloop.bootstrap import FirstStart, first_start
from agentloop.embedded import EmbeddedError
from agentloop.models import Project
from agentloop.supervisor import ROLES, Signals, say
from feedback_widget.samples import sample_link
from review.demo import DEMO, add_demo

_ABOUT_DEMO = (
    f"  see it alive: in half a minute the project {DEMO} has two weeks of sample turns;\n"
    "    `manage.py demo --remove` takes it away.\n"
)


class Command(BaseCommand):
    help = "Start the site, the worker and the clock, and the embedded servers where none are named."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT, help="default: AGENTLOOP_PORT or 8000")
        parser.add_argument("--host", default=settings.HOST, help="default: AGENTLOOP_HOST or 127.0.0.1")
        parser.add_argument(
            "--no-demo",
            action="store_true",
            help="leave out the project Demo, with its two weeks of sample turns, that a first start makes",
        )
        parser.add_argument(
            "--only", nargs="+", choices=ROLES, default=ROLES, metavar="ROLE", help=f"of {', '.join(ROLES)}"
        )

    def handle(self, *args: Any, host: str, port: int, only: list[str], no_demo: bool, **options: Any) -> None:
        roles = tuple(dict.fromkeys(only))
        signals = Signals()
        try:
            with signals.caught():
                _serve(roles, host, port, signals, with_demo=not no_demo)
        except supervisor.Stopped:
            pass
        except (startup.CannotStart, EmbeddedError) as error:
            self.stderr.write(f"AgentLoop cannot start. {error}")
            sys.exit(1)


def _serve(roles: tuple[str, ...], host: str, port: int, signals: Signals, *, with_demo: bool) -> None:
    home = settings.HOME
    startup.check_home(home)
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    with supervisor.only_one(home, roles):
        if ended := supervisor.end_leftovers(home, roles):
            say(f"Ended {ended} processes that an earlier start left behind.")
        if "web" in roles:
            startup.check_port(host, port)
            metrics.forget_last_run()
        startup.check_named_servers()
        with startup.servers():
            if applied := startup.migrate():
                say(f"The database is up to date: {len(applied)} migrations applied.")
            made = first_start()
            sample = sample_link(Project.objects.get(slug=made.project)) if made else None
            connections.close_all()
            _write_address(roles, host, port)
            # A database that the environment names is somebody's own: it gets no samples.
            has_demo = bool(made) and with_demo and startup.uses_embedded_database()
            greet = Greeting(greeting(made, sample, roles, host, port, has_demo))
            if has_demo:
                Thread(target=_tell_a_story, args=(signals,), daemon=True).start()
            try:
                supervisor.supervise(roles=roles, host=host, port=port, signals=signals, ready=greet)
            finally:
                if made:
                    greet()


def _tell_a_story(signals: Signals) -> None:
    """Beside the site's start, in a project beside the first one, which stays clean. It is there whole or not at all.
    Whatever goes wrong here, AgentLoop runs without it."""
    # Its paths fall and recover as they should: no news for whoever starts this.
    logging.getLogger("agentloop.watch").setLevel(logging.WARNING)
    try:
        add_demo()
        say(f"The samples are in the project {DEMO}.")
    except Exception as error:
        reason = "AgentLoop stops" if signals.ask_for_an_end else error
        say(f"The samples are left out ({reason}): `manage.py demo` tries again.")
    finally:
        connections.close_all()


class Greeting:
    """Said once: when the site answers, or at the end if it never did, as a secret is not shown again."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_said = False

    def __call__(self) -> None:
        if not self.is_said:
            self.is_said = True
            say(self.text)


def _write_address(roles: tuple[str, ...], host: str, port: int) -> None:
    """For commands that run beside the site and tell clients where it is."""
    if "web" in roles:
        (settings.HOME / "address").write_text(supervisor.address(host, port))


def greeting(
    made: FirstStart | None, sample: str | None, roles: tuple[str, ...], host: str, port: int, has_demo: bool = False
) -> str:
    if "web" not in roles:
        return f"AgentLoop runs: {', '.join(roles)}. Ctrl-C stops it."
    base = env.text("AGENTLOOP_BASE_URL", supervisor.address(host, port)).rstrip("/")
    if made is None:
        return (
            f"AgentLoop runs at {base}   (Ctrl-C stops it)\n"
            "  new API key:  .venv/bin/python manage.py key create --project NAME\n"
            "  new sign-in:  .venv/bin/python manage.py member add EMAIL --project NAME --role owner"
        )
    turn = '{"question": "When do you open?", "agent_response": "At noon.", "signals": {"thumbs_down": true}}'
    return (
        f"\nAgentLoop runs at {base}   (Ctrl-C stops it)\n"
        f"  sign in:      {made.email}   password: {made.password}\n"
        f"  API key:      {made.api_key}   (project: {made.project})\n"
        "  log a turn:\n"
        f"    curl {base}/v1/turns -H 'Authorization: Bearer {made.api_key}' \\\n"
        f"      -H 'Content-Type: application/json' -d '{turn}'\n"
        f"  what your users see, a feedback link:\n    {base}{sample}\n"
        f"{_ABOUT_DEMO if has_demo else ''}"
        "The password and the key are shown this once: keep them.\n"
    )
