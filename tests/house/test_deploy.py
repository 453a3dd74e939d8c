"""What a container engine would read, checked as far as one can without it."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from deploy import healthcheck

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()
OURS = ("web", "worker", "beat")


def instructions(word: str) -> list[str]:
    whole = CONTAINERFILE.replace("\\\n", " ")
    return re.findall(rf"^{word}\s+(.*)$", whole, re.MULTILINE)


def test_the_compose_file_has_every_part() -> None:
    assert set(COMPOSE["services"]) == {*OURS, "postgres", "valkey"}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_watched_and_starts_again(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_commands_that_parse(name: str) -> None:
    command, *arguments = COMPOSE["services"][name]["command"]
    parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
    assert parser.parse_args(arguments).only == [name]


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_no_rights_and_use_the_named_servers(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert {"DATABASE_URL", "BROKER_URL", "AGENTLOOP_SECRET_KEY"} <= set(service["environment"])
    assert set(service["depends_on"]) == {"postgres", "valkey"}


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    uses = re.findall(r"\$\{(POSTGRES_PASSWORD|AGENTLOOP_SECRET_KEY)(?!_)(:?.)", text)
    assert uses
    assert {mark for _, mark in uses} == {":?"}


def test_the_build_finds_what_it_names() -> None:
    build = COMPOSE["services"]["web"]["build"]
    assert (ROOT / "deploy" / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_the_container_copies_what_exists_and_leaves_out_what_it_must() -> None:
    for line in instructions("COPY"):
        for source in shlex.split(line)[:-1]:
            assert (ROOT / source).exists(), source
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", ".env", ".agentloop"} <= set(ignored)


def test_the_container_does_not_run_as_root() -> None:
    assert instructions("USER") == ["agentloop"]


def test_the_containers_commands_exist() -> None:
    assert instructions("ENTRYPOINT") == ['["python", "manage.py"]']
    assert instructions("CMD")[-1] == '["up"]'
    assert "--require-hashes" in CONTAINERFILE


def test_a_role_that_does_not_run_is_not_well() -> None:
    assert healthcheck.main("no such role") == 1


def volumes_used() -> set[str]:
    services: list[dict[str, Any]] = list(COMPOSE["services"].values())
    return {volume.split(":")[0] for service in services for volume in service.get("volumes", [])}


def test_every_volume_is_declared() -> None:
    assert volumes_used() == set(COMPOSE["volumes"])


def test_the_locked_requirements_have_hashes_and_no_address() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert not re.search(r"://|--index|--find-links|--trusted-host", text), path
        assert text.count("==") <= text.count("--hash=sha256:"), path
