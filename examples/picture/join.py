"""Joins images. Input: {parts: {key: {file}}, file, direction: across|down}; output: the file, beside its parts."""

import json
import pathlib
import sys

import image

work = json.load(sys.stdin)
files = sorted(part["file"] for part in work["parts"].values())
parts = [image.read_ppm(file) for file in files]

if work["direction"] == "down":
    width, height = parts[0][0], sum(part[1] for part in parts)
    pixels = b"".join(part[2] for part in parts)
else:
    width, height = sum(part[0] for part in parts), parts[0][1]
    pixels = b"".join(
        part[2][y * part[0] * 3 : (y + 1) * part[0] * 3] for y in range(height) for part in parts
    )

file = pathlib.Path(files[0]).with_name(work["file"])
encode = image.png if file.suffix == ".png" else image.ppm
image.write_atomically(file, encode(width, height, pixels))
json.dump({"file": str(file), "width": width, "height": height}, sys.stdout)
