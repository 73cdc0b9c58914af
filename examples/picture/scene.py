"""Says what is to be drawn: the frame, how it is cut into tiles, and where the files go. Output: the scene."""

import json
import pathlib
import sys

COLUMNS, ROWS = 4, 3

settings = json.load(sys.stdin)["run"] or {}
directory = pathlib.Path(settings.get("directory") or "examples/output/picture")
directory.mkdir(parents=True, exist_ok=True)
width = int(settings.get("width") or 720)
tile = width // COLUMNS

json.dump(
    {
        "directory": str(directory),
        "tile": tile,
        "columns": COLUMNS,
        "rows": ROWS,
        "width": tile * COLUMNS,
        "height": tile * ROWS,
        # A corner of the Mandelbrot set's seahorse valley.
        "centre": [-0.7453, 0.1127],
        "span": 0.0065,
        "depth": 500,
        "samples": 2,
    },
    sys.stdout,
)
