"""What a container engine would read, checked as far as one can without it."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from django.core.management import get_commands, load_command_class

from deploy import healthcheck
from tests.house.running import clean_environment, free_port, until

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


def test_every_documented_variable_reaches_the_services_that_read_it() -> None:
    """Each name in .env.example is handed on; compose itself says where the servers and the home folder are."""
    documented = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    own = {"DATABASE_URL", "BROKER_URL", "AGENTLOOP_HOME", "AGENTLOOP_HOST", "AGENTLOOP_PORT", "POSTGRES_PASSWORD"}
    of_one = {"AGENTLOOP_WEB_PROCESSES": "web", "AGENTLOOP_WEB_THREADS": "web", "AGENTLOOP_WORKER_PROCESSES": "worker"}
    for name in OURS:
        environment = COMPOSE["services"][name]["environment"]
        read = {variable for variable in documented - own if of_one.get(variable, name) == name}
        passed = {variable for variable, text in environment.items() if text.startswith("${" + variable + ":")}
        assert read <= passed, f"Add to the environment in deploy/compose.yaml: {sorted(read - passed)}"


def test_what_is_set_for_the_containers_is_what_the_settings_have(image: Path) -> None:
    given = {
        "POSTGRES_PASSWORD": "p",
        "AGENTLOOP_SECRET_KEY": "only-for-this-test-" * 3,
        "AGENTLOOP_BASE_URL": "https://loop.acme.example",
        "AGENTLOOP_EMAIL_URL": "smtp+tls://user:secret@mail.acme.example:587",
        "AGENTLOOP_EMAIL_FROM": "Acme <loop@acme.example>",
        "AGENTLOOP_OIDC_ISSUER": "https://id.acme.example",
        "AGENTLOOP_OIDC_CLIENT_ID": "loop",
        "AGENTLOOP_OIDC_CLIENT_SECRET": "hush",
        "AGENTLOOP_WEBHOOK_HOSTS": "hooks.internal",
    }
    code = (
        "import json; from django.conf import settings as s;"
        "app = s.SOCIALACCOUNT_PROVIDERS['openid_connect']['APPS'][0];"
        "mail = [s.EMAIL_HOST, s.DEFAULT_FROM_EMAIL, s.WEBHOOK_HOSTS];"
        "print(json.dumps([*mail, app['client_id'], app['secret'], app['name']]))"
    )
    said = settings_say(image, resolved(COMPOSE["services"]["worker"]["environment"], given), code)
    assert json.loads(said) == [
        *("mail.acme.example", "Acme <loop@acme.example>", ["hooks.internal"]),
        *("loop", "hush", "single sign-on"),
    ]


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


def test_the_container_is_built_as_linters_ask() -> None:
    """What hadolint would say, as far as it concerns the instructions that are here."""
    words = [line.split()[0] for line in CONTAINERFILE.replace("\\\n", " ").splitlines() if line[:1].isupper()]
    assert words[0] == "FROM"
    assert set(words) <= {
        *("FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "VOLUME"),
        *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
    }
    assert all(words.count(word) == 1 for word in ("FROM", "ENTRYPOINT", "CMD", "HEALTHCHECK", "USER"))
    # A tag that names a version; code that is copied in as root and run as somebody else.
    assert re.fullmatch(r"\S+/python:3\.1[123]-slim-\w+", instructions("FROM")[0])
    assert words.index("COPY") < words.index("USER") < words.index("ENTRYPOINT")
    assert instructions("WORKDIR")[0].startswith("/")
    assert not re.search(r"\bsudo\b|apt-get (?!.*--no-install-recommends)|curl .*\|", CONTAINERFILE)
    assert "PIP_NO_CACHE_DIR=1" in CONTAINERFILE
    for line in (*instructions("ENTRYPOINT"), *instructions("CMD"), instructions("HEALTHCHECK")[0].split("CMD ")[1]):
        assert all(isinstance(word, str) for word in json.loads(line))


def left_out(path: Path) -> bool:
    """Whether .dockerignore names a path of the tree, or a folder above it."""
    parts = path.relative_to(ROOT).parts
    for pattern in (ROOT / ".dockerignore").read_text().split():
        anywhere = pattern.removeprefix("**/")
        if any(fnmatch(part, anywhere) for part in (parts if anywhere != pattern else parts[:1])):
            return True
    return False


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the build copies, made by hand."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if left_out(Path(folder, name))}

    return shutil.copytree(ROOT, tmp_path_factory.mktemp("build") / "image", ignore=ignored)


def test_what_the_image_leaves_out() -> None:
    for name in (".git/config", ".env", "agentloop-2026.dump", "tests/conftest.py", "review/__pycache__/a.pyc"):
        assert left_out(ROOT / name), name
    for name in ("manage.py", ".env.example", "review/models.py", "static/app.css", "requirements/base.txt"):
        assert not left_out(ROOT / name), name


def resolved(environment: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    """What compose hands a container: `${NAME:-default}` and `${NAME:?complaint}` with the values that are given."""

    def value(match: re.Match[str]) -> str:
        name, mark, default = match.groups()
        found = given.get(name, "")
        assert found or mark == "-", f"{name} has to be set"
        return found or default

    return {name: re.sub(r"\$\{([A-Z_]+):([-?])([^}]*)\}", value, text) for name, text in environment.items()}


@pytest.mark.parametrize("name", OURS)
def test_the_environment_of_compose_is_one_that_settings_take(name: str, image: Path) -> None:
    secrets = {"POSTGRES_PASSWORD": "p", "AGENTLOOP_SECRET_KEY": "only-for-this-test-" * 3}
    environment = resolved(COMPOSE["services"][name]["environment"], secrets)
    assert not any("$" in text for text in environment.values())
    code = "from django.conf import settings as s; print(s.PORT, s.HOST, s.DATABASES['default']['HOST'], s.WEB_THREADS)"
    assert settings_say(image, environment, code).split() == ["8000", "0.0.0.0", "postgres", "8"]


def settings_say(image: Path, environment: dict[str, str], code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=image,
        env=clean_environment(image / "home", **environment, DJANGO_SETTINGS_MODULE="agentloop.settings"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
def test_the_image_alone_is_a_whole_installation(image: Path, tmp_path: Path) -> None:
    """ENTRYPOINT and CMD in the copied folder: it serves, its health check says so, and it stops on the STOPSIGNAL."""
    [entry], command, port = instructions("ENTRYPOINT"), instructions("CMD")[-1], str(free_port())
    words = [sys.executable, *json.loads(entry)[1:], *json.loads(command)]
    environment = clean_environment(tmp_path / "home", AGENTLOOP_PORT=port, AGENTLOOP_WEB_PROCESSES="1")
    check = [sys.executable, *json.loads(instructions("HEALTHCHECK")[0].split("CMD ")[1])[1:]]

    def is_well() -> bool:
        return subprocess.run(check, cwd=image, env=environment, check=False, timeout=30).returncode == 0

    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=image, env=environment, stdout=log, stderr=log)
    try:
        assert not is_well()
        until(lambda: is_well() or process.poll() is not None, "the image is well")
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    finally:
        process.send_signal(signal.Signals[instructions("STOPSIGNAL")[0]])
        code = process.wait(40)
    assert (code, "AgentLoop runs at" in (tmp_path / "log").read_text()) == (0, True)
    assert not is_well()


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
