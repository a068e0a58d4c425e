"""A TCP proxy on loopback that can be cut, slowed down or made to swallow everything for a while.

Bytes are never altered, dropped or reordered within a connection: what was held arrives late, as on a
real line, also after the one who sent it has given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time


class Proxy:
    """Passes connections on to a port of this machine, from a thread of its own."""

    def __init__(self, listen_port: int, target_port: int) -> None:
        self.port = listen_port
        self._target = target_port
        self._delay = 0.0
        self.well_since: float | None = time.time()
        self._cut = False
        self._open: asyncio.Event
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy {listen_port}", daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the proxy does not listen"

    def pass_on(self) -> None:
        """End every fault; what was held goes on its way."""
        self._loop.call_soon_threadsafe(self._set, False, 0.0, True)

    def cut(self) -> None:
        """Reset all connections, and every new one."""
        self._loop.call_soon_threadsafe(self._set, True, 0.0, True)

    def hold(self) -> None:
        """Take everything and pass nothing on."""
        self._loop.call_soon_threadsafe(self._set, False, 0.0, False)

    def slow(self, seconds: float) -> None:
        """Let every piece of data take that long."""
        self._loop.call_soon_threadsafe(self._set, False, seconds, True)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _set(self, cut: bool, delay: float, is_open: bool) -> None:
        self._cut, self._delay = cut, delay
        self.well_since = time.time() if is_open and not cut and not delay else None
        (self._open.set if is_open else self._open.clear)()
        if cut:
            for writer in list(self._writers):
                writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._open = asyncio.Event()
        self._open.set()
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, family=socket.AF_INET)
        )
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if not self._cut:
                await self._open.wait()
                await self._join(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return
        self._writers.add(forth)
        try:
            await asyncio.gather(self._pump(reader, forth), self._pump(back, writer))
        finally:
            self._writers.discard(forth)
            forth.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            # One end has left: what it sent has arrived, and so the other end may go as well.
            writer.close()
