"""Tests of the page of jobs in a headless Chromium; see test_page.py for what they need."""

import json
import os
import pathlib
import tempfile
import unittest
import urllib.request
from unittest import mock
from urllib.parse import urljoin

from browser import BrowserTestCase, Proxy
from test_page import AXE_OPTIONS, Axe, picture


class JobsPageTests(BrowserTestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        state = mock.patch.dict(os.environ, XDG_STATE_HOME=folder.name)
        state.start()
        cls.addClassCleanup(state.stop)
        super().setUpClass()

    def open_jobs(self, url=None, **options):
        page = self.open(url=(url or self.server.url).rstrip("/") + "/jobs", **options)
        page.wait_for_selector(".chip")
        return page

    def tearDown(self):
        self.assertEqual(self.complaints, [])
        # URLs of files in memory have no host.
        self.assertEqual(len(self.hosts - {""}), 1)

    def make(self, page, seconds="0.5"):
        file = {"name": "a.png", "mimeType": "image/png", "buffer": picture()}
        page.set_input_files("#file", file)
        page.fill("#seconds", seconds)
        page.click(".chip:nth-child(2)")
        page.click("#make")
        page.wait_for_selector(".job")

    def empty(self, page):
        while page.query_selector(".job"):
            count = len(page.query_selector_all(".job"))
            page.click(".job .delete")
            self.wait_until(page, f"document.querySelectorAll('.job').length < {count}")

    def test_makes_shows_remixes_and_deletes_a_video(self):
        page = self.open_jobs()
        self.make(page)
        page.wait_for_selector(".job[data-status=completed] .screen img", timeout=60_000)
        self.assertEqual(page.text_content(".job .prompt"), page.input_value("#prompt"))
        page.click(".play")
        self.wait_until(page, "document.querySelector('.screen video')?.videoWidth > 0")
        page.fill("#prompt", "sepia")
        page.click(".again")
        page.wait_for_selector(".job:nth-child(2)")
        self.assertEqual(page.text_content(".job .prompt"), "sepia")
        self.wait_until(page, "document.querySelectorAll('[data-status=completed]').length === 2", 60)
        self.empty(page)
        page.wait_for_selector("#empty")

    def test_says_what_is_wrong_with_a_prompt(self):
        page = self.open_jobs()
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
        page.fill("#seconds", "0.5")
        page.fill("#prompt", "quarterly report")
        page.click("#make")
        page.wait_for_selector(".job[data-status=completed]", timeout=60_000)
        self.assertIn("quarterly report", page.inner_text(".job .issues"))
        self.empty(page)

    def test_cancels_a_running_job(self):
        page = self.open_jobs()
        self.make(page, seconds="300")
        page.wait_for_selector(".job[data-status=in_progress] progress", timeout=60_000)
        self.assertEqual(page.text_content(".delete"), "Cancel")
        self.empty(page)

    def test_says_what_is_wrong(self):
        page = self.open_jobs()
        page.click("#make")
        self.assertIn("prompt", page.text_content("#problem strong"))
        page.fill("#prompt", "sepia")
        page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"not a video"})
        page.click("#make")
        self.wait_until(page, "document.querySelector('#problem span').textContent.includes('file')")
        # The browser reports each refused request on its console.
        self.complaints.clear()

    def test_a_problem_stays_while_a_job_runs(self):
        page = self.open_jobs()
        self.make(page, seconds="300")
        page.wait_for_selector(".job[data-status=in_progress] progress", timeout=60_000)
        page.fill("#prompt", "")
        page.click("#make")
        self.assertIn("prompt", page.text_content("#problem strong"))
        # Three times the time between two polls.
        page.wait_for_timeout(2_100)
        self.assertTrue(page.is_visible("#problem"))
        page.click("#dismiss")
        self.assertFalse(page.is_visible("#problem"))
        self.empty(page)

    def test_goes_on_when_the_server_answers_again(self):
        proxy = Proxy(self.server.url)
        self.addCleanup(proxy.close)
        page = self.open_jobs(url=proxy.url)
        self.make(page, seconds="300")
        page.wait_for_selector(".job[data-status=in_progress] progress", timeout=60_000)
        proxy.is_down = True
        proxy.cut()
        page.wait_for_selector("#problem", timeout=10_000)
        self.assertIn("does not answer", page.text_content("#problem strong"))
        proxy.is_down = False
        page.wait_for_selector("#problem", state="hidden", timeout=20_000)
        # The list is that of the server again.
        [job] = self.jobs()
        self.request("DELETE", f"v1/videos/{job['id']}")
        page.wait_for_selector(".job", state="detached")
        # The browser reports requests that fail on its console.
        self.complaints.clear()

    def test_the_end_of_a_job_is_announced_and_its_progress_is_not(self):
        page = self.open_jobs()
        self.make(page)
        self.wait_until(page, "document.querySelector('#notice').textContent.includes('finished')", 60)
        self.assertEqual(page.get_attribute("#notice", "role"), "status")
        self.assertIsNone(page.get_attribute(".job .status", "role"))
        self.empty(page)

    def test_texts_can_be_dropped_into_the_prompt(self):
        page = self.open_jobs()
        prevented = page.evaluate("""(types) => types.map((type) => {
            const dataTransfer = new DataTransfer();
            if (type === "Files") dataTransfer.items.add(new File(["a"], "a.png", { type: "image/png" }));
            else dataTransfer.setData(type, "sepia");
            const event = new DragEvent("dragover", { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector("#prompt").dispatchEvent(event);
            return event.defaultPrevented;
        })""", ["text/plain", "Files"])
        self.assertEqual(prevented, [False, True])

    def test_a_slash_at_the_end_leads_to_the_page(self):
        page = self.open(url=self.server.url.rstrip("/") + "/jobs/", waits=False)
        page.wait_for_selector(".chip")
        self.assertTrue(page.url.split("#")[0].endswith("/jobs"))

    def request(self, method, path):
        request = urllib.request.Request(urljoin(self.server.url, path), method=method)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)

    def jobs(self):
        return self.request("GET", "v1/videos")["data"]

    def test_works_with_the_keyboard(self):
        page = self.open_jobs()
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
        page.focus("#prompt")
        page.keyboard.type("sepia")
        page.keyboard.press("Enter")
        page.wait_for_selector(".job")
        page.focus(".job .delete")
        page.keyboard.press("Enter")
        page.wait_for_selector(".job", state="detached")

    def test_fits_narrow_screens(self):
        page = self.open_jobs(width=360)
        self.make(page)
        page.wait_for_selector(".job[data-status=completed] .screen img", timeout=60_000)
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360)
        self.empty(page)

    @unittest.skipUnless(Axe, "needs axe-playwright-python")
    def test_accessibility(self):
        for scheme in ("light", "dark"):
            page = self.open_jobs(scheme=scheme)
            self.make(page)
            page.wait_for_selector(".job[data-status=completed] .screen img", timeout=60_000)
            results = Axe().run(page, options=AXE_OPTIONS)
            self.assertEqual(results.violations_count, 0, results.generate_report())
            if folder := os.environ.get("SWAN_SCREENSHOTS"):
                pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
                for width in (360, 768, 1280):
                    page.set_viewport_size({"width": width, "height": 800})
                    page.screenshot(path=f"{folder}/jobs-{scheme}-{width}.png", full_page=True)
            self.empty(page)

    def test_pages_link_to_each_other(self):
        page = self.open_jobs()
        page.click("nav a:first-child")
        page.wait_for_selector("#start")
        page.click("nav a:last-child")
        page.wait_for_selector("#make")
        # A page from the cache has the policy of a page.
        page.reload()
        page.wait_for_selector(".chip")


if __name__ == "__main__":
    unittest.main()
