"""The control port's server: a thread of the engine's own process, so that it answers while the model runs
and dies with the engine.

Without a token file nothing is served, and reuse can't be switched on: an engine nobody may control stays at
its baseline.
"""

import asyncio
import logging
import socket
import threading

import uvicorn
from indexcache_core.contract import PORT_ENV

from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.routes import app

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Serves as uvicorn does, but is at rest between requests.

    That one wakes ten times a second, for its date header and for limits that are not used here, and each
    time it takes the interpreter from the engine: 1.6 ms of each second, measured.
    """

    async def main_loop(self) -> None:
        """Wait until `should_exit`, noticed within seconds."""
        while not self.should_exit:  # noqa: ASYNC110  # uvicorn's plain attribute, set from any thread
            await asyncio.sleep(5)


def serve(control: EngineControl, token: str, number: int) -> tuple[Server, int]:
    """Serve the control port from a daemon thread. Port 0 takes any free one. Returns the server and the
    port.

    Raises OSError, naming the port, where it is taken: then nothing can switch reuse on, which is the
    baseline.
    """
    listener = socket.socket(
        socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET, socket.SOCK_STREAM
    )
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::" if listener.family == socket.AF_INET6 else "0.0.0.0", number))
        listener.listen()  # at once: only a listener makes a second bind fail
    except OSError as e:
        listener.close()
        raise OSError(e.errno, f"control port {number}: {e.strerror}; set {PORT_ENV} to a free one") from e
    config = uvicorn.Config(
        app(control, token), log_level="warning", access_log=False, lifespan="off", date_header=False
    )
    server = Server(config)
    threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="indexcache-control", daemon=True
    ).start()
    bound: int = listener.getsockname()[1]
    logger.info("indexcache: control port %d, incarnation %s", bound, control.incarnation)
    return server, bound
