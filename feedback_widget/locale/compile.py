"""Compiles the catalogues beside it: `.venv/bin/python feedback_widget/locale/compile.py`. Needs no gettext."""

from pathlib import Path

import polib

for source in sorted(Path(__file__).parent.glob("*/LC_MESSAGES/django.po")):
    polib.pofile(str(source)).save_as_mofile(str(source.with_suffix(".mo")))
