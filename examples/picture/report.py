"""Writes index.html beside the picture: the picture, when each tile was computed, its brightness, the check sums."""

import html
import json
import pathlib
import sys

import image

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>A picture drawn by a workflow</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1d2433; }}
  img, svg {{ width: 100%; height: auto; }}
  img {{ border-radius: 6px; }}
  text {{ font: 11px system-ui, sans-serif; fill: #1d2433; }}
  rect {{ fill: #2f6db5; }}
  pre {{ font-size: 12px; overflow-x: auto; background: #f3f4f7; padding: 1rem; border-radius: 6px; }}
</style>
<h1>A picture drawn by a workflow</h1>
<p>{tiles} tiles, {iterations:,} iterations: {busy} s of computing in {wall} s.</p>
<img src="{picture}" alt="A part of the Mandelbrot set" width="{width}" height="{height}">
<h2>When each tile was computed</h2>
{timeline}
<h2>Brightness, dark to light</h2>
{histogram}
<h2>Check sums (SHA-256)</h2>
<pre>{manifest}</pre>
</html>
"""


def bars(rows, height):
    """An SVG of horizontal bars; a row is (name, start, end, note), all in the unit of the widest end."""
    scale = 780 / max(end for _, _, end, _ in rows)
    lines = [
        f'<text x="70" y="{y + height - 4}" text-anchor="end">{html.escape(name)}</text>'
        f'<rect x="{80 + start * scale:.1f}" y="{y}" width="{max((end - start) * scale, 1):.1f}" height="{height - 3}"/>'
        f'<text x="{86 + end * scale:.1f}" y="{y + height - 4}">{html.escape(note)}</text>'
        for y, (name, start, end, note) in zip(range(0, len(rows) * height, height), rows)
    ]
    return f'<svg viewBox="0 0 960 {len(rows) * height}">{"".join(lines)}</svg>'


needs = json.load(sys.stdin)["needs"]
picture, statistics = needs["picture"], needs["statistics"]
tiles = sorted(statistics["tiles"], key=lambda tile: tile["started"])
zero = tiles[0]["started"]
timeline = [
    (
        pathlib.Path(tile["file"]).stem,
        tile["started"] - zero,
        tile["started"] - zero + tile["seconds"],
        f"{tile['seconds']:.2f} s",
    )
    for tile in tiles
]
total = sum(needs["brightness"])
histogram = [
    (f"{16 * n}–{16 * n + 15}", 0, count, f"{100 * count / total:.1f} %") for n, count in enumerate(needs["brightness"])
]

page = pathlib.Path(picture["file"]).with_name("index.html")
image.write_atomically(
    page,
    PAGE.format(
        tiles=len(tiles),
        iterations=statistics["iterations"],
        busy=statistics["busy_seconds"],
        wall=statistics["wall_seconds"],
        picture=pathlib.Path(picture["file"]).name,
        width=picture["width"],
        height=picture["height"],
        timeline=bars(timeline, 18),
        histogram=bars(histogram, 16),
        manifest=html.escape(needs["manifest"]["stdout"]),
    ).encode(),
)
json.dump({"report": str(page)}, sys.stdout)
