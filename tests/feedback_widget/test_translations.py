"""The catalogues: whole, and compiled as they stand, since no installation needs gettext."""

from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils.translation import to_locale

from agentloop.project_settings import WIDGET_TEXTS
from feedback_widget.submissions import CHOICES
from feedback_widget.texts import CONTEXT, RIGHT_TO_LEFT, TEXTS

LOCALE = Path(__file__).parents[2] / "feedback_widget" / "locale"
TRANSLATED = [code for code, _ in settings.LANGUAGES if code != "en"]


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated(code: str) -> None:
    catalogue = polib.pofile(str(LOCALE / to_locale(code) / "LC_MESSAGES" / "django.po"))
    said = {entry.msgid: entry.msgstr for entry in catalogue if entry.msgctxt == CONTEXT and not entry.fuzzy}
    assert set(said) == set(TEXTS.values()), "translate what is new, and run feedback_widget/locale/compile.py"
    assert all(said.values())


@pytest.mark.parametrize("code", TRANSLATED)
def test_what_is_compiled_agrees(code: str) -> None:
    folder = LOCALE / to_locale(code) / "LC_MESSAGES"
    source, compiled = polib.pofile(str(folder / "django.po")), polib.mofile(str(folder / "django.mo"))
    assert {(entry.msgctxt, entry.msgid): entry.msgstr for entry in compiled} == {
        (entry.msgctxt, entry.msgid): entry.msgstr for entry in source
    }, "run feedback_widget/locale/compile.py"


def test_no_folder_is_left_over() -> None:
    assert {folder.name for folder in LOCALE.iterdir() if folder.is_dir()} == {to_locale(code) for code in TRANSLATED}
    assert {code for code, _ in settings.LANGUAGES} >= RIGHT_TO_LEFT


def test_owners_can_word_every_text() -> None:
    assert set(WIDGET_TEXTS) == set(TEXTS)
    assert {choice.name for choice in CHOICES} <= set(TEXTS)
