"""Suite-wide rules: a skipped test is a failure where everything is meant to be installed."""

import os

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skipped tests when skips are forbidden (the CI sets COSEARCH_FORBID_SKIPS)."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("COSEARCH_FORBID_SKIPS"):
        terminalreporter.section("skipped although everything is installed")
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session on a skip when skips are forbidden."""
    if not os.environ.get("COSEARCH_FORBID_SKIPS") or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
