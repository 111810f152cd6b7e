"""Opens many TLS connections, sends a request on each, says so, and holds them until told to go.

Arguments: host port count token. Prints `open` when all are, ends when standard input does, and
before that sends a last request on each: an idle connection must still be a connection.
"""

import socket
import ssl
import sys


def ask(stream: ssl.SSLSocket, request: bytes) -> None:
    stream.sendall(request)
    answer = b""
    while b"good day\n" not in answer:
        data = stream.recv(65536)
        if not data:
            sys.exit(f"closed after {answer[:40]!r}")
        answer += data
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"answered {answer[:40]!r}")


def main() -> None:
    host, port, count, token = sys.argv[1:]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    request = (
        f"GET /api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()
    streams = []
    for _ in range(int(count)):
        plain = socket.create_connection((host, int(port)))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        streams.append(tls.wrap_socket(plain, server_hostname="localhost"))
        ask(streams[-1], request)
    print("open", flush=True)
    sys.stdin.read()
    for stream in streams:
        ask(stream, request)
    print("still open", flush=True)


main()
