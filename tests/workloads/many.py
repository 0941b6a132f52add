"""Allocates in as many places of the standard library and of NumPy as fit into a second."""

import collections
import ctypes
import importlib
import pathlib
import sys
import threading
import time

import numpy as np
import numpy.fft
import numpy.linalg
import numpy.random

KEPT = []
RECORDS = [{"name": "record %d" % number, "values": list(range(number % 40))} for number in range(60)]


def load_extensions():
    """Later imports are of Python code only."""
    folder = next(folder for folder in sys.path if folder.endswith("lib-dynload"))
    for file in pathlib.Path(folder).iterdir():
        name = file.name.partition(".")[0]
        if not name.startswith(("_test", "_tkinter", "xx", "_xx")):
            try:
                importlib.import_module(name)
            except ImportError:
                # Its library is not installed.
                pass


def text_formats():
    import csv
    import io
    import json
    import pickle
    import plistlib
    import textwrap
    import xml.etree.ElementTree as trees

    for indent in [None, 1, 2]:
        KEPT.append(json.loads(json.dumps(RECORDS, indent=indent)))
    for protocol in range(5):
        KEPT.append(pickle.loads(pickle.dumps(RECORDS, protocol)))
    KEPT.append(plistlib.loads(plistlib.dumps({"records": RECORDS})))
    root = trees.Element("records")
    for record in RECORDS:
        trees.SubElement(root, "record", name=record["name"]).text = str(record["values"])
    KEPT.append(trees.fromstring(trees.tostring(root)))
    rows = io.StringIO()
    csv.writer(rows).writerows([record["name"], *record["values"]] for record in RECORDS)
    KEPT.append(list(csv.reader(io.StringIO(rows.getvalue()))))
    KEPT.append(textwrap.wrap("words of several lengths " * 400))


def expressions():
    import ast
    import re

    for pattern in [r"(\w+)\s+(\d+)", r"(?i)rec(o|0)rd", r"(a|b)*c{2,5}(?=d)", "[%s]" % "".join(map(chr, range(200, 900)))]:
        KEPT.append(re.compile(pattern).findall("record 17 aabccd " * 50))
    source = "\n".join("def function%d(a, b=%d):\n    return [a + b for c in range(a)]" % (i, i) for i in range(40))
    KEPT.append(ast.parse(source))
    exec(compile(source, "<generated>", "exec"), {})


def compression():
    import bz2
    import hashlib
    import lzma
    import zlib

    data = b"some data to be compressed " * 400
    for level in range(1, 10):
        KEPT.append(zlib.decompress(zlib.compress(data, level)))
    KEPT.append(bz2.decompress(bz2.compress(data)))
    KEPT.append(lzma.decompress(lzma.compress(data)))
    for name in ["md5", "sha1", "sha256", "sha3_256", "blake2b"]:
        KEPT.append(hashlib.new(name, data))


def database():
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute("create table records (name text, size integer)")
    rows = [(record["name"], len(record["values"])) for record in RECORDS]
    connection.executemany("insert into records values (?, ?)", rows)
    connection.create_function("twice", 1, lambda size: size * 2)
    connection.execute("create index sizes on records (size)")
    query = "select twice(size), count(*), group_concat(name) from records group by size order by 2"
    KEPT.append(connection.execute(query).fetchall())
    KEPT.append(connection)


def modules():
    """Every import runs the importer, the file system, and the module's own code."""
    names = """argparse calendar cmd code codecs configparser contextlib copy dataclasses datetime decimal
    difflib dis doctest email.mime.multipart enum fileinput fractions ftplib getopt gettext glob graphlib
    html.parser http.client http.server imaplib inspect ipaddress logging.config mailbox mimetypes
    multiprocessing.pool netrc numbers optparse pathlib pdb platform poplib profile pstats pydoc
    queue random sched secrets selectors shelve shlex smtplib socketserver sqlite3 ssl statistics string
    subprocess tarfile tempfile timeit tokenize trace tracemalloc typing unittest.mock urllib.request uuid
    venv wave weakref webbrowser wsgiref.simple_server xml.dom.minidom xml.sax xmlrpc.client zipapp zipfile"""
    for name in names.split():
        try:
            KEPT.append(importlib.import_module(name))
        except ImportError:
            # A module of another version.
            pass


def arrays():
    generator = np.random.default_rng(1)
    matrix = generator.random((120, 120))
    KEPT.append(matrix @ matrix)
    KEPT.append(np.linalg.inv(matrix))
    KEPT.append(np.linalg.eigvals(matrix[:100, :100]))
    KEPT.append(np.linalg.svd(matrix[:100]))
    KEPT.append(np.fft.rfft2(matrix))
    KEPT.append(np.sort(matrix, axis=0))
    KEPT.append(np.argsort(matrix, axis=1, kind="stable"))
    KEPT.append(np.partition(matrix, 20))
    KEPT.append(np.unique(matrix.astype(np.int64), return_counts=True))
    KEPT.append(np.histogram(matrix, bins=50))
    KEPT.append(np.einsum("ij,jk,kl->il", matrix, matrix, matrix, optimize=True))
    KEPT.append(np.cumsum(matrix, axis=0) / matrix.sum())
    KEPT.append(np.where(matrix > 0.5, matrix, -matrix))
    KEPT.append(matrix[matrix > 0.5])
    KEPT.append(matrix[::2, [1, 5, 7]])
    KEPT.append(np.concatenate([matrix, matrix], axis=1).astype(np.float32))
    KEPT.append(np.array(["text"] * 1000) == "text")
    KEPT.append(np.array([[1, 2.5], [3, 4]] * 1000, dtype=object) * 2)
    KEPT.append(np.percentile(matrix, [5, 50, 95], axis=0))
    KEPT.append(np.interp(matrix.ravel(), [0, 1], [5, 6]))
    KEPT.append(np.fromstring(" ".join(map(str, range(3000))), sep=" "))
    KEPT.append(np.polyfit(np.arange(100), np.arange(100) ** 2, 3))
    KEPT.append(np.exp(matrix) + np.sin(matrix) ** 2)
    for order in ["C", "F"]:
        KEPT.append(np.array(matrix, order=order, dtype=np.complex128).real.copy())


def messages():
    import io
    import logging

    stream = io.StringIO()
    logger = logging.getLogger("many")
    logger.addHandler(logging.StreamHandler(stream))
    for record in RECORDS:
        logger.warning("%s has %d values", record["name"], len(record["values"]))
    try:
        raise ValueError("x" * 5000)
    except ValueError:
        logger.exception("an exception")
    KEPT.append(stream.getvalue())


def containers():
    import array
    import heapq
    import itertools

    KEPT.append(collections.Counter(itertools.product("abcdefgh", repeat=4)))
    KEPT.append(collections.deque(bytes(600) for _ in range(300)))
    KEPT.append({number: bytearray(number) for number in range(500, 900)})
    KEPT.append(frozenset(range(5000)))
    KEPT.append(array.array("d", range(5000)))
    KEPT.append(heapq.nlargest(300, range(5000), key=lambda number: -number))
    KEPT.append(sorted(map(str, range(5000)), key=len))
    KEPT.append("".join(chr(number) for number in range(10_000, 15_000)).encode("utf-16"))
    KEPT.append(int("7" * 4000) ** 5)


def in_threads():
    """The same again, by threads at the same time."""
    import concurrent.futures

    threads = [threading.Thread(target=work) for work in [text_formats, arrays, containers]]
    for thread in threads:
        thread.start()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for work in [compression, database, expressions]:
            pool.submit(work).result()
    for thread in threads:
        thread.join()


def work():
    for part in [text_formats, expressions, compression, database, modules, arrays, messages, containers, in_threads]:
        part()


def loaded_late():
    """A library that comes while the process is being traced."""
    library = ctypes.CDLL(sys.argv[1])
    library.take.argtypes = [ctypes.c_size_t]
    library.take.restype = ctypes.c_void_p
    for _ in range(300):
        library.take(5000)
        time.sleep(0.001)


load_extensions()
print("ready", flush=True)
sys.stdin.readline()
work()
loaded_late()
print("done", flush=True)
sys.stdin.readline()
