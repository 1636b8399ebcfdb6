"""Ports, certificates and HTTPS."""
import hashlib
import os
import pathlib
import socket
import ssl
import subprocess
import tempfile
import unittest

from clients import PROGRAM, Client, Server, ServerTest


def failure(*options):
    """The error with which the server ends."""
    process = subprocess.run([PROGRAM, *options], capture_output=True, text=True, timeout=20)
    return process.returncode, process.stdout.strip()


class Ports(unittest.TestCase):
    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            code, message = failure(f"port={port}")
            self.assertEqual(code, 1)
            self.assertIn(f"127.0.0.1:{port}: another program uses this port", message)
            # The program is this one; of another user's, only the command to find it is known.
            self.assertIn(f"(process {os.getpid()})", message)
            self.assertRegex(message, r"port \d+ is free")

    def test_foreign_addresses(self):
        self.assertIn("192.0.2.1: is not an address of this machine", failure("host=192.0.2.1")[1])
        self.assertIn("no.such.host.invalid: is not an address", failure("host=no.such.host.invalid")[1])
        self.assertIn("port 70000: use 1 to 65535", failure("port=70000")[1])

    def test_all_networks(self):
        server = Server("host=0.0.0.0")
        try:
            with Client(server) as client:
                self.assertEqual(client.request(path="/healthz", host="192.168.1.5").response()[0], 200)
            with Client(server) as client:
                self.assertEqual(client.request(path="/healthz", host="evil.example").response()[0], 421)
        finally:
            server.stop()


class SelfSigned(ServerTest):
    @classmethod
    def setUpClass(cls):
        class Secure(Server):
            def expect(self, prefix, timeout=10):
                if prefix == "ready ":
                    self.fingerprint = super().expect("fingerprint ")
                return super().expect(prefix, timeout)

        cls.server = Secure("self-signed")

    def test_the_fingerprint_is_that_of_the_certificate(self):
        certificate = self.client().socket.getpeercert(binary_form=True)
        digest = hashlib.sha256(certificate).hexdigest().upper()
        self.assertEqual(self.server.fingerprint.replace(":", ""), digest)

    def test_the_certificate_is_valid_for_this_machine(self):
        pem = ssl.DER_cert_to_PEM_cert(self.client().socket.getpeercert(binary_form=True))
        for name in ["localhost", "127.0.0.1", "::1"]:
            context = ssl.create_default_context(cadata=pem)
            with socket.create_connection(("127.0.0.1", self.server.port)) as plain:
                with context.wrap_socket(plain, server_hostname=name) as secure:
                    self.assertIn(secure.version(), ["TLSv1.2", "TLSv1.3"])

    def test_http_and_web_sockets(self):
        client = self.client()
        self.assertEqual(client.socket.selected_alpn_protocol(), "http/1.1")
        self.assertEqual(client.request(path="/healthz").response()[2], b"ok")
        client = self.client()
        client.open(Origin="https://localhost")
        client.frame(2, bytes(1 << 20))
        self.assertEqual(client.receive(), (2, bytes(1 << 20)))
        client.frame(1, b"\xff")
        self.assertEqual(client.close_code(), 1007)
        self.assertTrue(client.at_end())
        self.check_error(self.client().request(host="evil.example").response(), 421)

    def test_clients_that_do_not_speak_tls(self):
        for data in [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b""]:
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as plain:
                plain.sendall(data)
                try:
                    while plain.recv(1000):
                        pass
                except ConnectionResetError:
                    pass
        self.assertEqual(self.get("/healthz")[0], 200)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "server.pem"
        self.key = pathlib.Path(folder.name) / "server.pem.key"
        self.make(self.path, self.key)

    def make(self, certificate, key):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", "/CN=localhost", "-days", "2", "-out", certificate, "-keyout", key],
            check=True, capture_output=True)

    def test_certificates_from_files(self):
        server = Server(f"certificate={self.path}")
        try:
            with Client(server) as client:
                self.assertEqual(client.request(path="/healthz").response()[2], b"ok")
        finally:
            self.assertEqual(server.stop(), 0)

    def test_bad_files(self):
        other = self.path.with_name("other.key")
        self.make(self.path.with_name("other.pem"), other)
        self.key.write_bytes(other.read_bytes())
        self.assertIn("the private key does not belong to the certificate", failure(f"certificate={self.path}")[1])
        self.key.write_text("nonsense")
        self.assertIn(f"{self.key}: contains no private key in PEM format", failure(f"certificate={self.path}")[1])
        self.path.write_text("nonsense")
        self.assertIn(f"{self.path}: contains no certificate in PEM format", failure(f"certificate={self.path}")[1])
        self.path.unlink()
        self.assertIn(f"{self.path}:", failure(f"certificate={self.path}")[1])


if __name__ == "__main__":
    unittest.main()
