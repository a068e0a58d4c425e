"""A store of a test's own, workers as the Procfile starts them, and the sandbox for wolkvox."""

from __future__ import annotations

import os
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path

from integration.local.child_process import spawn
from support import ENVIRON, account, make_services
from support.installation import Installation
from support.procfile import ROOT, procfile_line
from support.waiting import wait_until


class WorkerProcesses(Installation):
    """A store of its own, workers, and the sandbox."""

    def __init__(self, folder, server, sandbox, more, names=("bogota",)):
        self.folder = folder
        self.server = server
        self.sandbox = sandbox
        self.copy_folder = folder / "copy"
        self.text = "".join(account(name, sandbox.url, token=f"token-of-{name}", more=more) for name in names)
        super().__init__(self.fresh_services())
        self.services.binding.bind()
        self.logs = []
        self.workers = []

    def fresh_services(self):
        """A services of a process that has seen nothing yet."""
        return make_services(self.folder, self.server.client(), self.text)

    def start_worker(self, **more):
        log = self.folder / f"worker{len(self.logs)}.log"
        self.logs.append(log)
        environ = {
            **os.environ,
            **ENVIRON,
            "RINGBACK_CONFIG": str(self.folder / "ringback.toml"),
            "REDIS_URL": self.server.url,
            "WORKER_CONCURRENCY": "4",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **more,
        }
        if "BROKER_URL" not in more:
            environ.pop("BROKER_URL", None)
        with log.open("ab") as out:
            command = ["sh", "-c", f"exec {procfile_line('worker')}"]
            self.workers.append(spawn(command, env=environ, cwd=ROOT, output=out))
        wait_until(lambda: b" ready" in log.read_bytes(), 60, what="the worker")
        return self.workers[-1]

    def kill_workers(self):
        for worker in self.workers:
            worker.kill()
        self.workers.clear()

    def wake_up(self, account="bogota"):
        """Return the arguments of the task that drains an account's queue."""
        queue = self.queue_of(account)
        return queue, int(
            self.services.store.client.hget(self.services.store.key(f"queue:{queue}"), "wake_up_at")
        )

    def copy_store(self):
        """Keep a copy of the store's folder as it is now."""
        self.server.kill()
        shutil.copytree(self.server.folder, self.copy_folder, ignore=shutil.ignore_patterns("*.sock"))
        self.server.start()
        wait_until(self._reaches_the_store, what="the store")

    def _reaches_the_store(self):
        self.services.binding.bind()
        return True

    def put_copy_back(self):
        """Let the store go on with the copy; gives when, in epoch seconds."""
        self.server.kill()
        shutil.rmtree(self.server.folder)
        shutil.copytree(self.copy_folder, self.server.folder)
        began = time.time()
        self.server.start()
        return began

    def calls(self):
        return [datetime.fromisoformat(call["received_at"]).timestamp() for call in self.sandbox.calls()]

    def reports(self):
        lines = [line for log in self.logs for line in log.read_text("utf-8", "replace").splitlines()]
        return [
            line
            for line in lines
            if "the store lost data; each queue waits for the length of its lease" in line
        ]
