#!/usr/bin/env python3
"""Takes pictures of the page of `swan serve` while it restyles a clip.

    Tests/serve/screenshot.py docs/media/page.png        # the one in the README
    Tests/serve/screenshot.py --all FOLDER               # three widths, light and dark, closed and open

It needs what the tests of the page need, and FFmpeg's program, which makes a camera from the clip.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

from browser import CHROMIUM, FLAGS, ROOT, Server, missing, sync_playwright

CLIP = ROOT / ".deps/media/bigbuckbunny.mp4"
PROMPT = "pencil sketch"
SIZES = {1280: 800, 768: 1024, 360: 740}
#: So long until the figures show a steady state.
WARM_UP_MILLISECONDS = 12_000
LARGEST_BYTES = 300_000


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def camera(clip, folder):
    """A square of the clip, forward and backward, as a file that Chromium plays as its camera."""
    path = pathlib.Path(folder) / "camera.mjpeg"
    there_and_back = "crop=ih:ih:iw/20:0,scale=512:512,split[a][b];[b]reverse[c];[a][c]concat"
    ffmpeg("-ss", "1.5", "-i", clip, "-t", "4", "-vf", there_and_back, "-r", "30", "-q:v", "3", path)
    return path


def compress(source, target):
    """Reduces a picture to 256 colors."""
    colors = "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none"
    ffmpeg("-i", source, "-vf", colors, target)
    size = target.stat().st_size
    if size > LARGEST_BYTES:
        sys.exit(f"{target}: has {size} bytes; the maximum is {LARGEST_BYTES}")


def open_live(browser, server, width, height, scheme, prompt):
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme,
                                  permissions=["camera"])
    page = context.new_page()
    page.goto(f"{server.url}#prompt={prompt}&size=256x256")
    page.wait_for_selector("#model:not(:empty)")
    return page


def start(page):
    page.click("#start")
    page.wait_for_selector("[data-state=live]")
    page.wait_for_timeout(WARM_UP_MILLISECONDS)


def take_readme(browser, server, target):
    page = open_live(browser, server, 1000, 760, "light", PROMPT)
    start(page)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "page.png"
        page.screenshot(path=path)
        compress(path, target)


def take_all(browser, server, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in SIZES.items():
        for scheme in ("light", "dark"):
            page = open_live(browser, server, width, height, scheme, PROMPT)
            name = f"{folder}/{width}-{scheme}"
            page.screenshot(path=f"{name}-idle.png")
            start(page)
            page.screenshot(path=f"{name}-live.png")
            for details in ("stats", "settings"):
                page.click(f"#{details} > summary")
            page.wait_for_selector("#stages li")
            page.screenshot(path=f"{name}-open.png", full_page=True)
            page.context.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=pathlib.Path, help="the picture, or with --all the folder")
    parser.add_argument("--all", action="store_true", help="three widths, light and dark")
    parser.add_argument("--clip", type=pathlib.Path, default=CLIP, help="the video that the camera shows")
    options = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    server = Server()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera(options.clip, folder)}"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            (take_all if options.all else take_readme)(browser, server, options.path)
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main()
