"""One TLS 1.3 handshake after another, each with one request; prints how many and how long.

Arguments: host port count token resumed|full. With `resumed` every handshake takes up the session
of the one before; if a single one is not resumed (or is, where it should not be), that is an error.
"""

import json
import socket
import ssl
import sys
import time


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def main() -> None:
    host, port, count, token, kind = sys.argv[1:]
    request = (
        f"GET /api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    tls, session, begun = context(), None, time.monotonic()
    for number in range(int(count)):
        with socket.create_connection((host, int(port))) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with tls.wrap_socket(plain, server_hostname="localhost", session=session) as stream:
                stream.sendall(request)
                answer = b""
                while data := stream.recv(65536):
                    answer += data
                if not answer.startswith(b"HTTP/1.1 200"):
                    sys.exit(f"answered {answer[:40]!r}")
                if stream.session_reused != (kind == "resumed" and number > 0):
                    sys.exit(f"handshake {number} reused: {stream.session_reused}")
                if kind == "resumed":
                    session = stream.session
    print(json.dumps({"requests": int(count), "seconds": time.monotonic() - begun}))


main()
