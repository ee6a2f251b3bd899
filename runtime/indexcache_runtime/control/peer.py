"""Holds one connection to the control port: bytes in, bytes out, and until when. Reads no socket and no
clock, so that every order of events can be played to it.

    HEAD -> BODY -> ANSWER -> HEAD ...            the connection is kept, if the peer and the answer want it
                    ANSWER -> DRAIN -> ENDED      it is closed: what still comes is dropped for a moment

Invariants: no more is kept than one head, one body and one answer; nothing is read while an answer waits to
be taken; every stage has a deadline, which no byte of the peer's puts off; a stranger's body is never kept.
"""

from dataclasses import replace
from enum import Enum

import h11
from indexcache_core.contract import MAX_BODY

from indexcache_runtime.control import limits, request_head
from indexcache_runtime.control.routes import NOT_MODIFIED, Answer, Call, Routes


class Stage(Enum):
    """Says what a connection waits for."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    DRAIN = "drain"
    ENDED = "ended"


class Peer:
    """Holds one connection's conversation."""

    def __init__(self, routes: Routes, now: float) -> None:
        self._routes = routes
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HEAD_BYTES)
        self.stage = Stage.HEAD
        self.deadline = now + limits.HEAD_SECONDS
        self.was_admitted = False
        """Whether the peer has shown the token."""
        self.is_idle = True
        """Whether nothing of a request has come since the last answer."""
        self.opened = self.heard = now
        """When the connection was opened, and when something came last."""
        self.outgoing = b""
        """What is to be sent, as it stands."""
        self._head = bytearray()
        self._body = bytearray()
        self._call: Call | None = None
        self._closes = False
        self._dropped = 0

    @property
    def wants_bytes(self) -> bool:
        """Return whether the connection is to be read."""
        return self.stage in (Stage.HEAD, Stage.BODY, Stage.DRAIN)

    def received(self, data: bytes, now: float) -> None:
        """Take what came; b"" says that the peer sends no more."""
        self.heard = now
        if self.stage is Stage.DRAIN:
            self._dropped += len(data)
            most = limits.DRAIN_BYTES_ADMITTED if self.was_admitted else limits.DRAIN_BYTES
            if not data or self._dropped > most:
                self.stage = Stage.ENDED
        elif not data and self.stage is Stage.HEAD and not self._head:
            self.stage = Stage.ENDED  # between two requests: nothing is owed
        else:
            self._went_on(data, now)

    def sent(self, count: int, now: float) -> None:
        """Note that the peer took so many bytes of `outgoing`."""
        self.outgoing = self.outgoing[count:]
        if self.outgoing or self.stage is not Stage.ANSWER:
            return
        if self._closes:
            self.stage, self.deadline = Stage.DRAIN, now + limits.DRAIN_SECONDS
            return
        self._http.start_next_cycle()
        self.stage, self.deadline, self.is_idle = Stage.HEAD, now + limits.KEPT_SECONDS, True
        self._call, self._body, self._head = None, bytearray(), bytearray()
        if pipelined := self._http.trailing_data[0]:
            self._went_on(bytes(pipelined), now, is_new=False)

    def late(self, now: float) -> None:
        """Note that the deadline has passed."""
        if self.stage is Stage.BODY and self._call is not None:
            self._answer(
                self._routes.unreadable(
                    self._call, 408, f"not whole within {limits.BODY_SECONDS:g} s; send it at once"
                ),
                now,
            )
        elif self._call is not None and self._call.kill is not None and self.stage is Stage.HEAD:
            self._answer(
                self._routes.unreadable(self._call, 408, "the headers came too slowly; send them at once"),
                now,
            )
        else:
            self.stage = Stage.ENDED

    def _went_on(self, data: bytes, now: float, *, is_new: bool = True) -> None:
        """Read on in a request. `is_new`: whether the parser has yet to get the data."""
        try:
            if self.stage is Stage.HEAD:
                self._read_head(data, now)
            if self.stage in (Stage.HEAD, Stage.BODY):
                if is_new:
                    self._http.receive_data(data)
                self._read_events(now)
        except h11.RemoteProtocolError as e:
            self._answer(self._routes.unreadable(self._call, e.error_status_hint, f"{e}; send HTTP/1.1"), now)

    def _read_head(self, data: bytes, now: float) -> None:
        """Look at a head as far as it has come: act on a kill, and answer one that is too large."""
        if self.is_idle:
            self.is_idle = False
            self.deadline = min(self.deadline, now + limits.HEAD_SECONDS)
        self._head += data
        if self._call is None:
            authorization = request_head.kill_authorization(self._head)
            if authorization is not None and self._routes.admits(authorization):
                self._call, self.was_admitted = Call("POST", "/v1/kill", kill=self._routes.kill()), True
        too_long = len(self._head) > limits.HEAD_BYTES and not request_head.is_whole(self._head)
        if too_long or request_head.lines(self._head) > limits.HEAD_LINES:
            most = f"{limits.HEAD_LINES} lines or {limits.HEAD_BYTES} bytes"
            answer = self._routes.head_too_large(most)
            if self._call is not None:
                answer = self._routes.unreadable(self._call, answer.status, f"headers of more than {most}")
            self._answer(answer, now)

    def _read_events(self, now: float) -> None:
        while self.stage in (Stage.HEAD, Stage.BODY):
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                if self.stage is Stage.BODY and self._http.they_are_waiting_for_100_continue:
                    self.outgoing += (
                        self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                    )
                return
            if isinstance(event, h11.Request):
                self._began(event, now)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_BODY:
                    assert self._call is not None
                    self._answer(self._routes.too_large(self._call, f"more than {MAX_BODY} bytes"), now)
            elif isinstance(event, h11.EndOfMessage):
                assert self._call is not None
                self._answer(self._routes.answer(self._call, bytes(self._body)), now)
            else:  # the peer closed
                self.stage = Stage.ENDED

    def _began(self, request: h11.Request, now: float) -> None:
        """Take a whole head."""
        headers = dict(request.headers)
        kill = self._call.kill if self._call is not None else None
        if kill is None and not self._routes.admits(headers.get(b"authorization", b"")):
            self.was_admitted = False
            self._answer(self._routes.unauthorized(), now)
            return
        self.was_admitted = True
        call = Call(
            request.method.decode("ascii"),
            request.target.partition(b"?")[0].decode("ascii", "replace"),
            headers.get(b"content-length", b"").decode("ascii", "replace"),
            kill,
            _tag(headers.get(b"if-none-match", b"")),
        )
        if kill is None and call.is_kill:
            call = replace(call, kill=self._routes.kill())
        self._call = call
        answer = self._routes.before_body(call)
        if answer is not None:
            self._answer(answer, now)
        else:
            self.stage, self.deadline = Stage.BODY, now + limits.BODY_SECONDS
            self._head = bytearray()

    def _answer(self, answer: Answer, now: float) -> None:
        self._head, self._body = bytearray(), bytearray()
        headers = [("etag", f'"{answer.tag}"')] if answer.tag else []
        if answer.status != NOT_MODIFIED:
            headers += [("content-length", str(len(answer.body))), ("content-type", "application/json")]
        if answer.close:
            headers.append(("connection", "close"))
        try:
            parts: tuple[h11.Event, ...] = (
                h11.Response(status_code=answer.status, headers=headers),
                *([h11.Data(data=answer.body)] if answer.body else []),
                h11.EndOfMessage(),
            )
            self.outgoing += b"".join(self._http.send(part) or b"" for part in parts)
        except h11.LocalProtocolError:  # nothing can be answered any more
            self.stage = Stage.ENDED
            return
        self._closes = self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE
        self.stage, self.deadline = Stage.ANSWER, now + limits.ANSWER_SECONDS


def _tag(value: bytes) -> str:
    """Return the one tag that an If-None-Match header names; empty for what else it may hold, which is
    answered in full.
    """
    found = value.decode("ascii", "replace")
    return found[1:-1] if len(found) > 2 and found[0] == found[-1] == '"' and '"' not in found[1:-1] else ""
