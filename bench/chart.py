"""Line charts side by side as SVG, both axes logarithmic: there, work that costs
twice as much for twice as much of it is a straight line of 45 degrees."""
import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 330, 300                            # of a chart with its margins
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 40, 66
COLOURS = ("#1f6feb", "#d1495b", "#2a9d5c", "#8a5cd0")
GUIDE = "#999999"


@dataclass
class Chart:
    title: str
    x_label: str
    lines: dict             # name: list of (x, y)
    proportional: bool = False      # draw how the first line would go on at 45 degrees


def short_number(x):
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if x >= limit:
            return f"{x / limit:g}{suffix}"
    return f"{x:g}"


def decades(values):
    """The powers of ten around the values."""
    low = math.floor(math.log10(min(values)) + 1e-9)
    high = max(math.ceil(math.log10(max(values)) - 1e-9), low + 1)
    return range(low, high + 1)


class Scale:
    """Where values are on an axis."""

    def __init__(self, values, start, end):
        self.ticks = decades(values)
        self.start, self.end = start, end

    def place(self, v):
        low, high = self.ticks[0], self.ticks[-1]
        return self.start + (math.log10(v) - low) / (high - low) * (self.end - self.start)


def text(x, y, content, anchor="middle", size=11, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{more}>{escape(content)}</text>'


def line(x1, y1, x2, y2, colour, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def axes(x, y):
    for power in y.ticks:
        at = y.place(10.0 ** power)
        yield line(LEFT, at, WIDTH - RIGHT, at, "#e0e0e0")
        yield text(LEFT - 5, at + 4, short_number(10.0 ** power), "end")
    for power in x.ticks:
        at = x.place(10.0 ** power)
        yield line(at, TOP, at, HEIGHT - BOTTOM, "#e0e0e0")
        yield text(at, HEIGHT - BOTTOM + 15, short_number(10.0 ** power))


def guide(points, x, y):
    """From the first point on, at 45 degrees, as far as there is room."""
    (x1, y1), x2 = points[0], points[-1][0]
    x2 = min(x2, x1 * 10.0 ** y.ticks[-1] / y1)
    return line(x.place(x1), y.place(y1), x.place(x2), y.place(y1 * x2 / x1), GUIDE, ' stroke-dasharray="4 4"')


def curve(points, x, y, colour):
    places = [(x.place(a), y.place(b)) for a, b in points]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for a, b in places:
        yield f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>'


def draw_chart(chart):
    points = [p for its in chart.lines.values() for p in its]
    x = Scale([a for a, _ in points], LEFT, WIDTH - RIGHT)
    y = Scale([b for _, b in points], HEIGHT - BOTTOM, TOP)
    yield text(WIDTH / 2, 18, chart.title, size=13)
    yield from axes(x, y)
    if chart.proportional:
        yield guide(next(iter(chart.lines.values())), x, y)
    for i, (name, its) in enumerate(chart.lines.items()):
        yield from curve(its, x, y, COLOURS[i])
        at = LEFT + i * 130
        yield line(at, HEIGHT - 12, at + 18, HEIGHT - 12, COLOURS[i], ' stroke-width="2"')
        yield text(at + 23, HEIGHT - 8, name, "start")
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 30, chart.x_label)


def draw(charts):
    """The charts as one picture."""
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(charts)}" height="{HEIGHT}" '
             f'viewBox="0 0 {WIDTH * len(charts)} {HEIGHT}" font-family="sans-serif" fill="#333333">',
             '<rect width="100%" height="100%" fill="#ffffff"/>']
    for i, chart in enumerate(charts):
        parts += [f'<g transform="translate({i * WIDTH} 0)">', *draw_chart(chart), "</g>"]
    return "\n".join(parts + ["</svg>"]) + "\n"
