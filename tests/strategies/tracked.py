"""Reads back what a study left in MLflow."""

from __future__ import annotations

from typing import Any

from mlflow import MlflowClient


def runs(client: MlflowClient, role: str) -> list[Any]:
    """All active runs with this role, in every experiment."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            experiments, f"tags.role = '{role}'", max_results=1000, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


def parent_runs(client: MlflowClient) -> list[Any]:
    return runs(client, "study")


def child_runs(client: MlflowClient) -> list[Any]:
    """Child runs in the order of their trials."""
    return sorted(runs(client, "trial"), key=lambda run: int(run.data.tags["trial"]))
