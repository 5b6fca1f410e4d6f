"""A picture of what reading the points of a chain costs."""

WIDTH, HEIGHT, LEFT, TOP = 660, 320, 48, 16
COLOURS = ["#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#8fce00"]


def draw(curves, path):
    """Writes the curves as SVG: time per byte, the full's being 1, over the number of the point."""
    last = max(max(curve) for curve in curves.values())
    highest = max(1.5, max(max(curve.values()) for curve in curves.values()) * 1.05)

    def x(number):
        return LEFT + number / last * (WIDTH - LEFT - 190)

    def y(ratio):
        return TOP + (1 - ratio / highest) * (HEIGHT - TOP - 40)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in [0, 0.5, 1, 1.3]:
        dash = ' stroke-dasharray="4 3"' if tick == 1.3 else ""
        parts.append(
            f'<line x1="{x(0)}" x2="{x(last)}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#999"{dash}/>'
            f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>'
        )
    for number in range(0, last + 1, max(1, last // 6)):
        parts.append(f'<text x="{x(number):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{number}</text>')
    parts.append(f'<text x="{x(last / 2):.1f}" y="{HEIGHT - 6}" text-anchor="middle">point of the chain</text>')
    for line, ((name, curve), colour) in enumerate(zip(curves.items(), COLOURS)):
        path_points = " ".join(f"{x(n):.1f},{y(r):.1f}" for n, r in curve.items())
        parts.append(f'<polyline points="{path_points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - 180}" y="{TOP + 16 + 18 * line}" fill="{colour}">{name}</text>')
    parts.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(parts) + "\n")
