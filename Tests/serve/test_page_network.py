"""Tests of the page of `swan serve`: slow networks, tokens, insecure addresses and servers that are full."""
import json
import socket
import tempfile
import unittest
from urllib.parse import parse_qs, urlsplit

from browser import RECORDED, BrowserTestCase, Server

TOKEN = "a-token-of-the-tests"
JPEG, H264 = 1, 3

#: Decoders of H.264 that fail at once, as those of a browser whose hardware has a fault.
BROKEN_DECODER = RECORDED + """
window.VideoDecoder = class extends VideoDecoder {
    constructor(handlers) {
        super(handlers);
        this.fail = handlers.error;
    }
    decode() { queueMicrotask(() => this.fail(new DOMException("broken", "EncodingError"))); }
};
"""

#: A browser without WebCodecs.
NO_VIDEO = RECORDED + "delete window.VideoEncoder; delete window.VideoDecoder;"

#: Handshakes for a width of 640 fail, as they do in a browser if the server refuses them.
REFUSED_SIZE = RECORDED + """
const Recorded = window.WebSocket;
window.WebSocket = class Refused {
    static OPEN = 1;
    constructor(url, protocols) {
        if (!String(url).includes("width=640")) return new Recorded(url, protocols);
        setTimeout(() => this.onclose({ code: 1006 }));
    }
    close() {}
};
"""

#: A server that refuses two steps, in the words of the real one.
BUSY = RECORDED + """
const Free = window.WebSocket;
window.WebSocket = class Busy extends Free {
    send(data) {
        super.send(data);
        const { type, steps, event } = typeof data === "string" ? JSON.parse(data) : {};
        if (type !== "update" || steps !== 2) return;
        const fits = { width: 128, height: 128, steps: 1, fps: 16 };
        const error = { type: "error", code: "capacity_exhausted", message: "2 steps would be too slow.", event, fits };
        this.onmessage({ data: JSON.stringify(error) });
    }
};
"""

#: A server whose frames carry the number of a change by OSC, and which tells of no other until `window.applies`.
CHANGED_BY_OSC = RECORDED + """
const Plain = window.WebSocket;
window.WebSocket = class Changed extends Plain {
    set onmessage(handler) {
        super.onmessage = ({ data }) => {
            if (typeof data !== "string") new DataView(data).setUint32(16, 2 ** 31 + 5, true);
            else if (JSON.parse(data).type === "applied" && !window.applies) return;
            handler({ data });
        };
    }
};
"""

#: The colors at nine places of a canvas.
COLORS = """(selector) => {
    const canvas = document.querySelector(selector);
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    const at = (part, length) => Math.floor(part * length);
    return [0.2, 0.5, 0.8].flatMap((x) => [0.2, 0.5, 0.8].map((y) => (
        [...copy.getImageData(at(x, canvas.width), at(y, canvas.height), 1, 1).data.slice(0, 3)]
    )));
}"""


def address():
    """An address of this machine that is not the loopback's; none if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        host = probe.getsockname()[0]
    return None if host.startswith("127.") else host


class SlowNetworkTests(BrowserTestCase):
    def codecs(self, page, direction):
        return set(page.evaluate(f"window.{direction}.filter(({{ bytes }}) => bytes).map(({{ codec }}) => codec)"))

    def test_slow_networks_get_video_both_ways(self):
        page = self.open(fragment="network=slow&size=128x128")
        self.start(page)
        self.wait_for_results(page, 12)
        self.assertEqual((self.codecs(page, "sent"), self.codecs(page, "received")), ({H264}, {H264}))
        start = self.messages(page, "sent", "start")[0]
        self.assertEqual(start["output"], "h264")
        # One key frame each way is enough: nothing was lost.
        for direction in ("sent", "received"):
            flags = page.evaluate(f"window.{direction}.filter(({{ bytes }}) => bytes).map(({{ flags }}) => flags)")
            self.assertEqual((flags[0], sum(flags)), (1, 1), direction)
        self.wait_for_stats(page)
        self.assertEqual(self.messages(page, "received", "stats")[-1]["dropped"]["damaged"], 0)
        self.wait_until(page, "document.querySelector('#p50').textContent.endsWith('ms')")
        self.assertEqual(self.complaints, [])

    def test_video_has_the_colors_of_pictures(self):
        """A still picture and a seed: both networks show the same."""
        colors = {}
        for network in ("fast", "slow"):
            page = self.open(fragment=f"network={network}&size=128x128&source=file&seed=3&fixedNoise=true&prompt=none")
            with page.expect_file_chooser() as chooser:
                page.click("#start")
            chooser.value.set_files({"name": "a.svg", "mimeType": "image/svg+xml", "buffer": PICTURE})
            page.wait_for_selector("[data-state=live]")
            self.wait_for_results(page, 16)
            self.wait_for_stats(page)
            colors[network] = page.evaluate(COLORS, "#output")
            page.context.close()
        for fast, slow in zip(colors["fast"], colors["slow"]):
            self.assertLess(max(abs(a - b) for a, b in zip(fast, slow)), 40, colors)

    def test_pause_and_reconnection_keep_video_going(self):
        page = self.open(fragment="network=slow&size=128x128")
        self.start(page)
        page.click("#pause")
        page.wait_for_selector("[data-state=paused]")
        page.click("#pause")
        self.wait_for_results(page, 12)
        self.wait_for_stats(page)
        self.assertEqual(self.messages(page, "received", "stats")[-1]["dropped"]["damaged"], 0)
        self.assertEqual(self.codecs(page, "received"), {H264})

    def test_another_network_is_another_session(self):
        page = self.open(fragment="size=128x128")
        self.start(page)
        page.click("#settings > summary")
        page.select_option("#network", "slow")
        self.wait_until(page, "window.received.some(({ codec }) => codec === 3)")
        page.select_option("#network", "fast")
        self.wait_until(page, "window.received.at(-1).codec === 1")
        page.click("#share")
        page.wait_for_selector("#notice:has-text('copied')")
        self.assertEqual(urlsplit(page.evaluate("navigator.clipboard.readText()")).fragment.split("&")[-1], "network=fast")

    def test_a_decoder_that_fails_is_replaced_by_pictures(self):
        page = self.open(fragment="network=slow&size=128x128", script=BROKEN_DECODER)
        page.click("#start")
        self.wait_until(page, "window.received.some(({ codec }) => codec === 1)")
        self.assertEqual(len(self.messages(page, "sent", "keyframe")), 2)
        self.assertFalse(page.is_enabled("#network [value=slow]"))
        self.wait_for_results(page, 8)

    def test_without_webcodecs_there_are_pictures(self):
        page = self.open(fragment="network=slow&size=128x128", script=NO_VIDEO)
        self.start(page)
        self.assertEqual((self.codecs(page, "sent"), self.codecs(page, "received")), ({JPEG}, {JPEG}))
        self.assertEqual(page.input_value("#network"), "auto")


#: Four areas of different colors.
PICTURE = b"""<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256">
<rect width="256" height="256" fill="#b04030"/><rect x="128" width="128" height="128" fill="#3060b0"/>
<rect y="128" width="128" height="128" fill="#40a050"/></svg>"""


class ChangeTests(BrowserTestCase):
    def test_the_effect_of_a_prompt_is_not_that_of_another_change(self):
        page = self.open(fragment="size=128x128", script=CHANGED_BY_OSC)
        self.start(page)
        page.click("#stats > summary")

        def change(prompt):
            page.fill("#prompt", prompt)
            page.press("#prompt", "Enter")
            self.wait_for_results(page, 12)
            # The figures are drawn now and then.
            self.wait_for_stats(page, 2)
            return page.inner_text("#effect")

        self.assertEqual(change("pencil sketch"), "–")
        page.evaluate("() => { window.applies = true; }")
        self.assertRegex(change("neon edges"), r"\d")


class RestartTests(BrowserTestCase):
    options = ("--jobs", "none")

    def test_the_page_goes_on_after_a_restart(self):
        page = self.open()
        self.start(page)
        self.server.stop()
        server = Server(*self.options, port=self.server.port)
        self.addCleanup(server.stop)
        # The new server knows nothing of the session, so another one begins.
        self.wait_until(page, "window.received.filter(({ type }) => type === 'ready').length === 2")
        self.wait_for_results(page)
        self.assertEqual([message["resumed"] for message in self.messages(page, "received", "ready")], [False, False])
        self.assertTrue(page.is_hidden("#problem"))


class FullServerTests(BrowserTestCase):
    options = ("--max-sessions", "1")

    def test_a_full_server_says_so_until_a_place_is_free(self):
        first = self.open()
        self.start(first)
        second = self.open()
        second.click("#start")
        second.wait_for_selector("#problem:has-text('The server is full')")
        self.assertRegex(second.inner_text("#problem").lower(), r"try again")
        first.click("#start")
        first.wait_for_selector("[data-state=idle]")

        def tries_again():
            second.click("#retry")
            second.wait_for_selector("[data-state=live], #problem:visible")
            return second.get_attribute("body", "data-state") == "live"

        # The place is free when the chunk under way is done.
        self.assertTrue(any(tries_again() for _ in range(20)))
        self.assertTrue(second.is_hidden("#problem"))

    def test_a_page_gets_the_place_of_its_own_last_session(self):
        page = self.open()
        self.start(page)
        page.click("#settings > summary")
        page.select_option("#size", index=2)
        self.wait_until(page, "window.received.filter(({ type }) => type === 'ready').length === 2")
        self.wait_for_results(page)
        page.click("#start")
        page.wait_for_selector("[data-state=idle]")
        page.click("#start")
        page.wait_for_selector("[data-state=live]")
        self.assertTrue(page.is_hidden("#problem"))

    def test_what_would_fit_can_be_chosen(self):
        """A server that is too busy for the settings names others, which a button applies."""
        page = self.open(fragment="size=640x352", script=REFUSED_SIZE)
        asked = []

        def refuse(route):
            asked.append(parse_qs(urlsplit(route.request.url).query))
            fits = {"width": 128, "height": 96, "steps": 1, "fps": 16}
            error = {"message": "640x352 would be too slow.", "code": "capacity_exhausted", "fits": fits}
            route.fulfill(status=503, body=json.dumps({"error": error}), headers={"Retry-After": "5"})

        page.route("**/v1/realtime?*", refuse)
        page.click("#start")
        page.wait_for_selector("#problem:has-text('640x352 would be too slow.')")
        self.assertEqual((asked[0]["width"], asked[0]["height"]), (["640"], ["352"]))
        self.assertEqual(asked[0]["fps"], ["16"])
        page.unroute("**/v1/realtime?*")
        self.assertEqual(page.inner_text("#use-fits"), "Use 128 × 96 with 1 step")
        page.click("#use-fits")
        page.wait_for_selector("[data-state=live]")
        start = self.messages(page, "sent", "start")[-1]
        self.assertEqual((start["width"], start["height"], start["steps"]), (128, 96, 1))
        self.assertTrue(page.is_hidden("#use-fits"))


class BusyServerTests(BrowserTestCase):
    def test_steps_that_fit_are_used_without_a_new_session(self):
        """More steps than there is time for are refused while the session goes on."""
        page = self.open(fragment="size=128x128&steps=1", script=BUSY)
        self.start(page)
        page.click("#settings > summary")
        page.evaluate("""() => {
            const steps = document.querySelector("#steps");
            steps.value = 2;
            steps.dispatchEvent(new Event("change", { bubbles: true }));
        }""")
        page.wait_for_selector("#problem:has-text('2 steps would be too slow.')")
        self.assertEqual(page.inner_text("#use-fits"), "Use 128 × 128 with 1 step")
        page.click("#use-fits")
        self.wait_until(page, "window.sent.filter(({ type }) => type === 'update').at(-1).steps === 1")
        self.assertTrue(page.is_hidden("#problem"))
        self.assertEqual(len(self.messages(page, "sent", "start")), 1)
        self.wait_for_results(page, 4)


class TokenTests(BrowserTestCase):
    @classmethod
    def setUpClass(cls):
        file = tempfile.NamedTemporaryFile("w", suffix=".txt")
        cls.addClassCleanup(file.close)
        file.write(TOKEN)
        file.flush()
        cls.options = ("--token-file", file.name, "--host", "0.0.0.0")
        super().setUpClass()
        cls.server.url = f"http://localhost:{cls.server.port}/"
        cls.server.token = TOKEN
        cls.token = TOKEN

    def test_the_token_leaves_the_address_bar_and_is_offered(self):
        page = self.open(fragment=f"token={TOKEN}&seed=5")
        self.assertNotIn(TOKEN, page.url)
        self.assertTrue(page.url.endswith("#seed=5"))
        page.reload()
        self.wait_until(page, "document.querySelector('#model').textContent !== ''")
        self.start(page)
        self.assertEqual(page.evaluate("window.protocols"), ["swan.v1", f"swan.token.{TOKEN}"])
        page.click("#share")
        page.wait_for_selector("#notice:has-text('copied')")
        self.assertNotIn(TOKEN, page.evaluate("navigator.clipboard.readText()"))

    def test_without_the_token_the_page_asks_for_it(self):
        page = self.open(waits=False)
        page.wait_for_selector("#problem:has-text('#token=')")

    def test_insecure_addresses_have_no_camera_but_files(self):
        host = address()
        if not host:
            self.skipTest("this machine has no address but the loopback's")
        page = self.open(fragment=f"token={TOKEN}", url=f"http://{host}:{self.server.port}/")
        self.assertFalse(page.evaluate("isSecureContext"))
        page.click("#start")
        page.wait_for_selector("#problem:has-text('https://')")
        page.check("[name=source][value=file]")
        with page.expect_file_chooser() as chooser:
            page.click("#start")
        chooser.value.set_files({"name": "a.svg", "mimeType": "image/svg+xml", "buffer": PICTURE})
        page.wait_for_selector("[data-state=live]")
        self.wait_for_results(page, 4)
        # Insecure pages have no clipboard.
        page.click("#share")
        page.wait_for_selector("#notice:has-text('address bar')")


if __name__ == "__main__":
    unittest.main()
