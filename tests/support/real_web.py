"""The web as it is really run: the Procfile's own line, on a port of its own, spoken to over sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import redis

from integration.local.supervisor import free_port, wait_until
from support import account
from support.procfile import ROOT, procfile_line


class RealWeb:
    """The web, as the Procfile starts it."""

    def __init__(self, folder, redis_url, settings):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log.txt"
        config = folder / "ringback.toml"
        config.write_text(settings, "utf-8")
        command = procfile_line("web")
        environ = {
            **os.environ,
            "RINGBACK_CONFIG": str(config),
            "REDIS_URL": redis_url,
            "PORT": str(self.port),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                env=environ,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(f"{self.url}/readyz", 60, alive=lambda: self.process.poll() is None)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextmanager
def running_web(folder, valkey, database, settings):
    """Run a web with one account and these settings, on an empty database of its own."""
    url = f"{valkey.url.rsplit('/', 1)[0]}/{database}"
    redis.Redis.from_url(url).flushdb()
    web = RealWeb(folder, url, account("bogota", token="token-of-bogota-1") + settings)
    try:
        yield web
    finally:
        web.stop()
