"""What all gateways share: keys, tokens, a certificate, an upstream, and the cores of the machine."""

import base64
import datetime
import ipaddress
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import NameOID

ISSUER = "https://issuer.example"
AUDIENCE = "orders"
HERE = Path(__file__).resolve().parent
# Of tokens, in seconds: longer than any run.
LIFETIME = 24 * 3600
CHUNK = 10_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def worker_counts() -> list[int]:
    """How many workers there can be, if load and upstream get twice as many cores of their own."""
    available = len(os.sched_getaffinity(0))
    return [1] + [count for count in (2, 4, 8) if 3 * count <= available]


def cores() -> tuple[list[int], set[int]]:
    """Those of the gateway, of which it has the first, and more only with more workers; and those
    of load and upstream."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        sys.exit("a gateway and its load need a core each; there is only one here")
    most = worker_counts()[-1]
    return available[:most], set(available[most:])


def spawn(command: list[str], core: set[int], **options) -> subprocess.Popen:
    return subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, sorted(core))), *map(str, command)], **options
    )


def wait_for_port(port: int, process: subprocess.Popen, log: Path) -> None:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        if process.poll() is not None:
            sys.exit(f"a process ended at once, see {log}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.001)
    sys.exit(f"nobody listens on port {port} after 30 s, see {log}")


def base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@dataclass
class SigningKey:
    """A key of the issuer's; `algorithm` is what JWS calls it."""

    algorithm: str
    kid: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def rs256(cls) -> "SigningKey":
        return cls("RS256", "rsa", rsa.generate_private_key(65537, 2048))

    @classmethod
    def es256(cls) -> "SigningKey":
        return cls("ES256", "ec", ec.generate_private_key(ec.SECP256R1()))

    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self) -> dict:
        numbers = self.private.public_key().public_numbers()

        def integer(value: int, length: int | None = None) -> str:
            length = length or (value.bit_length() + 7) // 8
            return base64url(value.to_bytes(length, "big")).decode()

        common = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        if self.algorithm == "RS256":
            return common | {"kty": "RSA", "n": integer(numbers.n), "e": integer(numbers.e)}
        return common | {
            "kty": "EC",
            "crv": "P-256",
            "x": integer(numbers.x, 32),
            "y": integer(numbers.y, 32),
        }

    def sign(self, text: bytes) -> bytes:
        if self.algorithm == "RS256":
            return self.private.sign(text, padding.PKCS1v15(), hashes.SHA256())
        r, s = utils.decode_dss_signature(self.private.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def token(self, subject: str, **changes) -> str:
        """A token as identity providers make them, about 700 bytes long with RS256."""
        now = int(time.time())
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid}
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + 2 * LIFETIME,
            "scope": "openid profile email",
            "email": f"{subject}@example.com",
            "jti": base64url(os.urandom(16)).decode(),
        } | changes
        signed = b".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return (signed + b"." + base64url(self.sign(signed))).decode()


@dataclass
class Arena:
    """Where the comparison takes place. `close` stops what it started."""

    work: Path
    rsa_certificate: bool = False
    keys: dict[str, SigningKey] = field(default_factory=dict)
    upstream_port: int = 0
    echo_port: int = 0
    sink_port: int = 0
    started: list[subprocess.Popen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateway_cores, self.load_cores = cores()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.keys = {"RS256": SigningKey.rs256(), "ES256": SigningKey.es256()}
        shutil.rmtree(self.work / "arena", ignore_errors=True)
        self.folder = self.work / "arena"
        self.folder.mkdir(parents=True)
        self._write_certificate()
        for key in self.keys.values():
            (self.folder / f"{key.kid}.pub.pem").write_bytes(key.public_pem())
        self._start_upstreams()

    def _write_certificate(self) -> None:
        key = (
            rsa.generate_private_key(65537, 2048)
            if self.rsa_certificate
            else ec.generate_private_key(ec.SECP256R1())
        )
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        ).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self.folder / "tls.crt").write_bytes(certificate)
        (self.folder / "tls.key").write_bytes(private)
        (self.folder / "tls.key").chmod(0o600)
        (self.folder / "tls.pem").write_bytes(certificate + private)

    def _start_upstreams(self) -> None:
        self.upstream_port, self.echo_port, self.sink_port = (free_port() for _ in range(3))
        folder = self.folder / "upstream"
        folder.mkdir()
        (folder / "large").write_bytes(os.urandom(CHUNK))
        configuration = UPSTREAM.format(
            folder=folder, port=self.upstream_port, workers=self.load_threads
        )
        (folder / "nginx.conf").write_text(configuration)
        log = folder / "stderr.log"
        with log.open("w") as errors:
            nginx = spawn(
                ["nginx", "-p", folder, "-c", folder / "nginx.conf"], self.load_cores, stderr=errors
            )
            others = spawn(
                [sys.executable, HERE / "upstreams.py", self.echo_port, self.sink_port],
                self.load_cores,
                stderr=errors,
            )
        self.started += [nginx, others]
        wait_for_port(self.upstream_port, nginx, log)
        wait_for_port(self.sink_port, others, log)

    @property
    def load_threads(self) -> int:
        """For the load; the upstream has as many."""
        return max(1, len(self.load_cores) // 2)

    def tokens(self, algorithm: str, count: int, batch: int = 0) -> Path:
        """A file with so many tokens, one a line; every batch has others."""
        path = self.folder / f"tokens-{algorithm}-{count}-{batch}"
        if not path.exists():
            key = self.keys[algorithm]
            print(f"  signing {count} {algorithm} tokens", flush=True)
            with path.open("w") as file:
                for number in range(count):
                    file.write(key.token(f"user{batch}-{number}") + "\n")
        return path

    def close(self) -> None:
        for process in self.started:
            process.terminate()
        for process in self.started:
            process.wait()


UPSTREAM = """\
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes {workers};
events {{ worker_connections 16384; }}
http {{
    access_log off; client_max_body_size 0; keepalive_requests 1000000000; keepalive_timeout 1h;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    client_body_buffer_size 64k; sendfile on;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "$http_x_auth_subject, good day\\n"; }}
        location /api/token {{ return 200 "$http_authorization"; }}
        location /api/large {{ alias {folder}/large; }}
    }}
}}
"""
