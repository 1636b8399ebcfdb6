"""Writes pictures.json: small image files of every kind, and their pixels as decoded by Pillow.

    python pictures.py

Each entry has the file's bytes and the upright RGB that `ImageOps.exif_transpose(image)
.convert("RGB")` gives, both in base64, and the tolerance per channel: decoders of JPEG and lossy WebP
differ slightly. Pillow's `convert` drops alpha without compositing, as the reference implementations do
with their input. Pillow truncates or clips 16-bit samples; the expected pixels here are rounded.

`resizes` contains results of Pillow's Lanczos filter on noise from the given linear congruential
generator: pixels for small ones, CRC-32 for all.
"""

import base64
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps

WIDTH, HEIGHT = 24, 16


def scene(width=WIDTH, height=HEIGHT):
    """Smooth colors, which lossy codecs preserve well, with a different color in each corner."""
    y, x = np.mgrid[0:height, 0:width]
    red = 40 + 180 * x / (width - 1)
    green = 30 + 200 * y / (height - 1)
    blue = 220 - 160 * (x / (width - 1)) * (y / (height - 1))
    return np.stack([red, green, blue], axis=2).round().astype(np.uint8)


def rgb(image):
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation):
    table = Image.Exif()
    table[0x0112] = orientation
    return table.tobytes()


def big_endian_exif(orientation):
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) \
        + b"\0" * 4


def png(width, height, depth, colour, rows, *chunks):
    """A handmade PNG, for formats that Pillow does not write."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(
            ">I", zlib.crc32(name + body))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(
        chunk(*extra) for extra in chunks) + chunk(b"IDAT", zlib.compress(data)) + chunk(
        b"IEND", b"")


def ycck(data):
    """A CMYK JPEG that declares, like Adobe's, that its first three components are YCbCr."""
    data = bytearray(data)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    data[at] = 2
    frame, scan = data.index(b"\xff\xc0") + 10, data.index(b"\xff\xda") + 5
    for number, letter in enumerate(b"CMYK"):
        assert data[frame + 3 * number] == data[scan + 2 * number] == letter
        data[frame + 3 * number] = data[scan + 2 * number] = number + 1
    return bytes(data)


def files():
    """Name, bytes, tolerance, and the pixels if they differ from Pillow's."""
    pixels = scene()
    image = Image.fromarray(pixels)
    alpha = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    transparent = Image.fromarray(np.dstack([pixels, alpha]))
    palette = image.quantize(16)
    gray = image.convert("L")
    ink = 255 - alpha // 3
    cmyk = Image.fromarray(np.dstack([255 - pixels, 255 - ink]), "CMYK")
    # Adobe's YCCK: the inverted colors as YCbCr. Pillow inverts all four channels when writing.
    chroma = np.asarray(Image.fromarray(255 - pixels).convert("YCbCr"))
    inks = Image.fromarray(255 - np.dstack([chroma, ink]), "CMYK")

    yield "rgb.png", saved(image, "PNG"), 0, None
    yield "alpha.png", saved(transparent, "PNG"), 0, None
    yield "palette.png", saved(palette, "PNG"), 0, None
    see_through = palette.copy()
    see_through.info["transparency"] = bytes([0, 128, 255, 7] * 4)
    yield "palette_alpha.png", saved(see_through, "PNG"), 0, None
    yield "gray.png", saved(gray, "PNG"), 0, None
    yield "gray_alpha.png", saved(transparent.convert("LA"), "PNG"), 0, None
    yield "one_bit.png", saved(gray.convert("1"), "PNG"), 0, None
    yield "exif.png", saved(image, "PNG", exif=exif(6)), 0, None
    yield "one_pixel.png", saved(image.crop((3, 4, 4, 5)), "PNG"), 0, None

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    deep = np.stack([x * 2700 + 130, y * 4000 + 129, x * y * 180], axis=2).astype(np.uint16)
    eight = np.round(deep / 257.0).astype(np.uint8)
    rows = [row.astype(">u2").tobytes() for row in deep]
    yield "rgb16.png", png(WIDTH, HEIGHT, 16, 2, rows), 1, eight
    opacity = np.full((HEIGHT, WIDTH, 1), 300, np.uint16)
    rows = [row.astype(">u2").tobytes() for row in np.dstack([deep, opacity])]
    yield "alpha16.png", png(WIDTH, HEIGHT, 16, 6, rows), 1, eight
    rows = [row.astype(">u2").tobytes() for row in deep[:, :, 0]]
    yield "gray16.png", png(WIDTH, HEIGHT, 16, 0, rows), 1, eight[:, :, :1].repeat(3, 2)
    # 2 bit: 0, 85, 170, 255.
    quarter = (x // 2 + y) % 4
    rows = [np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 6:]).tobytes()
            for row in quarter]
    yield "gray2.png", png(WIDTH, HEIGHT, 2, 0, rows), 0, None

    fine = dict(quality=97, subsampling=0)
    yield "rgb.jpg", saved(image, "JPEG", **fine), 3, None
    yield "subsampled.jpg", saved(image, "JPEG", quality=92, subsampling=2), 3, None
    yield "half_wide.jpg", saved(image, "JPEG", quality=92, subsampling=1), 3, None
    yield "no_ycbcr.jpg", saved(image, "JPEG", keep_rgb=True, **fine), 3, None
    yield "odd.jpg", saved(Image.fromarray(scene(21, 13)), "JPEG", quality=92, subsampling=2), 4, \
        None
    yield "progressive.jpg", saved(image, "JPEG", progressive=True, **fine), 3, None
    yield "gray.jpg", saved(gray, "JPEG", quality=97), 2, None
    yield "cmyk.jpg", saved(cmyk, "JPEG", **fine), 3, None
    yield "ycck.jpg", ycck(saved(inks, "JPEG", **fine)), 4, None
    yield "one_pixel.jpg", saved(image.crop((3, 4, 4, 5)), "JPEG", **fine), 3, None
    # A comment and an application segment of two bytes each.
    odd = saved(image, "JPEG", **fine)
    yield "metadata.jpg", odd[:2] + b"\xff\xe5\0\x04ab\xff\xfe\0\x06text" + odd[2:], 3, None
    for orientation in range(1, 9):
        data = saved(image, "JPEG", exif=exif(orientation), **fine)
        yield f"orientation_{orientation}.jpg", data, 3, None
    yield "orientation_big_endian.jpg", saved(
        image, "JPEG", exif=big_endian_exif(8), **fine), 3, None

    second = Image.fromarray(255 - pixels).quantize(16)
    yield "animated.gif", saved(
        palette, "GIF", save_all=True, append_images=[second], duration=100, loop=0), 0, None
    clear = palette.copy()
    clear.info["transparency"] = 3
    shown = np.asarray(clear.convert("RGB")).copy()
    shown[np.asarray(clear) == 3] = 255
    yield "transparent.gif", saved(clear, "GIF", transparency=3), 0, shown

    yield "lossless.webp", saved(image, "WEBP", lossless=True), 0, None
    yield "lossy.webp", saved(image, "WEBP", quality=95), 2, None
    yield "alpha.webp", saved(transparent, "WEBP", lossless=True, exact=True), 0, None
    yield "alpha_lossy.webp", saved(transparent, "WEBP", quality=95, exact=True), 2, None
    yield "exif.webp", saved(image, "WEBP", lossless=True, exif=exif(8)), 0, None

    yield "rgb.bmp", saved(image, "BMP"), 0, None
    yield "palette.bmp", saved(palette, "BMP"), 0, None
    yield "gray.bmp", saved(gray, "BMP"), 0, None
    yield "alpha.bmp", saved(transparent, "BMP"), 0, None

    yield "rgb.tiff", saved(image, "TIFF"), 0, None
    yield "deflate.tiff", saved(image, "TIFF", compression="tiff_deflate"), 0, None
    yield "lzw.tiff", saved(image, "TIFF", compression="tiff_lzw"), 0, None
    yield "alpha.tiff", saved(transparent, "TIFF"), 0, None
    yield "gray.tiff", saved(gray, "TIFF"), 0, None
    yield "palette.tiff", saved(palette, "TIFF"), 0, None
    yield "one_bit.tiff", saved(gray.convert("1"), "TIFF"), 0, None
    yield "cmyk.tiff", saved(cmyk, "TIFF"), 1, None
    yield "gray16.tiff", saved(Image.fromarray(deep[:, :, 0]), "TIFF"), 1, eight[:, :, :1].repeat(
        3, 2)
    for orientation in (3, 6):
        yield f"orientation_{orientation}.tiff", saved(
            image, "TIFF", tiffinfo={0x0112: orientation}), 0, None


def entry(data, tolerance, pixels):
    if pixels is None:
        pixels = rgb(Image.open(io.BytesIO(data)))
    return {
        "file": base64.b64encode(data).decode(),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "rgb": base64.b64encode(pixels.tobytes()).decode(),
        "tolerance": tolerance,
    }


def refused():
    """Files that are too large or truncated, and the kind of error."""
    yield "huge.png", png(20_000, 20_000, 8, 2, [b"\0" * 60]), "tooLarge"
    yield "huge.bmp", saved(Image.new("RGB", (2, 2)), "BMP")[:18] + struct.pack(
        "<ii", 20_000, 20_000) + saved(Image.new("RGB", (2, 2)), "BMP")[26:], "tooLarge"
    yield "huge.gif", b"GIF89a" + struct.pack("<HHBBB", 20_000, 20_000, 0x80, 0, 0) + b"\0" * 6 \
        + b",\0\0\0\0" + struct.pack("<HHB", 20_000, 20_000, 0) + b"\x02\x02D\x01\0;", "tooLarge"
    image = Image.fromarray(scene())
    kinds = [
        ("png", saved(image, "PNG")), ("jpg", saved(image, "JPEG")),
        ("webp", saved(image, "WEBP")), ("bmp", saved(image, "BMP")),
        ("tiff", saved(image, "TIFF")), ("gif", saved(image.quantize(8), "GIF")),
    ]
    for kind, data in kinds:
        for percent in (10, 60, 90):
            if kind != "gif" or percent == 10:
                yield f"cut_{percent}.{kind}", data[:len(data) * percent // 100], None
    damaged = bytearray(kinds[0][1])
    damaged[len(damaged) * 6 // 10] ^= 0x5A
    yield "flipped.png", bytes(damaged), None


def noise(width, height, seed):
    """Three bytes per pixel from a linear congruential generator, as in the tests."""
    state = (seed * 2_654_435_761 + 12_345) % 2**32
    values = bytearray()
    for _ in range(width * height):
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        values += bytes([state >> 8 & 255, state >> 16 & 255, state >> 24])
    return Image.frombytes("RGB", (width, height), bytes(values))


def resizes():
    """Lanczos, and Wan2.2's way to fill a size: cover it, then crop the center."""
    small = [
        (7, 5, 13, 11), (24, 16, 10, 7), (31, 17, 31, 9), (31, 17, 12, 17), (16, 16, 16, 16),
        (1, 1, 5, 3), (40, 30, 1, 1), (3, 50, 5, 4), (33, 20, 32, 19), (2, 2, 50, 3),
    ]
    large = [(320, 214, 208, 120), (261, 350, 160, 80), (100, 67, 112, 80), (811, 97, 64, 32)]
    for number, (width, height, wide, high) in enumerate(small + large):
        image = noise(width, height, number)
        resized = image.resize((wide, high), Image.LANCZOS)
        scale = max(wide / width, high / height)
        covering = image.resize((round(width * scale), round(height * scale)), Image.LANCZOS)
        left, top = (covering.width - wide) // 2, (covering.height - high) // 2
        filled = covering.crop((left, top, left + wide, top + high))
        item = {"from": [width, height], "to": [wide, high], "seed": number}
        for name, result in (("resized", resized), ("filled", filled)):
            data = result.tobytes()
            item[name + "_crc32"] = zlib.crc32(data)
            if number < len(small):
                item[name] = base64.b64encode(data).decode()
        yield item


def write(name, value):
    path = pathlib.Path(__file__).parent / name
    path.write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")
    print(f"{name}: {path.stat().st_size} bytes")


def main():
    with warnings.catch_warnings():
        # Pillow warns about palettes with transparency.
        warnings.simplefilter("ignore")
        pictures = {name: entry(*rest) for name, *rest in files()}
    write("pictures.json", {
        "pillow": PIL.__version__,
        "pictures": pictures,
        "refused": {
            name: {"file": base64.b64encode(data).decode(), "code": code}
            for name, data, code in refused()
        },
        "resizes": list(resizes()),
    })


if __name__ == "__main__":
    main()
