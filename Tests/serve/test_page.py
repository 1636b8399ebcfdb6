"""Tests of the page of `swan serve` in a headless Chromium with a fake camera.

    pip install playwright axe-playwright-python      # the browser is Debian's: apt-get install chromium
    python3 -m unittest discover -s Tests/serve -p "test_page*.py"

They start the debug build of `swan`, or the program SWAN; or they use the server at SWAN_URL, which may end in
`#token=TOKEN`. They are skipped without a browser, unless SWAN_REQUIRE_PEERS is 1. Screenshots are written to the
folder SWAN_SCREENSHOTS, if it is set.
"""

import json
import os
import struct
import unittest
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from browser import BrowserTestCase, Proxy

try:
    from axe_playwright_python.sync_playwright import Axe
except ImportError:
    Axe = None

#: Axe rules of WCAG 2.2 at levels A and AA, and good practice.
AXE_OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

#: Makes every WebSocket fail before it opens, as a browser does when the server refuses the upgrade.
REFUSED = """
window.WebSocket = class {
    static OPEN = 1;
    constructor() { setTimeout(() => this.onclose({ code: 1006 })); }
    send() {}
    close() {}
};
"""


def picture(width=64, height=48):
    """A PNG of a vertical gradient."""

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    rows = b"".join(b"\0" + bytes([y * 255 // height, 120, 200]) * width for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def camera_failure(name):
    return f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}'));"


class PageTests(BrowserTestCase):
    # Sessions

    def test_camera_starts_and_pictures_come_back(self):
        page = self.open()
        page.click("#start")
        self.wait_until(page, "document.querySelector('video')?.videoWidth > 0")
        page.wait_for_selector("[data-state=live]")
        self.wait_for_results(page, 8)
        first = self.output(page)
        self.wait_for_results(page, 8)
        self.assertNotEqual(self.output(page), first)
        self.wait_until(page, "document.querySelector('#p50').textContent.endsWith('ms')")
        start = self.messages(page, "sent", "start")[0]
        self.assertEqual((start["input"], start["output"], start["fit"]), ("frames", "auto", "crop"))
        self.assertGreater(start["source_width"], start["source_height"])
        page.click("#start")
        page.wait_for_selector("[data-state=idle]")
        self.assertEqual(len(self.messages(page, "sent", "stop")), 1)
        self.assertEqual(self.complaints, [])
        self.assertEqual(self.hosts, {urlsplit(self.server.url).netloc})

    def test_changes_are_sent_and_shape_the_results(self):
        page = self.open(fragment="size=128x128")
        self.start(page)
        page.fill("#prompt", "an old brown photograph")
        page.press("#prompt", "Enter")
        page.click("#settings > summary")
        page.fill("#seed", "7")
        page.press("#seed", "Tab")
        page.select_option("#fit", "pad")
        page.click("#pause")
        page.click("#pause")
        page.click("#reset")
        updates = self.messages(page, "sent", "update")
        expected = [
            {"prompt": "an old brown photograph", "transition": 0},
            {"seed": 7},
            {"fit": "pad"},
            {"paused": True},
            {"paused": False},
            {"reset": True},
        ]
        events = [update.pop("event") for update in updates]
        self.assertEqual(updates, [{"type": "update", **fields} for fields in expected])
        self.assertEqual(events, sorted(set(events)))
        self.wait_until(page, f"window.received.some(({{ event, bytes }}) => bytes && event >= {events[0]})")
        self.wait_until(
            page, f"window.received.some(({{ type, event }}) => type === 'applied' && event === {events[-1]})"
        )

    def test_pause_sends_no_pictures(self):
        page = self.open(fragment="size=128x128")
        self.start(page)
        page.click("#pause")
        self.assertEqual(page.inner_text("#state"), "Paused")
        # A picture that is being encoded is not sent any more.
        sent = "window.sent.filter(({ bytes }) => bytes).length"
        count = page.evaluate(sent)
        self.wait_for_stats(page, 2)
        self.assertEqual(page.evaluate(sent), count)
        page.click("#pause")
        self.wait_for_results(page, 8)

    def test_another_size_starts_a_new_session_with_the_same_camera(self):
        page = self.open()
        self.start(page)
        page.click("#settings > summary")
        page.select_option("#size", index=1)
        self.wait_until(page, "window.received.filter(({ type }) => type === 'ready').length === 2")
        start = self.messages(page, "sent", "start")[1]
        self.assertEqual(page.input_value("#size"), f"{start['width']}x{start['height']}")
        self.wait_for_results(page)

    def test_lost_connection_continues_the_session(self):
        proxy = Proxy(self.server.url)
        self.addCleanup(proxy.close)
        page = self.open(fragment="size=128x128", url=proxy.url)
        self.start(page)
        proxy.is_down = True
        proxy.cut()
        page.wait_for_selector("[data-state=lost]")
        self.assertIn("lost", page.inner_text("#problem"))
        page.fill("#prompt", "changed meanwhile")
        page.press("#prompt", "Enter")
        proxy.is_down = False
        page.wait_for_selector("[data-state=live]", timeout=10_000)
        self.assertTrue(page.is_hidden("#problem"))
        first, second = self.messages(page, "received", "ready")
        self.assertEqual((second["session"], second["resumed"]), (first["session"], True))
        self.assertEqual(len(self.messages(page, "sent", "start")), 1)
        self.assertEqual(self.messages(page, "sent", "update")[-1]["prompt"], "changed meanwhile")
        self.wait_for_results(page, 8)

    # Sources

    def test_picture_file_and_drop(self):
        page = self.open(fragment="source=file")
        with page.expect_file_chooser() as chooser:
            page.click("#start")
        chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": picture()})
        page.wait_for_selector("[data-state=live]")
        self.wait_for_results(page, 8)
        start = self.messages(page, "sent", "start")[0]
        self.assertEqual((start["source_width"], start["source_height"]), (64, 48))
        drop = """([bytes, type]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped", { type }));
            const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent("drop", options));
        }"""
        page.evaluate(drop, [list(picture(32, 64)), "image/png"])
        self.wait_until(page, "window.sent.some(({ source_height }) => source_height === 64)")
        page.evaluate(drop, [list(b"no picture"), "image/png"])
        page.wait_for_selector("#problem:has-text('does not play')")

    def test_screen(self):
        page = self.open(fragment="source=screen")
        self.start(page)

    def test_text_alone_only_if_the_model_can(self):
        page = self.open(fragment="source=text")
        needs_input = True

        def describe(route):
            models = route.fetch().json()
            models["data"][0]["needs_input"] = needs_input
            route.fulfill(json=models)

        page.route("**/v1/models", describe)
        for needs_input in (True, False):
            with self.subTest(needs_input=needs_input):
                page.reload()
                self.wait_until(page, "document.querySelector('#model').textContent !== ''")
                self.assertEqual(page.is_enabled("[name=source][value=text]"), not needs_input)
        page.check("[name=source][value=text]")
        page.click("#start")
        self.wait_until(page, "window.sent.some(({ type }) => type === 'start')")
        start = self.messages(page, "sent", "start")[0]
        self.assertEqual(start["input"], "none")
        self.assertNotIn("source_width", start)

    def test_another_source_is_a_switch(self):
        page = self.open()
        self.start(page)
        page.check("[name=source][value=screen]")
        self.assertEqual(page.inner_text("#start"), "Switch")
        page.click("#start")
        self.wait_until(page, "window.sent.filter(({ type }) => type === 'start').length === 2")
        page.wait_for_selector("[data-state=live]")
        self.assertEqual(page.inner_text("#start"), "Stop")

    # Problems

    def test_camera_problems_say_what_to_do(self):
        cases = {
            "NotAllowedError": "not allowed",
            "NotFoundError": "No camera was found",
            "NotReadableError": "in use",
        }
        for name, words in cases.items():
            with self.subTest(name):
                page = self.open(script=camera_failure(name))
                page.click("#start")
                page.wait_for_selector(f"#problem:has-text('{words}')")
                self.assertTrue(page.is_visible("#retry"))
                self.assertEqual(page.get_attribute("body", "data-state"), "idle")

    def test_insecure_page_says_so(self):
        script = """
        Object.defineProperty(window, "isSecureContext", { value: false });
        Object.defineProperty(navigator, "mediaDevices", { value: undefined });
        """
        page = self.open(script=script)
        page.click("#start")
        page.wait_for_selector("#problem:has-text('https://')")

    def test_refusals_say_what_to_do(self):
        cases = {401: "token", 403: "does not know this address", 426: "WebSocket", 503: "Try again in 7 s"}
        for status, words in cases.items():
            with self.subTest(status):
                page = self.open(script=REFUSED)
                body = json.dumps({"error": {"message": "no", "type": "t", "param": None, "code": "c"}})
                headers = {"Retry-After": "7"} if status == 503 else {}
                page.route("**/v1/realtime?*", lambda route: route.fulfill(status=status, body=body, headers=headers))
                page.click("#start")
                page.wait_for_selector(f"#problem:has-text('{words}')")

    # Settings

    def test_link_shares_settings_but_not_the_token(self):
        page = self.open(fragment="prompt=at%20night&seed=5&view=wipe&noise=0.4&steps=0&size=huge")
        self.assertEqual(page.input_value("#prompt"), "at night")
        self.assertEqual(page.input_value("#seed"), "5")
        self.assertTrue(page.is_checked("[name=view][value=wipe]"))
        self.assertEqual(page.input_value("#size"), "auto")
        page.click("#share")
        page.wait_for_selector("#notice:has-text('copied')")
        link = page.evaluate("navigator.clipboard.readText()")
        self.assertEqual(urlsplit(link).fragment, "prompt=at+night&noise=0.4&seed=5&view=wipe")

    def test_prompts_are_remembered(self):
        page = self.open()
        for prompt in ("first", "second"):
            page.fill("#prompt", prompt)
            page.press("#prompt", "Enter")
        page.reload()
        self.wait_until(page, "document.querySelector('#model').textContent !== ''")
        page.click("#history summary")
        self.assertEqual(page.locator("#history li").all_inner_texts(), ["second", "first"])
        page.click("#history li:nth-child(2)")
        self.assertEqual(page.input_value("#prompt"), "first")
        page.press("#prompt", "ArrowUp")
        self.assertEqual(page.input_value("#prompt"), "second")

    # Tools

    def test_recording_is_saved(self):
        page = self.open(fragment="size=128x128")
        self.start(page)
        page.click("#record")
        page.wait_for_selector("#record-time:has-text('0:01')")
        with page.expect_download() as download:
            page.click("#record")
        self.assertRegex(download.value.suggested_filename, r"^swan [\d-]+ [\d-]+\.(mp4|webm)$")
        self.assertGreater(Path(download.value.path()).stat().st_size, 1000)

    def test_full_screen(self):
        page = self.open()
        page.click("#full-screen")
        self.wait_until(page, "document.fullscreenElement?.id === 'stage'")

    # Accessibility and layout

    @unittest.skipUnless(Axe, "needs axe-playwright-python")
    def test_accessibility(self):
        for scheme in ("light", "dark"):
            page = self.open(fragment="size=128x128", scheme=scheme)
            with self.subTest(scheme, state="idle"):
                self.assert_accessible(page)
            self.start(page)
            page.fill("#prompt", "night")
            page.press("#prompt", "Enter")
            for name in ("stats", "settings"):
                page.click(f"#{name} > summary")
            page.check("[name=view][value=wipe]")
            self.wait_until(page, "document.querySelectorAll('#stages li').length > 0")
            with self.subTest(scheme, state="live"):
                self.assert_accessible(page)
            page.click("#start")
            page.evaluate(f"() => {{ {camera_failure('NotFoundError')} }}")
            page.click("#start")
            page.wait_for_selector("#problem")
            with self.subTest(scheme, state="problem"):
                self.assert_accessible(page)

    def assert_accessible(self, page):
        results = Axe().run(page, options=AXE_OPTIONS)
        found = [
            (violation["id"], [node["html"][:120] for node in violation["nodes"]])
            for violation in results.response["violations"]
        ]
        self.assertEqual(found, [])

    def test_keyboard_reaches_the_controls_in_order(self):
        page = self.open()
        reached = []
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.name || ''"))
        order = ["source", "start", "view", "full-screen", "share", "prompt", "apply"]
        self.assertEqual([name for name in dict.fromkeys(reached) if name in order], order)
        page.focus("#start")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-state=live]")

    def test_layouts_fit_their_widths(self):
        folder = os.environ.get("SWAN_SCREENSHOTS")
        for width, height in ((1280, 800), (768, 1024), (360, 740)):
            page = self.open(fragment="size=128x128", width=width, height=height)
            self.start(page)
            for name in ("stats", "settings"):
                page.click(f"#{name} > summary")
            self.wait_until(page, "document.querySelectorAll('#stages li').length > 0")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                with self.subTest(width, scheme=scheme):
                    if folder:
                        page.screenshot(path=f"{folder}/page-{width}-{scheme}.png", full_page=True)
                    overflowing = page.evaluate(
                        """[...document.querySelectorAll("main *:not(#styles, #styles *, svg *)")].filter((element) => (
                            element.checkVisibility() && element.getBoundingClientRect().right > innerWidth + 1
                        )).map(({ outerHTML }) => outerHTML.slice(0, 100))"""
                    )
                    self.assertEqual(overflowing, [])
                    self.assertEqual(page.evaluate("document.scrollingElement.scrollWidth"), width)
            page.context.close()

    # Modules

    def test_header_bytes(self):
        page = self.open()
        messages = page.evaluate("""async () => {
            const { packFrame } = await import("./protocol.js");
            const frame = { sequence: 0x01020304, captureTime: 1234.567, width: 832, height: 480, isKeyFrame: true };
            return ["jpeg", "h264"].map((codec) => (
                [...packFrame({ ...frame, codec }, new Uint8Array([9, 8]).buffer)]
            ));
        }""")
        for message, codec, flags in zip(messages, (1, 3), (0, 1)):
            header = struct.pack("<BBBBIQIHHII", 1, 1, codec, flags, 0x01020304, 1_234_567, 0, 832, 480, 0, 0)
            self.assertEqual(bytes(message), header + bytes([9, 8]))

    def test_frames_that_are_left_out_are_counted(self):
        """A page that takes fewer pictures than the model wants counts the others; at the model's rate there are none."""
        page = self.open()
        script = """async (interval) => {
            const { Capture } = await import("./capture.js");
            const element = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
            element.getContext("2d").fillRect(0, 0, 32, 32);
            const counts = { frames: 0, thinned: 0, skipped: 0 };
            const target = { width: 64, height: 64, fit: "stretch" };
            await new Promise((resolve) => {
                const capture = new Capture({ element }, target, 10, {
                    hasRoom: () => true,
                    skipped: () => counts.skipped += 1,
                    thinned: (count) => counts.thinned += count,
                    frame: ({ picture }) => {
                        picture?.close();
                        counts.frames += 1;
                        if (counts.frames < 5) return;
                        capture.stop();
                        resolve();
                    },
                });
                if (interval) capture.interval = interval;
            });
            return counts;
        }"""
        counts = page.evaluate(script, 500)
        # Four times between two pictures; a busy machine misses turns, which are no pictures that were left out.
        self.assertGreaterEqual(counts["thinned"], 4, counts)
        self.assertLessEqual(counts["thinned"], 20, counts)
        self.assertEqual(counts["skipped"], 0)

    def test_frames_that_are_left_out_are_shown(self):
        page = self.open()
        dropped = page.evaluate("""async () => {
            const { Stats } = await import("./stats.js");
            const stats = new Stats();
            stats.drop("thinned", 3);
            return [stats.summary(0).dropped, Object.keys(stats.dropped)];
        }""")
        self.assertEqual(dropped[0], 3)
        for cause in dropped[1]:
            self.assertIsNotNone(page.query_selector(f"#dropped-{cause}"), cause)

    def test_links_have_only_values_that_the_server_takes(self):
        page = self.open()
        settings = page.evaluate("""async () => {
            const { readFragment } = await import("./settings.js");
            return readFragment("#seed=1.5&transition=2.5&steps=2.5&noise=0.25").settings;
        }""")
        self.assertEqual(settings, {"noise": 0.25})

    def test_chunks_are_shown_evenly(self):
        """Chunks of four frames arrive every 250 ms; frames appear every 62.5 ms, all at one latency, to half a picture
        of the screen: a chunk's first frame cannot appear before it is there."""
        page = self.open()
        shown, skipped = page.evaluate("""async () => {
            const { Pacer } = await import("./pacer.js");
            const pacer = new Pacer(16);
            const shown = [];
            let skipped = 0;
            for (let arrival = 400; arrival < 10_000; arrival += 5) {
                if (arrival % 250 === 0) {
                    const chunk = arrival / 250;
                    for (const index of [0, 1, 2, 3]) {
                        pacer.add({ chunk, captureTime: arrival - 399 + 62.5 * index, arrival, image: {} });
                    }
                }
                const { shown: frame, skipped: late } = pacer.take(arrival);
                skipped += late.length;
                if (frame) shown.push([arrival, frame.captureTime]);
            }
            return [shown, skipped];
        }""")
        self.assertEqual(skipped, 0)
        steady = shown[8:]
        gaps = [after[0] - before[0] for before, after in zip(steady, steady[1:])]
        self.assertLessEqual(max(gaps) - min(gaps), 17)
        latencies = [time - captured for time, captured in steady]
        self.assertLessEqual(max(latencies) - min(latencies), 10)


if __name__ == "__main__":
    unittest.main()
