"""Sends messages on WebSocket connections and waits for each to come back.

Arguments: host port connections messages token. Every connection has one message of 64 bytes under
way at any time; prints how many came back and how long that took.
"""

import json
import os
import selectors
import socket
import ssl
import sys
import time

MESSAGE = os.urandom(64)
# Masked with zeros, which leaves the message as it is.
SENT = bytes([0x82, 0x80 | len(MESSAGE)]) + bytes(4) + MESSAGE
RETURNED = bytes([0x82, len(MESSAGE)]) + MESSAGE


def connect(tls: ssl.SSLContext, host: str, port: int, token: str) -> ssl.SSLSocket:
    plain = socket.create_connection((host, port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = tls.wrap_socket(plain, server_hostname="localhost")
    stream.sendall(
        (
            "GET /ws/echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = stream.recv(4096)
        if not data:
            sys.exit(f"closed after {answer[:40]!r}")
        answer += data
    if not answer.startswith(b"HTTP/1.1 101"):
        sys.exit(f"answered {answer[:40]!r}")
    return stream


def main() -> None:
    host, port, connections, messages, token = sys.argv[1:]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    streams = [connect(tls, host, int(port), token) for _ in range(int(connections))]
    selector = selectors.DefaultSelector()
    unread = {stream: b"" for stream in streams}
    begun = time.monotonic()
    for stream in streams:
        stream.setblocking(False)
        selector.register(stream, selectors.EVENT_READ)
        stream.send(SENT)
    left = int(messages)
    while left > 0:
        for key, _ in selector.select(10) or sys.exit("nothing came back for 10 s"):
            stream = key.fileobj
            try:
                data = stream.recv(65536)
            except ssl.SSLWantReadError:
                continue
            if not data:
                sys.exit("a connection was closed")
            unread[stream] += data
            if len(unread[stream]) >= len(RETURNED):
                if unread[stream] != RETURNED:
                    sys.exit("another message came back")
                unread[stream] = b""
                left -= 1
                stream.send(SENT)
    print(json.dumps({"requests": int(messages), "seconds": time.monotonic() - begun}))


main()
