"""Asks for a hundred answers on each of many connections of HTTP/2, and reads none of them.

Arguments: the port on loopback, the path, how many connections, the window of each stream.
"""
import socket
import ssl
import struct
import sys
import time

PORT, PATH, CONNECTIONS, WINDOW = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4])
STREAMS = 100
HEADERS, SETTINGS, WINDOW_UPDATE = 1, 4, 8
END_STREAM_AND_HEADERS = 5


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


block = (
    field(b":method", b"GET")
    + field(b":scheme", b"https")
    + field(b":authority", b"localhost")
    + field(b":path", PATH)
)
hello = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, WINDOW))
    + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30))
)
requests = b"".join(frame(HEADERS, END_STREAM_AND_HEADERS, 2 * n + 1, block) for n in range(STREAMS))

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
crowd = []
for _ in range(CONNECTIONS):
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    # Those for which there is no place wait in the queue.
    stream.settimeout(1)
    stream.connect(("127.0.0.1", PORT))
    try:
        stream = context.wrap_socket(stream, server_hostname="localhost")
        stream.sendall(hello + requests)
    except TimeoutError:
        break
    crowd.append(stream)
print(len(crowd), "connections", end=", ")
time.sleep(5)
