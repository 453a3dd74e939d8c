"""What a package owes its users: types that hold, few bytes, and one version of each name."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sdk_js.conftest import SDK, node

KILOBYTE = 1000


def run(*command: str | Path, cwd: Path = SDK) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_types_hold(tools: Path) -> None:
    run(node(), tools / "tsc")


def test_the_types_serve_who_uses_the_package(tools: Path, tmp_path: Path) -> None:
    """The package as it is published, and strict TypeScript that uses it rightly, and wrongly where it says so."""
    package = tmp_path / "node_modules" / "@agentloop" / "client"
    package.mkdir(parents=True)
    shutil.copy(SDK / "package.json", package)
    shutil.copytree(SDK / "src", package / "src")
    emit = ("--noEmit", "false", "--emitDeclarationOnly", "--declaration", "--rootDir", "src")
    run(node(), tools / "tsc", *emit, "--outDir", package / "types")
    (tmp_path / "node_modules" / "openai").symlink_to(SDK / "node_modules" / "openai")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "usage.ts").write_text((Path(__file__).parent / "usage.ts").read_text())
    strict = ("--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2023,dom,dom.iterable")
    run(node(), tools / "tsc", *strict, "usage.ts", cwd=tmp_path)


@pytest.mark.parametrize(("imported", "kilobytes"), [("{ AgentLoop }", 6.7), ("*", 12)])
def test_it_is_small(tools: Path, imported: str, kilobytes: float) -> None:
    """What a bundler keeps of the main entry, minified and with gzip, as a page carries it."""
    bundle = (tools / "esbuild", "--bundle", "--minify", "--format=esm", "--target=es2022")
    entry = f"export {imported} from './src/index.js'"
    made = subprocess.run(bundle, input=entry, cwd=SDK, capture_output=True, text=True, check=True).stdout
    assert len(gzip.compress(made.encode(), 9)) < kilobytes * KILOBYTE


def test_nothing_is_needed_at_run_time() -> None:
    package = (SDK / "package.json").read_text()
    assert '"dependencies"' not in package
    assert "resolved" not in (SDK / "package-lock.json").read_text()


def test_one_version_of_it(tmp_path: Path) -> None:
    script = "import { VERSION } from './src/http.js'; process.stdout.write(VERSION)"
    version = run(node(), "--input-type=module", "-e", script)
    assert f'"version": "{version}"' in (SDK / "package.json").read_text()


def test_it_loads_without_node_about_it() -> None:
    """An edge runtime or a page has no `process`, and old Nodes no `crypto`."""
    script = """
      delete globalThis.process; delete globalThis.crypto;
      const { AgentLoop, Router } = await import("./src/index.js");
      const loop = new AgentLoop({ apiKey: "k", baseUrl: "http://127.0.0.1:1", warn() {} });
      new Router({ goal: "g", paths: ["m"], client: loop }).choose();
      loop.logTurn("q", "a");
      console.log(loop.stats.queued); await loop.close(0);"""
    assert run(node(), "--input-type=module", "-e", script).strip() == "1"


def test_what_is_written_here_asks_for_nothing_of_node() -> None:
    for path in {*(SDK / "src").rglob("*.js")} - {SDK / "src" / "spool.js"}:
        text = path.read_text()
        assert 'from "node:' not in text, path
