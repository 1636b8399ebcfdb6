"""HTTP: routes, refusals, malformed and slow requests."""
import socket
import time
import unittest

from clients import TOKEN, Client, Server, ServerTest, until


class Routes(ServerTest):
    def test_pages_have_security_headers(self):
        status, headers, body = self.get("/")
        self.assertEqual(status, 200)
        self.assertIn(b"<title>", body)
        self.check_headers(headers)
        self.assertIn("default-src 'self'", headers["content-security-policy"])
        self.assertIn("camera=(self)", headers["permissions-policy"])

    def test_unchanged_files_are_not_sent_again(self):
        page = self.get("/")[1]
        tag = page["etag"]
        for value in [tag, f'"x", W/{tag}', "*"]:
            status, headers, body = self.get("/", headers={"If-None-Match": value})
            self.assertEqual((status, body, headers["etag"]), (304, b"", tag))
            # Browsers take over the headers of such an answer: the page would load nothing any more.
            for name in ["content-security-policy", "permissions-policy", "cross-origin-opener-policy"]:
                self.assertEqual(headers[name], page[name])
        self.assertEqual(self.get("/", headers={"If-None-Match": '"x"'})[0], 200)

    def test_head_has_no_body(self):
        client = self.client()
        status, headers, _ = client.request("HEAD", "/").response("HEAD")
        self.assertEqual(status, 200)
        self.assertGreater(int(headers["content-length"]), 0)
        self.assertEqual(client.request(path="/healthz").response()[2], b"ok")

    def test_errors_are_complete_and_reveal_nothing(self):
        self.check_error(self.get("/nothing"), 404, "not_found")
        self.check_error(self.get("/item/a/b"), 404, "not_found")
        error = self.check_error(self.get("/fail"), 500, "internal_error")
        self.assertEqual(error["type"], "server_error")
        self.assertTrue(until(lambda: any("secret.txt" in line for line in self.server.log)))
        response = self.get("/busy")
        self.check_error(response, 429, "busy")
        self.assertEqual(response[1]["retry-after"], "1")

    def test_wrong_methods_are_told_the_right_ones(self):
        response = self.get("/echo")
        self.check_error(response, 405, "method_not_allowed")
        self.assertEqual(response[1]["allow"], "POST")
        self.check_error(self.get("/item/a", method="DELETE"), 405)
        self.assertEqual(self.get("/item/a")[2], b"a")

    def test_requests_are_answered_in_order(self):
        client = self.client().request(path="/slow").request(path="/healthz").request(path="/nothing")
        self.assertEqual([client.response()[0] for _ in range(3)], [200, 200, 404])

    def test_a_half_closed_client_gets_its_response(self):
        client = self.client().request(path="/slow")
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(client.response()[2], b"slow")
        self.assertTrue(client.at_end())

    def test_connections_close_on_request(self):
        client = self.client().request(path="/healthz", headers={"Connection": "close"})
        self.assertEqual(client.response()[1]["connection"], "close")
        self.assertTrue(client.at_end())
        client = self.client().send("GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        self.assertEqual(client.response()[2], b"ok")
        self.assertTrue(client.at_end())

    def test_other_upgrades_are_ignored(self):
        headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}
        client = self.client().request(path="/healthz", headers=headers)
        self.assertEqual(client.response()[2], b"ok")
        self.assertTrue(client.at_end())


class Refusals(ServerTest):
    def test_other_hosts(self):
        for path in ["/", "/healthz", "/nothing", "/echo"]:
            for host in ["evil.example", "192.168.1.5", "127.0.0.1.evil.example:80"]:
                self.check_error(self.get(path, host=host), 421, "host_not_allowed")
        self.check_error(self.client().handshake(Host="evil.example").response(), 421)
        for host in ["localhost:1", "127.0.0.1", "[::1]:9"]:
            self.assertEqual(self.get("/healthz", host=host)[0], 200)

    def test_missing_and_repeated_hosts(self):
        self.check_error(self.get("/", host=None), 400, "invalid_host")
        client = self.client().send("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        self.check_error(client.response(), 400, "invalid_host")

    def test_other_origins(self):
        for origin in ["http://evil.example", "null", "http://localhost:1"]:
            headers = {"Origin": origin, "Content-Type": "application/json"}
            self.check_error(self.get("/echo", "POST", headers=headers, body=b"{}"), 403)
            self.check_error(self.client().handshake(Origin=origin).response(), 403, "origin_not_allowed")
        headers = {"Origin": "http://localhost", "Content-Type": "application/json"}
        self.assertEqual(self.get("/echo", "POST", headers=headers, body=b"{}")[2], b"{}")

    def test_forms_of_other_sites(self):
        for kind in ["text/plain", "application/x-www-form-urlencoded"]:
            headers = {"Content-Type": kind}
            self.check_error(self.get("/echo", "POST", headers=headers, body=b"a=b"), 415)
        headers = {"Content-Type": "multipart/form-data; boundary=x", "Sec-Fetch-Site": "cross-site"}
        self.check_error(self.get("/echo", "POST", headers=headers, body=b"--x--"), 403)

    def test_paths_that_leave_the_root(self):
        for path in ["/../etc/passwd", "/%2e%2e/x", "/a/%2E./x", "/%00", "/a\\b", "/%5c..", "//../x", "/%zz"]:
            self.check_error(self.get(path), 400, "invalid_path")
        self.check_error(self.get("http://localhost/healthz"), 400, "invalid_path")

    def test_bodies_over_the_limit(self):
        # Refused before the body is sent, and while it is sent.
        client = self.client().request("POST", "/echo", {"Content-Length": "100001"})
        self.check_error(client.response(), 413, "body_too_large")
        self.assertTrue(client.at_end())
        client = self.client().request("POST", "/echo", {"Transfer-Encoding": "chunked"})
        try:
            for _ in range(200):
                client.send(b"1000\r\n" + bytes(0x1000) + b"\r\n")
        except OSError:
            pass
        self.check_error(client.response(), 413, "body_too_large")
        body = bytes(100_000)
        self.assertEqual(self.get("/echo", "POST", body=body)[2], body)

    def test_a_client_may_wait_before_it_sends_the_body(self):
        headers = {"Expect": "100-continue"}
        client = self.client().request("POST", "/echo", {**headers, "Content-Length": "3"})
        self.assertEqual(client.response(), (100, {}, b""))
        status, _, body = client.send(b"abc").response()
        self.assertEqual((status, body), (200, b"abc"))
        # A body that is too large need not be sent.
        client = self.client().request("POST", "/echo", {**headers, "Content-Length": "100001"})
        self.check_error(client.response(), 413, "body_too_large")

    def test_a_reading_client_gets_the_response_while_it_sends(self):
        # Closing a socket that has unread data would destroy the response.
        for _ in range(20):
            client = self.client().request("POST", "/echo", {"Content-Length": "10000000"}, body=bytes(300_000))
            self.check_error(client.response(), 413)


class Tokens(ServerTest):
    options = (f"token={TOKEN}",)

    def test_all_paths_but_one_need_the_token(self):
        self.assertEqual(self.get("/healthz")[0], 200)
        for path in ["/", "/echo", "/item/a", "/nothing", f"/?token={TOKEN}", "/healthz/../"]:
            response = self.get(path)
            self.assertIn(response[0], [400, 401])
            self.check_error(response, response[0])
        self.assertEqual(self.get("/")[1]["www-authenticate"], "Bearer")
        self.check_error(self.client().handshake().response(), 401, "invalid_token")
        self.assertEqual(self.get("/", headers={"Authorization": f"Bearer {TOKEN}"})[0], 200)
        self.check_error(self.get("/", headers={"Authorization": f"Bearer {TOKEN}x"}), 401)

    def test_web_sockets_take_it_as_a_subprotocol(self):
        headers = self.client().open(Sec_WebSocket_Protocol=f"swan.v1, swan.token.{TOKEN}")
        self.assertEqual(headers["sec-websocket-protocol"], "swan.v1")
        headers = self.client().open(Authorization=f"Bearer {TOKEN}")
        self.assertNotIn("sec-websocket-protocol", headers)
        refused = self.client().handshake(Sec_WebSocket_Protocol="swan.v1, swan.token.wrong").response()
        self.check_error(refused, 401)

    def test_the_log_does_not_contain_it(self):
        self.get(f"/item/a?token={TOKEN}", headers={"Authorization": f"Bearer {TOKEN}"})
        self.get(f"/wrong?token={TOKEN}")
        self.client().open("/echo?x=1", Sec_WebSocket_Protocol=f"swan.token.{TOKEN}")
        self.assertTrue(until(lambda: any("/wrong: 401" in line for line in self.server.log)))
        self.assertTrue(until(lambda: any("/item/a: 200" in line for line in self.server.log)))
        self.assertFalse([line for line in self.server.log if TOKEN in line])

    def test_the_log_has_one_line_per_request(self):
        self.get("/item/%1b[31m%0aforged", headers={"Authorization": f"Bearer {TOKEN}"})
        self.get("/item/é\u202e", headers={"Authorization": f"Bearer {TOKEN}"})
        self.assertTrue(until(lambda: any("item/" in line for line in self.server.log)))
        self.assertFalse([line for line in self.server.log if "\x1b" in line or line.startswith("forged")])


class Malformed(ServerTest):
    def try_to_send(self, client, data):
        try:
            client.send(data)
        except OSError:
            pass

    def check_closed(self, client, data, statuses):
        self.try_to_send(client, data)
        response = client.response()
        self.assertIn(response[0], statuses)
        self.check_error(response, response[0])
        self.assertEqual(response[1]["connection"], "close")
        self.assertTrue(client.at_end())

    def requests(self):
        get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        post = "POST /echo HTTP/1.1\r\nHost: localhost\r\n"
        chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
        yield "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]
        yield "hello\r\n\r\n", [400]
        yield "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", [400]
        yield "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]
        yield post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]
        yield post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", [400]
        yield post + "Content-Length: -5\r\n\r\nhello", [400]
        yield post + "Content-Length: 99999999999999999999\r\n\r\n", [400, 413]
        yield chunked + "xyz\r\nhello\r\n", [400]
        yield chunked + "5\r\nhelloworld\r\n", [400]
        yield chunked + "ffffffffffffffffff\r\n", [400]
        yield get + "Transfer-Encoding : chunked\r\n\r\n", [400]
        yield get + "X: a\x00b\r\n\r\n", [400]
        yield get + "X: " + "a" * (1 << 20) + "\r\n\r\n", [431]
        yield get + "".join(f"X{i}: {i}\r\n" for i in range(10_000)) + "\r\n", [431]
        yield "GET /" + "a" * (1 << 20) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", [400, 431]

    def test_malformed_requests_are_answered_and_closed(self):
        for data, statuses in self.requests():
            with self.subTest(data[:80]):
                self.check_closed(self.client(), data, statuses)

    def test_so_are_those_behind_a_good_one(self):
        good = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for data, statuses in self.requests():
            with self.subTest(data[:80]):
                client = self.client().send(good)
                self.assertEqual(client.response()[2], b"ok")
                self.check_closed(client, data, statuses)
                # In one packet, the good request is answered first.
                client = self.client()
                self.try_to_send(client, good + data)
                self.assertEqual(client.response()[2], b"ok")

    def test_the_server_survives(self):
        for data, _ in self.requests():
            with Client(self.server) as client:
                self.try_to_send(client, data)
        self.assertEqual(self.get("/healthz")[2], b"ok")
        self.assertLess(self.server.memory, 150)


class Slow(ServerTest):
    """The timeouts of the test server are 1 s for headers, bodies and stalls, and 2 s between requests."""

    def closed_after(self, client, drip=b""):
        """The seconds until the server closes the connection."""
        start = time.monotonic()
        client.socket.settimeout(0.1)
        while time.monotonic() < start + 6:
            try:
                if drip:
                    client.send(drip)
                if not client.fill():
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        return time.monotonic() - start

    def test_connections_without_a_request(self):
        clients = [self.client(), self.client().send("GET / HT"), self.client().send("GET / HTTP/1.1\r\nX: ")]
        self.assertLess(self.closed_after(clients[0]), 3)
        self.assertLess(self.closed_after(clients[1], b"a"), 3)
        self.assertLess(self.closed_after(clients[2], b"a"), 3)

    def test_bodies_that_drip(self):
        client = self.client().request("POST", "/echo", {"Content-Length": "1000"})
        self.assertLess(self.closed_after(client, b"a"), 4)
        self.check_error(client.response(), 408, "request_timeout")

    def test_idle_connections(self):
        client = self.client().request(path="/healthz")
        client.response()
        self.assertLess(self.closed_after(client), 5)

    def test_clients_that_read_nothing(self):
        client = self.client().request(path="/large")
        time.sleep(2.5)
        try:
            while client.fill():
                pass
        except ConnectionResetError:
            pass
        self.assertLess(len(client.buffer), 16 << 20)

    def test_clients_that_read_slowly(self):
        client = self.client().request(path="/large")
        size = 0
        while size < 16 << 20:
            size += len(client.socket.recv(1 << 20, socket.MSG_WAITALL))
            time.sleep(0.25)

    def test_many_dripping_clients_do_not_slow_others(self):
        clients = [self.client().send("GET / HTTP/1.1\r\nX: ") for _ in range(400)]
        times = []
        for _ in range(20):
            start = time.monotonic()
            self.assertEqual(self.get("/healthz")[2], b"ok")
            times.append(time.monotonic() - start)
        self.assertLess(sorted(times)[10], 0.5)
        for client in clients:
            client.socket.close()

    def test_connections_that_vanish(self):
        before = self.server.sockets
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        for index in range(300):
            client = Client(self.server)
            if index % 3 == 0:
                client.request(path="/slow")
            elif index % 3 == 1:
                client.open()
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.socket.close()
        self.assertTrue(until(lambda: self.server.sockets <= before))


class Limits(ServerTest):
    options = ("connections=3",)

    def test_connections_over_the_limit_are_refused(self):
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.request(path="/healthz").response()
        with Client(self.server) as extra:
            response = extra.response()
            self.check_error(response, 503, "too_many_connections")
            self.assertEqual(response[1]["retry-after"], "1")
        clients[0].socket.close()

        def works():
            with Client(self.server) as client:
                try:
                    return client.request(path="/healthz").response()[0] == 200
                except (OSError, EOFError):
                    return False

        self.assertTrue(until(works))



if __name__ == "__main__":
    unittest.main()
