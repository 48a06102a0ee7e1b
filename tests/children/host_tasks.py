"""An agent behind Celery, whose broker and results are folders: ``HOST_FOLDER`` has them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import host_app
from celery import Celery

folder = Path(os.environ["HOST_FOLDER"])
for name in ("queue", "results", "control"):
    (folder / name).mkdir(exist_ok=True)

app = Celery("host_tasks", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": f"{folder}/queue",
        "data_folder_out": f"{folder}/queue",
        "control_folder": f"{folder}/control",
        "polling_interval": 0.05,
    },
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)


@app.task(name="turn")
def turn(name: str, thread: str, asynchronous: bool) -> dict[str, Any]:
    take = host_app.take_turn_async if asynchronous else host_app.take_turn
    return {"pid": os.getpid(), "turns": take(host_app.graphs[name], thread)}
