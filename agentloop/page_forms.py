"""What the pages' forms share: a form's act is the API's own function, and what that refuses stands beside a field."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from django import forms

from agentloop.errors import AppError, NotFound
from agentloop.ids import read

T = TypeVar("T")


def attempt(form: forms.Form, act: Callable[[], T]) -> T | None:
    """The act's answer; or None, with the reasons on the form. What is not there, or no more, is raised."""
    if not form.is_valid():
        return None
    try:
        return act()
    except AppError as error:
        if error.http_status in (404, 410) or error.http_status >= 500:
            raise
        show_problems(form, error)
    return None


def show_problems(form: forms.Form, error: AppError) -> None:
    """Each field's problem at the field; the whole sentence where there is one field, or none that the form has."""
    beside = [name for name in error.fields if name in form.fields]
    for name in beside:
        form.add_error(name, error.sentence if len(error.fields) == 1 else error.fields[name])
    if not beside:
        form.add_error(None, error.sentence)


def in_a_bar(form: forms.Form) -> None:
    """The small fields of a bar of filters."""
    for field in form.fields.values():
        field.widget.attrs.setdefault("class", "input")


def id_of(prefix: str, text: str) -> UUID:
    """The id in a page's address. Raises NotFound for what is spelled like none."""
    found = read(prefix, text)
    if found is None:
        raise NotFound
    return found
