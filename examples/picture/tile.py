"""Computes one tile of the Mandelbrot set. Input: {scene, tile: [column, row]}; output: the file and what it cost."""

import json
import math
import sys
import time

import image

started = time.time()
work = json.load(sys.stdin)
scene, (column, row) = work["scene"], work["tile"]
side, depth, samples = scene["tile"], scene["depth"], scene["samples"]
step = scene["span"] / scene["width"]
left = scene["centre"][0] - scene["span"] / 2
top = scene["centre"][1] + step * scene["height"] / 2
iterations = 0


def escape_time(c):
    """How fast the orbit of c leaves the disc, as a smooth number; None when it stays for the depth we look at."""
    global iterations
    z = 0j
    for n in range(depth):
        z = z * z + c
        if abs(z) > 16.0:
            iterations += n
            return n + 1 - math.log2(math.log(abs(z)) / math.log(16.0))
    iterations += depth
    return None


def colour(time_to_escape):
    """Three cosines out of step: dark blue, sand, white, and back."""
    if time_to_escape is None:
        return (4, 6, 18)
    phase = 2 * math.pi * (math.log1p(time_to_escape) * 0.62 + 0.08)
    return tuple(127.5 + 127.5 * math.cos(phase + shift) for shift in (3.4, 2.7, 2.0))


pixels = bytearray()
for y in range(side):
    for x in range(side):
        total = [0.0, 0.0, 0.0]
        for sub in range(samples * samples):
            across = column * side + x + (sub % samples + 0.5) / samples
            down = row * side + y + (sub // samples + 0.5) / samples
            for channel, value in enumerate(colour(escape_time(complex(left + across * step, top - down * step)))):
                total[channel] += value
        pixels.extend(int(value / samples**2) for value in total)

file = f"{scene['directory']}/tile-{row}-{column}.ppm"
image.write_atomically(file, image.ppm(side, side, bytes(pixels)))
json.dump(
    {
        "file": file,
        "tile": [column, row],
        "iterations": iterations,
        "started": started,
        "seconds": round(time.time() - started, 3),
    },
    sys.stdout,
)
