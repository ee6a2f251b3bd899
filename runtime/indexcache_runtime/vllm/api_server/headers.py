"""Tells every answer's reader which engine gave it, and in which mode: two headers on all responses of vLLM's
server.

    x-indexcache-pod: engine-7d4b-x2x9z      the host name, which in Kubernetes is the pod's
    x-indexcache-state: on                   the engine's mode, as read at most half a second before

A person who compares answers, and a load that counts them, need no access to anything else.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

POD, STATE = b"x-indexcache-pod", b"x-indexcache-state"


class Headers:
    """Adds the headers to each response, as ASGI middleware."""

    def __init__(self, app: App, mode: Callable[[], str]) -> None:
        self._app, self._mode, self._pod = app, mode, os.uname().nodename.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (POD, self._pod),
                    (STATE, self._mode().encode()),
                ]
            await send(message)

        await self._app(scope, receive, sent)
