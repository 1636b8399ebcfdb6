"""Writes lmdb_pairs, a database of latents in CausVid's layout, for the tests of the reader.

    python lmdb_pairs.py

Needs lmdb and numpy as pinned in requirements.txt. Values count up from zero, so that tests know them without
a second file.
"""

import pathlib
import shutil

import lmdb
import numpy

FOLDER = pathlib.Path(__file__).resolve().parent / "lmdb_pairs"
PROMPTS = ["a red ball rolls left", "größer 猫"]
SHAPE = (len(PROMPTS), 2, 3, 2, 4, 6)

shutil.rmtree(FOLDER, ignore_errors=True)
environment = lmdb.open(str(FOLDER), map_size=1 << 20)
latents = (numpy.arange(numpy.prod(SHAPE)) / 8).astype(numpy.float16).reshape(SHAPE)
with environment.begin(write=True) as transaction:
    for index, prompt in enumerate(PROMPTS):
        transaction.put(f"latents_{index}_data".encode(), latents[index].tobytes())
        transaction.put(f"prompts_{index}_data".encode(), prompt.encode())
    transaction.put(b"latents_shape", " ".join(map(str, SHAPE)).encode())
    transaction.put(b"prompts_shape", str(len(PROMPTS)).encode())
environment.close()
(FOLDER / "lock.mdb").unlink()
