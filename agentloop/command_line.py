"""What `manage.py` runs: a command finds the database running, and a known error is one line."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError

from agentloop.embedded import EmbeddedError

# `up` starts the servers itself, `doctor` says whether they run; the others never ask the database anything.
WITHOUT_DATABASE = {
    *("up", "doctor", "help", "version", "check", "diffsettings", "spectacular", "collectstatic"),
    *("findstatic", "makemessages", "compilemessages", "startapp", "startproject", "sendtestemail"),
}


def main(arguments: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentloop.settings")
    try:
        with _servers_for(arguments):
            execute_from_command_line(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = _sentence_of(error)
        if sentence is None:
            raise
        sys.exit(sentence)


def _servers_for(arguments: list[str]) -> AbstractContextManager[None]:
    name = arguments[1] if len(arguments) > 1 else "help"
    if name.startswith("-") or name in WITHOUT_DATABASE or {"-h", "--help"} & set(arguments):
        return nullcontext()
    from agentloop import startup

    return startup.servers()


def _sentence_of(error: Exception) -> str | None:
    """What to print in place of a traceback, for an error that its reader can mend."""
    if isinstance(error, ImproperlyConfigured | EmbeddedError):
        return str(error)
    # Backup and restore connect by themselves, without Django.
    if isinstance(error, OperationalError | psycopg.OperationalError):
        return f"The database cannot be used: {' '.join(str(error).split())}"
    # Not at the top: these need settings that can be read, and to say that they can't is this module's work.
    from agentloop.errors import AppError
    from agentloop.startup import CannotStart

    return str(error) if isinstance(error, AppError | CannotStart) else None
