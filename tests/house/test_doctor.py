"""`manage.py doctor`: each check finds what it is there to find. What it says of a whole site: test_up.py."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from agentloop import doctor
from agentloop.actors import SYSTEM
from agentloop.doctor import Finding
from agentloop.tenancy import create_project
from tests.house.running import free_port, manage


def test_a_stopped_installation_is_no_failure_and_says_how_to_start(tmp_path: Path) -> None:
    done = manage(tmp_path / "home", "doctor", "--json", AGENTLOOP_PORT=str(free_port()))
    report = json.loads(done.stdout)
    levels = {finding["name"]: finding["level"] for finding in report["findings"]}
    assert (done.returncode, report["ok"]) == (0, True)
    assert levels["python"] == levels["home"] == "OK"
    assert levels["database"] == levels["broker"] == levels["port"] == "WARN"
    assert all(finding["remedy"] for finding in report["findings"] if finding["level"] != "OK")


def test_servers_that_cannot_be_reached_are_failures(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    done = manage(
        tmp_path / "home",
        "doctor",
        DATABASE_URL=f"postgresql://someone:hidden@{nowhere}/nothing",
        BROKER_URL=f"redis://{nowhere}/0",
    )
    assert done.returncode == 1
    assert "FAIL database: " in done.stdout
    assert "FAIL broker: " in done.stdout
    assert "WARN secret key: " in done.stdout
    assert "hidden" not in done.stdout


@pytest.mark.django_db
def test_migrations_and_clock_of_a_sound_database() -> None:
    assert doctor.database().level == "OK"
    assert doctor.migrations() == Finding("migrations", "OK", "all applied")
    assert doctor.clock().level == "OK"


@pytest.mark.django_db
def test_a_migration_that_was_not_applied_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentloop.startup.unapplied_migrations", lambda: ["review.0009_more"])
    assert doctor.migrations().level == "FAIL"
    assert "review.0009_more" in doctor.migrations().text


def test_a_package_other_than_locked_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "base.txt").write_text(
        "django==1.0 \\\n    --hash=sha256:00\nnot-there==2 ; sys_platform == 'none' \\\n    --hash=sha256:00\n"
    )
    monkeypatch.setattr("agentloop.env.ROOT", tmp_path)
    found = doctor.packages()
    assert found.level == "WARN"
    assert "(locked: 1.0)" in found.text
    assert "not-there" not in found.text


def test_a_full_disk_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000}))
    assert doctor.disk().level == "FAIL"


def test_a_secret_key_that_others_can_read_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    monkeypatch.delenv("AGENTLOOP_SECRET_KEY", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    settings.HOME = tmp_path
    key = tmp_path / "secret_key"
    key.write_text("k" * 50)
    key.chmod(0o644)
    assert doctor.secret_key().level == "FAIL"
    key.chmod(0o600)
    assert doctor.secret_key().level == "OK"


def test_any_failure_decides_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "examine", lambda more: iter([Finding("x", "WARN", "so"), Finding("y", "FAIL", "no", "do")])
    )
    with pytest.raises(SystemExit) as ended:
        call_command("doctor")
    assert ended.value.code == 1


@pytest.mark.django_db
def test_a_postgresql_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentloop.startup.OLDEST_POSTGRES", 99)
    found = doctor.database()
    assert found.level == "FAIL"
    assert "AgentLoop needs 99 or newer" in found.text


@pytest.mark.django_db
def test_a_mask_pattern_that_is_left_out_is_a_failure() -> None:
    project = create_project(name="Acme", actor=SYSTEM)
    project.settings = {"mask_patterns": ["ACME-[0-9]+"]}
    project.save(update_fields=["settings"])
    assert doctor.mask_patterns().level == "OK"
    project.settings = {"mask_patterns": ["ACME-[0-9]+", r"(?<=no )\d+"]}
    project.save(update_fields=["settings"])
    found = doctor.mask_patterns()
    assert (found.level, found.text.split(",")[0]) == ("FAIL", r"acme: (?<=no )\d+ is left out")
