"""The command that proves the ledger, or mends what is kept of it."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agentloop.models import Project
from routing.engine.evidence import Source
from routing.evidence import Observation, record
from routing.models import Outcome, PathBucket
from routing.rebuild import differences


def test_check_fails_and_a_rebuild_mends(project: Project, capsys: Any) -> None:
    record(project, [Observation("g", Source.PROVIDER, f"t{place}", model="m", success=True) for place in range(3)])
    call_command("rebuild_routing", "--check")
    Outcome.objects.filter(trace_id="t1").update(success=False)
    PathBucket.objects.all().delete()
    with pytest.raises(CommandError, match="differences"):
        call_command("rebuild_routing", "--check", "--project", "alice")
    call_command("rebuild_routing")
    assert differences(project) == []
    assert "alice: 0 differences" in capsys.readouterr().out


def test_an_unknown_project_is_named(db: None) -> None:
    with pytest.raises(CommandError, match="nobody"):
        call_command("rebuild_routing", "--project", "nobody")
