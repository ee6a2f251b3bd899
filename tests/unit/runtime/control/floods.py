"""Lists bytes with which strangers flood the control port."""

FLOODS = {
    "endless header": b"GET / HTTP/1.1\r\nX: " + b"y" * 65536,
    "endless lines": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
    "garbage": bytes(range(256)) * 256,
    "pipelined requests": b"GET /v1/state HTTP/1.1\r\nHost: x\r\n\r\n" * 1000,
    "huge bodies": b"PUT /v1/flags HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + b" " * 65536,
}
"""By name: each is sent again and again."""
