"""Whether a container's role is well: `python deploy/healthcheck.py web|worker|beat`. Exits with 0 or 1."""

import http.client
import os
import sys
from pathlib import Path


def web() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("AGENTLOOP_PORT") or 8000), timeout=4)
    connection.request("GET", "/readyz")
    return connection.getresponse().status == 200


def process(role: str) -> bool:
    """The supervisor starts a role again by itself: that the role's process is there is what is asked here."""
    wanted = f"AGENTLOOP_SUPERVISED={role}@".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes():
                return True
        except OSError:
            continue
    return False


def main(role: str) -> int:
    try:
        return 0 if (web() if role == "web" else process(role)) else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
