"""A link with latency: a proxy that hands on every byte after a delay, in both directions. Node A is reached through it by listening on
127.0.0.1 and telling the others 127.0.1.1 (`--advertise`), where the proxy listens on the same port."""

from __future__ import annotations

import asyncio
import threading

PROXY_HOST = "127.0.1.1"
NODE_HOST = "127.0.0.1"
CHUNK_BYTES = 1 << 16
# What may be on its way in one direction, so that a long link does not take unbounded memory.
WINDOW_CHUNKS = 4096


class DelayedLink:
    """Passes connections to PROXY_HOST:port on to NODE_HOST:port. `delay` (seconds, one way) may change at any time."""

    def __init__(self, port: int):
        self.port = port
        self.delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._connection, PROXY_HOST, self.port))
        self._ready.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _connection(self, reader, writer) -> None:
        try:
            # The handshake of TCP takes a round trip too.
            await asyncio.sleep(2 * self.delay)
            there, back = await asyncio.open_connection(NODE_HOST, self.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader, writer) -> None:
        queue: asyncio.Queue = asyncio.Queue(WINDOW_CHUNKS)

        async def read():
            try:
                while chunk := await reader.read(CHUNK_BYTES):
                    await queue.put((self._loop.time() + self.delay, chunk))
            except OSError:
                pass
            await queue.put((self._loop.time() + self.delay, b""))

        reading = asyncio.ensure_future(read())
        try:
            while True:
                due, chunk = await queue.get()
                await asyncio.sleep(due - self._loop.time())
                if not chunk:
                    break
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            reading.cancel()
            writer.close()
