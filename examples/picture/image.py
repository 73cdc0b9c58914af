"""Images as the steps pass them on: PPM between steps (a header, then bytes), PNG for people."""

import os
import pathlib
import struct
import zlib


def write_atomically(path, content):
    """A step that is tried again, or read while it writes, never shows half a file."""
    path = pathlib.Path(path)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(content)
    scratch.replace(path)


def read_ppm(path):
    header, pixels = pathlib.Path(path).read_bytes().split(b"\n", 1)
    _, width, height, _ = header.split()
    return int(width), int(height), pixels


def ppm(width, height, pixels):
    return b"P6 %d %d 255\n" % (width, height) + pixels


def png(width, height, pixels):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    stride = width * 3
    lines = b"".join(b"\0" + pixels[y * stride : (y + 1) * stride] for y in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(lines, 6))
        + chunk(b"IEND", b"")
    )
