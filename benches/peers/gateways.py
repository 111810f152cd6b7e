"""The gateways: how each is configured to do the same, started and stopped.

The same: TLS with the same certificate, three upstreams by path (`/api/upload`, `/ws/`, the rest),
connections to them kept open, and where it checks tokens: signature with the key for the token's
`alg`, `exp`, `iss`, `aud`, the subject in `X-Auth-Subject` whatever the client sent there, and the
token kept from the upstream. jotgate also writes its access log to a file; the peers write none.
HAProxy in TCP mode and the libraries alone have one upstream for all paths, and the former opens a
connection to it for each of a client's.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from arena import AUDIENCE, ISSUER, Arena, free_port, spawn, wait_for_port


@dataclass
class Running:
    """A gateway that listens on `port`, in some setting."""

    process: subprocess.Popen
    port: int
    folder: Path
    ready_after: float
    settings: dict

    def stop(self) -> None:
        """As an operator would: a profile is written then, if it was built to write one."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Gateway:
    """One way to run one program."""

    name = ""
    title = ""
    checks_tokens = True
    speaks_http2 = True
    upgrades = True
    # What its package or its image sets in its environment.
    environment: dict = {}

    def version(self) -> str | None:
        """What it calls itself, or nothing if it is not here."""
        raise NotImplementedError

    def configure(self, arena: Arena, folder: Path, port: int, **settings) -> list:
        """Writes its configuration and returns the command that starts it."""
        raise NotImplementedError

    def start(
        self, arena: Arena, core: set[int] | None = None, under: list | None = None, **settings
    ) -> Running:
        """`under` is a command that runs it, such as valgrind, in its folder."""
        port = free_port()
        # Of its own, since the same gateway may run in two settings.
        folder = arena.folder / f"{self.name}-{port}"
        # Not where the configuration is: jotgate watches that folder.
        logs = folder / "logs"
        logs.mkdir(parents=True)
        command = [*(under or []), *self.configure(arena, folder, port, **settings)]
        log = logs / "stderr.log"
        with log.open("w") as errors, (logs / "stdout.log").open("w") as output:
            begun = time.monotonic()
            process = spawn(
                command,
                core or {arena.gateway_cores[0]},
                cwd=folder,
                env=os.environ | self.environment,
                stdout=output,
                stderr=errors,
            )
        try:
            wait_for_port(port, process, log)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return Running(process, port, folder, time.monotonic() - begun, settings)


def everything(command: list) -> str | None:
    """What a program says, if it is here."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return (said.stdout + said.stderr).strip()


def first_line(command: list) -> str | None:
    said = everything(command)
    return said and said.splitlines()[0].strip()


def tls_library(said: str) -> str:
    """The last that is named is the one it runs with."""
    named = re.findall(r"OpenSSL (\d[\w.]*)", said)
    return f", OpenSSL {named[-1]}" if named else ""


def environment_of_the_unit() -> dict:
    """What systemd sets for jotgate."""
    unit = Path(__file__).resolve().parent.parent.parent / "deploy/systemd/jotgate.service"
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", unit.read_text(), re.MULTILINE))


class Jotgate(Gateway):
    name = "jotgate"
    title = "jotgate, everything on"
    environment = environment_of_the_unit()

    def __init__(self, binary: Path):
        self.binary = binary

    def version(self) -> str | None:
        return first_line([self.binary, "--version"])

    def configure(self, arena, folder, port, workers=1, routes=0, lines="", **_):
        more = "".join(
            f'[[route]]\npath = "/more/{number}/"\n'
            f'to = "http://127.0.0.1:{arena.upstream_port}"\nauth = "main"\n'
            for number in range(routes)
        )
        keys = ", ".join(
            f'{{ file = "{arena.folder}/{key.kid}.pub.pem", kid = "{key.kid}" }}'
            for key in arena.keys.values()
        )
        upstreams = {"/": arena.upstream_port, "/api/upload": arena.sink_port}
        text = f"""
[listen]
https = "127.0.0.1:{port}"
admin = "127.0.0.1:{free_port()}"
cert = "{arena.folder}/tls.crt"
key = "{arena.folder}/tls.key"
[issuer.main]
iss = "{ISSUER}"
aud = "{AUDIENCE}"
keys = [{keys}]
[limits]
connections_per_address = 9000
[server]
workers = {workers}
{lines}
[[route]]
path = "/ws/"
to = "http://127.0.0.1:{arena.echo_port}"
auth = "main"
upgrade = true
""" + "".join(
            f'[[route]]\npath = "{path}"\nto = "http://127.0.0.1:{to}"\nauth = "main"\n'
            for path, to in upstreams.items()
        )
        (folder / "jotgate.toml").write_text(text + more)
        return [self.binary, "run", "--config", folder / "jotgate.toml", "--log", "error"]


class Another(Jotgate):
    """A second binary of jotgate's, from before a change or built in another way."""

    name = "another"
    title = "another jotgate, everything on"


class Bare(Gateway):
    """What the libraries cost; see bare.rs."""

    name = "bare"
    title = "the libraries alone, no check"
    # As with jotgate, so that what differs is not the allocator.
    environment = environment_of_the_unit()
    checks_tokens = False
    upgrades = False

    def __init__(self, binary: Path):
        self.binary = binary

    def version(self) -> str | None:
        return "built from benches/peers/bare.rs" if self.binary.exists() else None

    def configure(self, arena, folder, port, to="upstream", **_):
        upstream = arena.sink_port if to == "sink" else arena.upstream_port
        return [
            self.binary,
            f"127.0.0.1:{port}",
            f"127.0.0.1:{upstream}",
            arena.folder / "tls.crt",
            arena.folder / "tls.key",
        ]


class HaproxyJwt(Gateway):
    name = "haproxy-jwt"
    title = "HAProxy `jwt_verify`"
    rules = """\
    http-request set-var(txn.bearer) http_auth_bearer
    http-request deny deny_status 401 unless { var(txn.bearer) -m found }
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
    http-request set-var(txn.aud) var(txn.bearer),jwt_payload_query('$.aud')
    http-request set-var(txn.sub) var(txn.bearer),jwt_payload_query('$.sub')
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless { var(txn.iss) -m str ISSUER }
    http-request deny deny_status 401 unless { var(txn.aud) -m str AUDIENCE }
    http-request deny deny_status 401 unless { var(txn.exp),sub(txn.now) -m int gt 0 }
    acl rsa var(txn.alg) -m str RS256
    acl ec var(txn.alg) -m str ES256
    http-request deny deny_status 401 unless rsa or ec
    http-request deny deny_status 401 if rsa !{ var(txn.bearer),jwt_verify(txn.alg,"FOLDER/rsa.pub.pem") -m int 1 }
    http-request deny deny_status 401 if ec !{ var(txn.bearer),jwt_verify(txn.alg,"FOLDER/ec.pub.pem") -m int 1 }
    http-request set-header X-Auth-Subject %[var(txn.sub)]
    http-request del-header Authorization
"""

    def version(self) -> str | None:
        said = everything(["haproxy", "-vv"])
        return said and " ".join(said.split()[:3]) + tls_library(said)

    def configure(self, arena, folder, port, **_):
        rules = self.rules.replace("ISSUER", ISSUER).replace("AUDIENCE", AUDIENCE)
        (folder / "haproxy.cfg").write_text(f"""
global
    nbthread 1
    maxconn 9000
    stats socket {folder}/stats level user
defaults
    mode http
    timeout client 75s
    timeout server 75s
    timeout connect 5s
    timeout tunnel 1h
    timeout http-request 10s
    timeout http-keep-alive 75s
    http-reuse always
frontend fe
    bind 127.0.0.1:{port} ssl crt {arena.folder}/tls.pem prefer-client-ciphers alpn h2,http/1.1
{rules.replace("FOLDER", str(arena.folder))}
    http-request set-header X-Forwarded-Proto https
    option forwardfor
    use_backend sink if {{ path /api/upload }}
    use_backend echo if {{ path_beg /ws/ }}
    default_backend be
backend be
    server s 127.0.0.1:{arena.upstream_port}
backend sink
    server s 127.0.0.1:{arena.sink_port}
backend echo
    server s 127.0.0.1:{arena.echo_port}
""")
        return ["haproxy", "-db", "-f", folder / "haproxy.cfg"]


class Haproxy(HaproxyJwt):
    name = "haproxy"
    title = "HAProxy, no check"
    checks_tokens = False
    # As with the others, the upstream does not read it.
    rules = "    http-request del-header Authorization\n"


class HaproxyTcp(HaproxyJwt):
    name = "haproxy-tcp"
    title = "HAProxy TCP, the floor"
    checks_tokens = False
    speaks_http2 = False

    def configure(self, arena, folder, port, to="upstream", **_):
        upstream = {
            "upstream": arena.upstream_port,
            "sink": arena.sink_port,
            "echo": arena.echo_port,
        }[to]
        (folder / "haproxy.cfg").write_text(f"""
global
    nbthread 1
    maxconn 9000
defaults
    mode tcp
    timeout client 75s
    timeout server 75s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{port} ssl crt {arena.folder}/tls.pem prefer-client-ciphers
    default_backend be
backend be
    server s 127.0.0.1:{upstream}
""")
        return ["haproxy", "-db", "-f", folder / "haproxy.cfg"]


class Nginx(Gateway):
    name = "nginx"
    title = "nginx, no check"
    checks_tokens = False

    def version(self) -> str | None:
        said = everything(["nginx", "-V"])
        return said and re.search(r"nginx/\S+", said)[0] + tls_library(said)

    def configure(self, arena, folder, port, **_):
        (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;

events {{ worker_connections 16384; }}
http {{
    access_log off; client_max_body_size 0; keepalive_requests 1000000000; keepalive_timeout 75s;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    upstream be {{ server 127.0.0.1:{arena.upstream_port}; keepalive 256; keepalive_requests 1000000000; }}
    upstream sink {{ server 127.0.0.1:{arena.sink_port}; keepalive 256; }}
    upstream echo {{ server 127.0.0.1:{arena.echo_port}; }}
    proxy_http_version 1.1; proxy_max_temp_file_size 0; proxy_request_buffering off;
    proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto https; proxy_set_header Authorization "";
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=4096;
        ssl_certificate {arena.folder}/tls.crt; ssl_certificate_key {arena.folder}/tls.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ proxy_pass http://be; }}
        location = /api/upload {{ proxy_pass http://sink; }}
        location /ws/ {{
            proxy_pass http://echo; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
""")
        return ["nginx", "-p", folder, "-c", folder / "nginx.conf"]


# Of its own accord.
ENVOYS_CACHE = 100


class EnvoyJwt(Gateway):
    name = "envoy-jwt"
    title = "Envoy `jwt_authn`, cache on"

    def __init__(self):
        found = sorted(Path(sys.prefix).glob("lib/python*/site-packages/envoy/_bin/envoy"))
        self.binary = found[0] if found else None

    def version(self) -> str | None:
        if not self.binary:
            return None
        said = subprocess.run([self.binary, "--version"], capture_output=True, text=True).stdout
        found = re.search(r"version: \w+/([\d.]+)/", said)
        return f"Envoy {found[1]}" if found else said.strip()

    def configure(self, arena, folder, port, cached_tokens=ENVOYS_CACHE, **_):
        jwks = {"keys": [key.jwk() for key in arena.keys.values()]}
        provider = {
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "forward": False,
            "require_expiration": True,
            "local_jwks": {"inline_string": json.dumps(jwks)},
            "jwt_cache_config": {"jwt_cache_size": cached_tokens},
            "claim_to_headers": [{"header_name": "x-auth-subject", "claim_name": "sub"}],
        }
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network."
            "http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "use_remote_address": True,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [
                            route("/api/upload", "sink"),
                            route("/ws/", "echo"),
                            route("/", "be"),
                        ],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.jwt_authn",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http."
                        "jwt_authn.v3.JwtAuthentication",
                        "providers": {"main": provider},
                        "rules": [
                            {"match": {"prefix": "/"}, "requires": {"provider_name": "main"}}
                        ],
                    },
                },
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http."
                        "router.v3.Router"
                    },
                },
            ],
        }
        files = {
            "certificate_chain": {"filename": str(arena.folder / "tls.crt")},
            "private_key": {"filename": str(arena.folder / "tls.key")},
        }
        tls = {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
            "DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [files],
            },
        }
        listener = {
            "address": address(port),
            "filter_chains": [
                {
                    "filters": [
                        {
                            "name": "envoy.filters.network.http_connection_manager",
                            "typed_config": manager,
                        }
                    ],
                    "transport_socket": {
                        "name": "envoy.transport_sockets.tls",
                        "typed_config": tls,
                    },
                }
            ],
        }
        clusters = [
            cluster("be", arena.upstream_port),
            cluster("sink", arena.sink_port),
            cluster("echo", arena.echo_port),
        ]
        configuration = {"static_resources": {"listeners": [listener], "clusters": clusters}}
        (folder / "envoy.json").write_text(json.dumps(configuration))
        return [
            self.binary,
            "-c",
            folder / "envoy.json",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
        ]


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def route(prefix: str, to: str) -> dict:
    return {"match": {"prefix": prefix}, "route": {"cluster": to, "timeout": "60s"}}


def cluster(name: str, port: int) -> dict:
    endpoint = {"endpoint": {"address": address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
            ]
        },
    }


def all_gateways(jotgate: Path, another: Path | None, bare: Path) -> list[Gateway]:
    return [
        Jotgate(jotgate),
        *([Another(another)] if another else []),
        HaproxyJwt(),
        EnvoyJwt(),
        Nginx(),
        Haproxy(),
        HaproxyTcp(),
        Bare(bare),
    ]
