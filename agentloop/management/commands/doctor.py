"""`manage.py doctor`: is this installation sound?"""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from agentloop import doctor
from review import backlog
from routing import sampling


class Command(BaseCommand):
    help = "Check the installation; say what is wrong and how to mend it. Exits with 1 if anything fails."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for finding in doctor.examine([backlog.swept, backlog.indexed, sampling.agrees]):
            findings.append(finding)
            if not options["json"]:
                self.stdout.write(_line(finding))
        code = doctor.exit_code(findings)
        if options["json"]:
            self.stdout.write(json.dumps({"ok": code == 0, "findings": [asdict(each) for each in findings]}))
        sys.exit(code)


def _line(finding: doctor.Finding) -> str:
    line = f"{finding.level:<5}{finding.name}: {finding.text}"
    return f"{line}\n     -> {finding.remedy}" if finding.remedy else line
