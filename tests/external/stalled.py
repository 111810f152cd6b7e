"""Downloads the same file again and again, each time on a connection of its own, fast and almost to
the end, where it stops.

Arguments: the port on loopback, the path, how many connections.
"""
import socket
import ssl
import sys

# Of which the kernel has most, the gateway the rest, and the upstream none.
STILL_TO_COME = 550_000

PORT, PATH, CONNECTIONS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
crowd, buffer = [], bytearray(1 << 18)
for _ in range(CONNECTIONS):
    stream = socket.socket()
    # What stops is to stop in the gateway, not here.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
    # Those for which there is no place wait in the queue.
    stream.settimeout(2)
    try:
        stream.connect(("127.0.0.1", PORT))
        stream = context.wrap_socket(stream, server_hostname="localhost")
    except TimeoutError:
        break
    stream.sendall(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    length = stream.recv_into(buffer)
    head, _, body = bytes(buffer[:length]).partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = int(fields[b"content-length"]) - len(body) - STILL_TO_COME
    while left > 0:
        left -= stream.recv_into(buffer)
    crowd.append(stream)
if len(crowd) < 32:
    sys.exit(f"only {len(crowd)} of them were served")
print(len(crowd), "connections", end=", ")
