"""Writes events.json, an event file by TensorBoard's own writer; and reads events of `swan train`.

    python -m venv venv
    venv/bin/pip install tensorboard==2.21.0 pillow==13.0.0
    venv/bin/python events.py           # events.json beside this file
    venv/bin/python events.py FOLDER    # shows what TensorBoard reads from the training run in FOLDER

The test of Swan's writer expects the same bytes, so the checks here also apply to Swan's file: it is
read by TensorBoard's EventAccumulator whole, truncated at every byte of its last record, and together
with a second file of a run that resumes from an earlier step.

In FOLDER, every stage is read, and every image is decoded and compared with the one in `samples`.
"""

import base64
import io
import json
import logging
import pathlib
import struct
import sys
import tempfile
import zlib

from PIL import Image
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

START = 1700000000.25
TAG = "vae/squared_error"


def png(width, height):
    """A small RGB image without compression, which is the same with every zlib."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(
        b"\0" + bytes((17 * x + 29 * y + 83 * c) % 256 for x in range(width) for c in range(3))
        for y in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def scalar(tag, value):
    return {"tag": tag, "value": value}


EVENTS = [
    {"step": 0, "seconds": START, "what": "version"},
    {"step": 1, "seconds": START + 0.125, "what": "start"},
    {"step": 10, "seconds": START + 7.5, "what": "summary", "scalars": [
        scalar("vae/gradient_norm", 0.75), scalar("vae/learning_rate", 0.0),
        scalar(TAG, 0.1)]},
    {"step": 300, "seconds": START + 1000, "what": "summary", "scalars": [
        scalar("vae/gradient_norm", -1.5e-30), scalar(TAG, 3.4e38)]},
    {"step": 5_000_000_000, "seconds": START + 1e6, "what": "summary", "scalars": [
        scalar(TAG, 1e-45)]},
    {"step": 5_000_000_000, "seconds": START + 1e6 + 1, "what": "summary", "image": {
        "tag": "vae/samples", "caption": "Größe über Länge: " + "frames, " * 20,
        "width": 9, "height": 5, "bytes": base64.b64encode(png(9, 5)).decode()}},
]


def proto(entry):
    event = event_pb2.Event(wall_time=entry["seconds"], step=entry["step"])
    if entry["what"] == "version":
        event.file_version = "brain.Event:2"
    elif entry["what"] == "start":
        event.session_log.status = event_pb2.SessionLog.START
    for point in entry.get("scalars", []):
        value = event.summary.value.add(tag=point["tag"], simple_value=point["value"])
        value.metadata.plugin_data.plugin_name = "scalars"
        value.metadata.data_class = summary_pb2.DATA_CLASS_SCALAR
    if "image" in entry:
        image = entry["image"]
        value = event.summary.value.add(tag=image["tag"])
        value.metadata.plugin_data.plugin_name = "images"
        value.metadata.summary_description = image["caption"]
        value.metadata.data_class = summary_pb2.DATA_CLASS_BLOB_SEQUENCE
        value.image.height, value.image.width = image["height"], image["width"]
        value.image.colorspace = 3
        value.image.encoded_image_string = base64.b64decode(image["bytes"])
    return event


def file(entries):
    """The bytes of an event file, and the offset of its last record."""
    stream = io.BytesIO()
    writer = RecordWriter(stream)
    for entry in entries:
        last = stream.tell()
        writer.write(proto(entry).SerializeToString())
    return stream.getvalue(), last


def read(folder):
    everything = {name: 0 for name in event_accumulator.DEFAULT_SIZE_GUIDANCE}
    return event_accumulator.EventAccumulator(str(folder), everything).Reload()


def steps(files, tag):
    """The steps that a reader of these files sees for a tag."""
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(files):
            path = pathlib.Path(folder) / f"events.out.tfevents.{int(START) + number}.host"
            path.write_bytes(content)
        found = read(folder)
        tags = found.Tags()
        points = found.Scalars(tag) if tag in tags["scalars"] else \
            found.Images(tag) if tag in tags["images"] else []
        return [point.step for point in points]


def write():
    content, last = file(EVENTS)
    everything = [10, 300, 5_000_000_000]
    assert steps([content], TAG) == everything
    assert steps([content], "vae/samples") == everything[2:]
    for end in range(last, len(content)):
        assert steps([content[:end]], TAG) == everything, end
        assert steps([content[:end]], "vae/samples") == [], end
    later, _ = file([
        {"step": 0, "seconds": START + 2e6, "what": "version"},
        {"step": 201, "seconds": START + 2e6, "what": "start"},
        {"step": 210, "seconds": START + 2e6, "what": "summary", "scalars": [scalar(TAG, 1.0)]},
    ])
    for first in [content, content[:-7]]:
        assert steps([first, later], TAG) == [10, 210]
        assert steps([first, later], "vae/samples") == []
    path = pathlib.Path(__file__).parent / "events.json"
    golden = {"events": EVENTS, "file": base64.b64encode(content).decode()}
    path.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"events.json: {path.stat().st_size} bytes")


def show(folder):
    stages = sorted(path for path in (folder / "events").iterdir() if path.is_dir())
    if not stages:
        sys.exit(f"{folder / 'events'}: no stage has written events")
    for stage in stages:
        found = read(stage)
        tags = found.Tags()
        for tag in tags["scalars"]:
            points = found.Scalars(tag)
            numbers = [point.step for point in points]
            assert numbers == sorted(set(numbers)), f"{tag}: steps {numbers}"
            print(f"{tag}: {len(points)} points, steps {numbers[0]} to {numbers[-1]}, "
                  f"{points[0].value:.6g} to {points[-1].value:.6g}")
        for tag in tags["images"]:
            for sheet in found.Images(tag):
                name = f"{stage.name}-{sheet.step:08d}.png"
                kept = (folder / "samples" / name).read_bytes()
                assert sheet.encoded_image_string == kept, f"{tag}: {name} is another picture"
                picture = Image.open(io.BytesIO(kept))
                picture.load()
                assert picture.size == (sheet.width, sheet.height) and picture.mode == "RGB", name
            caption = found.SummaryMetadata(tag).summary_description
            print(f"{tag}: {len(found.Images(tag))} sheets of {picture.size}: {caption}")


if __name__ == "__main__":
    # TensorBoard warns about each truncation and each discarded point; both are intended here.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    if len(sys.argv) > 1:
        show(pathlib.Path(sys.argv[1]))
    else:
        write()
