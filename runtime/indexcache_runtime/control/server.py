"""The control port's server: a thread of the engine's own process, so that it answers while the model runs
and dies with the engine.

Without a token file nothing is served, and reuse can't be switched on: an engine nobody may control stays at
its baseline.

The thread shares the interpreter with the engine's. So it is at rest while nothing comes, a turn of its loop
reads at most READ_BYTES of each connection, and strangers have a share of its time and no more (pace.py): who
sends faster than that is left to fill the kernel's buffers, and is then held up by TCP. A turn that has to
wait for the strangers' sake lets everybody wait, for PAUSE_SECONDS at most: a kill is among the connections
that the next turn reads.
"""

import contextlib
import heapq
import logging
import selectors
import socket
import threading
import time

from indexcache_core.contract import PORT_ENV

from indexcache_runtime.access import Credentials
from indexcache_runtime.control import limits
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.pace import Pace
from indexcache_runtime.control.peer import Peer, Stage
from indexcache_runtime.control.routes import Routes

logger = logging.getLogger(__name__)
GONE = (BlockingIOError, InterruptedError)
"""What a socket raises when there is nothing to read, or no room to write."""


class Server:
    """Serves a listener's connections, each a Peer."""

    def __init__(self, routes: Routes, listener: socket.socket) -> None:
        self._routes, self._listener = routes, listener
        self._peers: dict[socket.socket, Peer] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = socket.socketpair()
        self._pace = Pace(
            share=limits.STRANGERS_SHARE, burst_seconds=limits.STRANGERS_BURST_SECONDS, now=time.monotonic()
        )
        self._thread = threading.Thread(target=self._run, name="indexcache-control", daemon=True)
        self._stopped = False

    def start(self) -> None:
        """Serve from now on, from a thread."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """Serve no more, and return when the port and all connections are closed."""
        self._stopped = True
        self._wake.send(b"\0")
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        failing = False
        while not self._stopped:
            try:
                self._turn()
                failing = False
            except Exception:  # a port that died would leave an engine that nobody can stop
                if not failing:
                    logger.exception("indexcache: the control port failed; it goes on")
                failing = True
                time.sleep(limits.PAUSE_SECONDS)
        for peer in list(self._peers):
            self._close(peer)
        for own in (self._listener, self._selector):
            own.close()

    def _turn(self) -> None:
        """Wait until something is to be done, and do it once for everybody."""
        nearest = min((peer.deadline for peer in self._peers.values()), default=None)
        ready = self._selector.select(None if nearest is None else max(nearest - time.monotonic(), 0.0))
        began, admitted = time.thread_time(), 0.0
        for key, _ in ready:
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._peers:
                admitted += self._serve(key.fileobj)
        now = time.monotonic()
        for connection, peer in list(self._peers.items()):
            if peer.deadline <= now:
                peer.late(now)
                self._settle(connection, peer)
        self._pace.used(time.thread_time() - began - admitted)
        pause = self._pace.pause(time.monotonic())
        if pause > 0.0:
            time.sleep(min(pause, limits.PAUSE_SECONDS))

    def _accept(self) -> None:
        """Take the connections that wait, and read what they have sent, which is mostly all by now."""
        accepted: list[socket.socket] = []
        for _ in range(limits.LOOKED_AT_ONCE):
            if len(accepted) == limits.ACCEPTED_AT_ONCE:
                break
            try:
                connection = self._listener.accept()[0]
                if _is_gone(connection):
                    connection.close()
                else:
                    accepted.append(connection)
            except (*GONE, ConnectionError):
                break
            except OSError as e:  # no more files, or no memory
                logger.warning("indexcache: the control port can't take a connection: %s", e.strerror)
                self._make_room(1)
                time.sleep(limits.PAUSE_SECONDS)
                break
        self._make_room(len(self._peers) + len(accepted) - limits.CONNECTIONS)
        for connection in accepted:
            connection.setblocking(False)
            self._peers[connection] = Peer(self._routes, time.monotonic())
            self._selector.register(connection, selectors.EVENT_READ)
            self._serve(connection)

    def _make_room(self, count: int) -> None:
        """Close the connections that are missed least: those that have their answer, else the oldest
        strangers, else those that were silent for longest."""

        def rank(item: tuple[socket.socket, Peer]) -> tuple[int, float]:
            peer = item[1]
            if peer.stage is Stage.DRAIN:
                return 0, peer.heard
            if not peer.was_admitted:
                return 1, peer.opened
            return (2 if peer.is_idle else 3), peer.heard

        for connection, _ in heapq.nsmallest(count, self._peers.items(), key=rank):
            self._close(connection)

    def _serve(self, connection: socket.socket) -> float:
        """Read once from a connection, and write what it will take. Returns the processor time that this took
        of a peer that has shown the token; 0 for a stranger."""
        peer, began = self._peers[connection], time.thread_time()
        try:
            if peer.wants_bytes:
                data = connection.recv(limits.READ_BYTES)
                peer.received(data, time.monotonic())
        except GONE:
            pass
        except OSError:
            peer.stage = Stage.ENDED
        except Exception:  # of one call; whoever made it sees a closed connection
            logger.exception("indexcache: a call to the control port failed")
            peer.stage = Stage.ENDED
        self._settle(connection, peer)
        return time.thread_time() - began if peer.was_admitted else 0.0

    def _settle(self, connection: socket.socket, peer: Peer) -> None:
        """Send what is to be sent, and wait for what comes next."""
        try:
            while peer.outgoing and peer.stage is not Stage.ENDED:
                peer.sent(connection.send(peer.outgoing), time.monotonic())
                if peer.stage is Stage.DRAIN:
                    connection.shutdown(socket.SHUT_WR)
        except GONE:
            pass
        except OSError:
            peer.stage = Stage.ENDED
        except Exception:
            logger.exception("indexcache: a call to the control port failed")
            peer.stage = Stage.ENDED
        if peer.stage is Stage.ENDED:
            self._close(connection)
            return
        wanted = (selectors.EVENT_READ if peer.wants_bytes else 0) | (
            selectors.EVENT_WRITE if peer.outgoing else 0
        )
        if self._selector.get_key(connection).events != wanted:
            self._selector.modify(connection, wanted)

    def _close(self, connection: socket.socket) -> None:
        del self._peers[connection]
        self._selector.unregister(connection)
        with contextlib.suppress(OSError):
            connection.close()


def _is_gone(connection: socket.socket) -> bool:
    """Return whether its peer has reset it, or closed it without having sent anything."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except GONE:
        return False
    except OSError:
        return True


def serve(control: EngineControl, credentials: Credentials, number: int) -> tuple[Server, int]:
    """Serve the control port from a daemon thread. Port 0 takes any free one. Returns the server and the
    port.

    Raises OSError, naming the port, where it is taken: then nothing can switch reuse on, which is the
    baseline.
    """
    routes = Routes(control, credentials)
    listener = socket.socket(
        socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET, socket.SOCK_STREAM
    )
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::" if listener.family == socket.AF_INET6 else "0.0.0.0", number))
        listener.listen(1024)  # at once: only a listener makes a second bind fail
    except OSError as e:
        listener.close()
        raise OSError(e.errno, f"control port {number}: {e.strerror}; set {PORT_ENV} to a free one") from e
    bound: int = listener.getsockname()[1]
    server = Server(routes, listener)
    server.start()
    logger.info("indexcache: control port %d, incarnation %s", bound, control.incarnation)
    return server, bound
