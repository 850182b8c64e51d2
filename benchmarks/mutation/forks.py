"""Tests in forks of one process that has imported the libraries, some at a time."""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import json
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage
import pytest

#: Bytes that one fork may take.
_MEMORY = 8 * 2**30


@dataclass(frozen=True)
class Work:
    """What one fork does: a name, what it calls with its folder and whose answer is kept, and its seconds."""

    name: str
    call: Callable[[Path], Any]
    limit: float


def answers(works: Iterable[Work], jobs: int) -> Iterator[tuple[str, Any]]:
    """Names and answers, as they come. The answer is None if a fork did not end in time, or broke."""
    waiting, running = iter(works), dict[int, tuple[Work, Path, float]]()
    try:
        while True:
            while len(running) < jobs and (work := next(waiting, None)):
                folder = Path(tempfile.mkdtemp(prefix="mutant-"))
                running[_fork(work, folder)] = work, folder, time.monotonic() + work.limit
            if not running:
                return
            time.sleep(0.02)
            for child, (work, folder, deadline) in list(running.items()):
                ended = os.waitpid(child, os.WNOHANG)[0]
                if ended or time.monotonic() > deadline:
                    del running[child]
                    yield work.name, _answer(child, folder, ended=bool(ended))
    finally:
        for child, (_, folder, _) in running.items():
            _answer(child, folder, ended=False)


def _fork(work: Work, folder: Path) -> int:
    if child := os.fork():
        return child
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    heard = os.dup(2)
    for stream in (1, 2):
        os.dup2(os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    try:
        (folder / "draft").write_text(json.dumps(work.call(folder)))
        (folder / "draft").rename(folder / "answer")
    except BaseException:
        os.write(heard, traceback.format_exc().encode())
    finally:
        os._exit(0)


def _answer(child: int, folder: Path, *, ended: bool) -> Any:
    """What a fork wrote. Ends it and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    file = folder / "answer"
    answer = json.loads(file.read_text()) if file.exists() else None
    shutil.rmtree(folder, ignore_errors=True)
    return answer


class _Watch:
    """A plugin: which tests failed and how long each took; runs only some, in an order, if it is given them."""

    def __init__(self, chosen: list[str] | None = None, counted: coverage.Coverage | None = None) -> None:
        self.chosen, self.counted = chosen, counted
        self.failed: list[str] = []
        self.passed: dict[str, float] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.chosen is not None:
            order = {name: place for place, name in enumerate(self.chosen)}
            items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if self.counted:
            self.counted.switch_context(item.nodeid)
        result = yield
        if self.counted:
            self.counted.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.passed:
            self.passed[report.nodeid] = self.passed.get(report.nodeid, 0) + report.duration


def reached(test: str, files: list[Path]) -> Callable[[Path], Any]:
    """Call for a fork that runs the tests of a file, and answers with their seconds and the lines that each reached.

    The lines of a source are the bits of a number. Those that run when a module is imported have the name "" for a test. Tests
    that fail are left out.
    """

    def call(folder: Path) -> Any:
        counted = coverage.Coverage(data_file=None, include=[str(file) for file in files], config_file=False)
        counted.start()
        watch = _Watch(counted=counted)
        _pytest(folder, [test], watch)
        counted.stop()
        data = counted.get_data()
        lines: dict[str, Counter[str]] = {name: Counter() for name in ("", *watch.passed) if name not in watch.failed}
        for file in sorted(data.measured_files()):
            for line, names in data.contexts_by_lineno(file).items():
                for name in lines.keys() & set(names):
                    lines[name][file] += 1 << line
        tests = {name: {"seconds": watch.passed.get(name, 0), "lines": found} for name, found in lines.items()}
        return {"tests": tests, "failed": sorted(set(watch.failed))}

    return call


def tried(file: Path, tree: ast.Module, tests: list[str]) -> Callable[[Path], Any]:
    """Call for a fork that runs tests with a broken module, and answers with the first that fails, or ""."""

    def call(folder: Path) -> Any:
        if not tests:
            return ""
        real = importlib.machinery.SourceFileLoader.get_code

        def get_code(self: Any, name: str) -> Any:
            return compile(tree, str(file), "exec") if Path(self.path) == file else real(self, name)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]
        watch = _Watch(tests)
        code = _pytest(folder, ["-x", *dict.fromkeys(test.split("::")[0] for test in tests)], watch)
        return "" if code == pytest.ExitCode.OK else (watch.failed or ["the import"])[0]

    return call


def _pytest(folder: Path, words: list[str], watch: _Watch) -> int:
    # No plugin is needed, and some warn of libraries that were imported before them.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return int(pytest.main(["-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'pytest'}", *words], plugins=[watch]))
