"""The benchmark of insights ends with the plans of the engine's statements: they must still be those."""

from agentloop.actors import SYSTEM
from agentloop.models import Project
from benchmarks import insights
from routing.paths import NewPath, register_path


def test_the_plan_of_every_statement_that_reads_a_table_that_grows_can_be_made(project: Project) -> None:
    register_path(project, SYSTEM, "goal-0", NewPath("model-0"))
    lines = insights._plans(project)
    read = {table for table in insights.GROWING if any(f" on routing_{table}" in line for line in lines)}
    assert read == set(insights.GROWING)
