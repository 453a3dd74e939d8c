"""What the JavaScript client costs the agent that calls it: benchmarks/client.mjs, beside a server of its own.

python -m benchmarks.client_js [--quick]
"""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import rig

SCRIPT = Path(__file__).with_name("client.mjs")


def main(quick: bool = False) -> list[str]:
    with rig.home():
        _, key = rig.new_project("Bench")
        with rig.web(18805) as port:
            told = {
                "BENCH_URL": f"http://127.0.0.1:{port}",
                "BENCH_KEY": key,
                "BENCH_CALLS": "5000" if quick else "20000",
            }
            done = subprocess.run(
                ["node", "--expose-gc", str(SCRIPT)],
                env={**os.environ, **told},
                stdout=subprocess.PIPE,
                text=True,
                timeout=300,
                check=True,
            )
    return done.stdout.splitlines()


if __name__ == "__main__":
    print("\n".join(main(quick="--quick" in sys.argv)))
