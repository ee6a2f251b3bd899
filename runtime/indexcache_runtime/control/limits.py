"""Bounds how much a peer of the control port may ask of it: bytes, lines, seconds, connections, and time of
its thread.

Anybody who reaches the port may connect. Up to the token a peer is a stranger, and whatever it sends must
cost the engine next to nothing: its thread shares the interpreter with the engine's.
"""

HEAD_BYTES = 16 * 1024
"""Request line and headers of one request."""
HEAD_LINES = 64
"""Lines in them: a parser's time goes by lines."""
READ_BYTES = 4096
"""Read at once from one connection, so that nobody's turn is long."""
CONNECTIONS = 128
"""At once. One more takes the place of the oldest that nobody would miss."""
ACCEPTED_AT_ONCE = 64
"""Connections taken in one turn, fewer than CONNECTIONS: each has a turn in which its request is read before
it is the oldest. A kill waits for those that came before it: of 512, eight turns, each after a pause."""
LOOKED_AT_ONCE = 256
"""Connections taken in one turn with those that are closed at once, as their peers have gone: these cost a
tenth of the others."""

HEAD_SECONDS = 3.0
"""From the connection, or the first byte of another request, to the end of the headers."""
BODY_SECONDS = 3.0
"""From the end of the headers to the end of the body."""
ANSWER_SECONDS = 5.0
"""For taking the answer."""
KEPT_SECONDS = 20.0
"""Between requests of a peer that showed the token. More than the 15 s after which the operator's client
gives up a connection by itself: else one could be closed just when a kill is sent on it."""

DRAIN_SECONDS = 1.0
"""For taking an answer after which the connection is closed. Closing a connection that holds unread bytes
takes away the answer as well, so they are read and dropped."""
DRAIN_BYTES = 64 * 1024
"""Dropped at most of what a stranger still sends."""
DRAIN_BYTES_ADMITTED = 16 * 1024 * 1024
"""The same of a peer that showed the token."""

STRANGERS_SHARE = 0.05
"""Of one processor's time, for all peers that have not shown the token."""
STRANGERS_BURST_SECONDS = 0.05
"""Of processor time that they may take before they have to wait."""
PAUSE_SECONDS = 0.1
"""The longest wait in which nobody is served."""
