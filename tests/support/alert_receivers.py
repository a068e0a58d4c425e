"""Who takes alerts in tests: an HTTP receiver and a mail server, real ones on loopback, with faults on demand."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import email
import email.policy
import http.server
import ipaddress
import json
import socket
import socketserver
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class HttpReceiver(http.server.ThreadingHTTPServer):
    """Keeps what is posted; answers with the statuses in `answers`, then with 200."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Post)
        self.posts = []
        self.answers = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/services/T0/B0/secretpart"

    def bodies(self):
        return [json.loads(body) for _, body in self.posts]


class _Post(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            self.server.posts.append((dict(self.headers), body))
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        """Say nothing."""


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mails over SMTP, with STARTTLS or TLS by its certificate, and asks for user and password."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder, *, tls=False, starttls=False, login=None):
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.mails = []
        self.tls = tls
        self.starttls = starttls
        self.login = login
        self.refuse = ()
        self.refuse_data = False
        self.certificate = folder / "cert.pem"
        if tls or starttls:
            write_certificate(self.certificate)
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(self.certificate)

    @property
    def port(self):
        return self.server_address[1]


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self):
        self.secure = self.signed_in = False
        if self.server.tls:
            self._wrap()
        self._say("220 stub")
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            answer = getattr(self, f"on_{word.lower()}", None)
            if answer is None:
                self._say("500 what")
            elif answer(rest) == "bye":
                return

    def _say(self, text):
        self.wfile.write(f"{text}\r\n".encode())
        self.wfile.flush()

    def _wrap(self):
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb")
        self.secure = True

    def on_ehlo(self, _):
        offers = ["stub"]
        offers += ["STARTTLS"] if self.server.starttls and not self.secure else []
        offers += ["AUTH PLAIN"] if self.server.login else []
        for offer in offers[:-1]:
            self._say(f"250-{offer}")
        self._say(f"250 {offers[-1]}")

    def on_starttls(self, _):
        self._say("220 go on")
        self._wrap()

    def on_auth(self, rest):
        _, user, password = base64.b64decode(rest.split()[-1]).decode().split("\0")
        self.signed_in = (user, password) == self.server.login
        self._say("235 yes" if self.signed_in else "535 no")

    def on_mail(self, _):
        self.to = []
        may = self.signed_in or not self.server.login
        self._say("250 ok" if may else "530 sign in first")

    def on_rcpt(self, rest):
        address = rest.partition("<")[2].partition(">")[0]
        if address in self.server.refuse:
            self._say("550 nobody of that name")
            return
        self.to.append(address)
        self._say("250 ok")

    def on_data(self, _):
        self._say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        if self.server.refuse_data:
            self._say("451 not now")
            return
        mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        self.server.mails.append((tuple(self.to), mail, self.secure))
        self._say("250 taken")

    def on_rset(self, _):
        self._say("250 ok")

    def on_quit(self, _):
        self._say("221 bye")
        return "bye"


def write_certificate(path):
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))


@contextlib.contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def dripping(first=b""):
    """A server that answers every request a byte now and then, without end; gives its port.

    With `first` the server speaks first, and begins with these bytes.
    """
    over = threading.Event()

    def drip(connection):
        with contextlib.suppress(OSError), connection:
            if not first:
                connection.recv(65536)
            connection.sendall(first or b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.02):
                connection.sendall(b"y")

    def accept(server):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
