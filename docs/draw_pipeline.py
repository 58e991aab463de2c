"""Draw docs/pipeline-light.svg and docs/pipeline-dark.svg from the real rules.

`make docs` calls it. The stages and arrows are those of `snakemake --rulegraph` with the default
config; the room of a rule is the file of workflow/rules that holds it.
"""

import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from xml.sax.saxutils import escape

HOME = Path(__file__).resolve().parents[1]
ROOMS = {
    "data": "LAION → pairs that count",
    "benchmarks": "links → audited images",
    "training": "one CLIP for each variant and seed",
    "evaluation": "what the pretrained baseline and every run answer",
    "ordinal": "the second experiment: a number told from an image",
    "report": "tables, figures, and results/report.html over them all",
}
SOURCE = "the internet, or the miniature: a generated world"
COLOURS = {
    "light": {"fill": "#f6f8fa", "line": "#57606a", "text": "#1f2328", "title": "#0550ae"},
    "dark": {"fill": "#161b22", "line": "#8b949e", "text": "#e6edf3", "title": "#79c0ff"},
}
WIDTH, MARGIN, GAP, LINE, SIZE = 480, 26, 26, 20, 15  # pixels
LETTERS = 54  # of a line across the whole diagram
NO_BREAK = "\u00a0"

Graph = dict[str, set[str]]  # rule -> the rules whose output it reads


def rule_graph() -> Graph:
    """The rules that the default config uses, without `all`."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile")]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--directory", folder, "--rulegraph"],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(f"snakemake --rulegraph failed:\n{done.stderr}")
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', done.stdout))
    graph: Graph = {name: set() for name in names.values() if name != "all"}
    for source, target in re.findall(r"(\d+) -> (\d+)", done.stdout):
        if names[target] != "all":
            graph[names[target]].add(names[source])
    return graph


def room_of_rules() -> dict[str, str]:
    """Rule -> the file of workflow/rules that holds it, without its ending."""
    return {
        rule: file.stem
        for file in sorted((HOME / "workflow/rules").glob("*.smk"))
        for rule in re.findall(
            r"^(?:use rule \w+ as|rule) (\w+)", file.read_text(encoding="utf-8"), re.M
        )
    }


def stages(graph: Graph, rooms: dict[str, str]) -> dict[str, list[str]]:
    """The stages of each room as words that no line break parts, in the order of their file."""
    found: dict[str, list[str]] = {room: [] for room in ROOMS}
    for rule, room in rooms.items():
        if rule in graph and room in found:
            found[room].append(rule.replace("_", NO_BREAK))
    return found


def arrows(graph: Graph, rooms: dict[str, str]) -> set[tuple[str, str]]:
    """Pairs of different rooms of which the second reads what the first makes."""
    pairs = {(rooms[s], rooms[target]) for target, sources in graph.items() for s in sources}
    return {(a, b) for a, b in pairs if a != b and a in ROOMS and b in ROOMS}


def svg(graph: Graph, rooms: dict[str, str], colours: dict[str, str]) -> str:
    """The diagram: data and benchmarks side by side, the other rooms below them."""
    found, joined = stages(graph, rooms), arrows(graph, rooms)
    half = (WIDTH - 2 * MARGIN - GAP) // 2
    top, shapes = 2 * GAP + LINE, []
    boxes = {}  # room -> x, y, width, height
    tallest = max(len(found["data"]), len(found["benchmarks"]))
    height = (tallest + 2) * LINE + 22
    for x, room in ((MARGIN, "data"), (MARGIN + half + GAP, "benchmarks")):
        boxes[room] = (x, top, half, height)
        shapes += _box(room, *boxes[room], found[room])
    for room in list(ROOMS)[2:]:
        top += height + GAP
        text = textwrap.wrap(f"{NO_BREAK}· ".join(found[room]), LETTERS)
        height = (len(text) + 2) * LINE + 22
        boxes[room] = (MARGIN, top, WIDTH - 2 * MARGIN, height)
        shapes += _box(room, *boxes[room], text)
    shapes.append(
        f'<rect x="{MARGIN}" y="4" width="{WIDTH - 2 * MARGIN}" height="{LINE + 12}" rx="6"'
        ' class="source"/>'
        f'<text x="{WIDTH // 2}" y="{LINE + 5}" text-anchor="middle">{escape(SOURCE)}</text>'
    )
    for room in ("data", "benchmarks"):
        shapes.append(_down(boxes[room][0] + half // 2, LINE + 16, boxes[room][1]))
    shapes += _arrows(boxes, joined)
    style = (
        f"text{{font:{SIZE}px 'Helvetica Neue',Arial,'DejaVu Sans',sans-serif;"
        f"fill:{colours['text']}}}.title{{font-weight:bold;fill:{colours['title']}}}"
        f".what{{font-style:italic;font-size:{SIZE - 1}px}}"
        f"rect{{fill:{colours['fill']};stroke:{colours['line']};stroke-width:1.3}}"
        ".source{stroke-dasharray:5 4;fill:none}"
        f"path{{stroke:{colours['line']};stroke-width:1.6;fill:none}}"
        f"polygon{{fill:{colours['line']}}}"
    )
    bottom = top + height + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}" width="{WIDTH}"'
        f' height="{bottom}" role="img">\n<title>The stages of the workflow, by room</title>\n'
        f"<style>{style}</style>\n" + "\n".join(shapes) + "\n</svg>\n"
    )


def _box(room: str, x: int, y: int, width: int, height: int, lines: list[str]) -> list[str]:
    rows = [("title", room), ("what", ROOMS[room]), *(("", line) for line in lines)]
    texts = [
        f'<text x="{x + 12}" y="{y + 24 + LINE * n}"'
        + f' class="{kind}"' * bool(kind)
        + f">{escape(text)}</text>"
        for n, (kind, text) in enumerate(rows)
    ]
    return [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>', *texts]


def _down(x: int, start: int, end: int) -> str:
    return f'<path d="M{x} {start}V{end - 7}"/>' + _head(x, end, "down")


def _head(x: int, y: int, way: str) -> str:
    points = {"down": (-5, -8, 5, -8), "right": (-8, -5, -8, 5), "left": (8, -5, 8, 5)}[way]
    a, b, c, d = points
    return f'<polygon points="{x},{y} {x + a},{y + b} {x + c},{y + d}"/>'


def _arrows(boxes: dict[str, tuple[int, int, int, int]], joined: set[tuple[str, str]]) -> list[str]:
    """Straight arrows between neighbours; a rail on either side to rooms further below."""
    drawn = []
    below = {"data": "training", "benchmarks": "training"}
    order = list(ROOMS)
    below |= dict(zip(order[2:], order[3:], strict=False))
    for room, after in sorted(joined):
        x, y, width, height = boxes[room]
        if {room, after} == {"data", "benchmarks"}:
            left, right = sorted((boxes[room], boxes[after]))
            level = y + height // 2
            start, end = left[0] + left[2], right[0]
            if room == "benchmarks":
                start, end = end, start
            drawn.append(
                f'<path d="M{start} {level}H{end + (7 if end < start else -7)}"/>'
                + _head(end, level, "left" if end < start else "right")
            )
        elif below.get(room) == after:
            drawn.append(_down(x + width // 2, y + height, boxes[after][1]))
        else:
            # Those that share a rail leave below the arrows that come in, and arrive together.
            lower = 14 if room in ("training", "evaluation") else 0
            level = boxes[after][1] + boxes[after][3] // 2 + lower
            if room == "benchmarks":
                edge, rail, way = boxes[after][0] + boxes[after][2], WIDTH - 8, "left"
                start = x + width
            else:
                edge, rail, way = boxes[after][0], 8 if room == "data" else 16, "right"
                start = x
            tip = edge + (7 if way == "left" else -7)
            drawn.append(
                f'<path d="M{start} {y + height // 2 + lower}H{rail}V{level}H{tip}"/>'
                + _head(edge, level, way)
            )
    return drawn


def main() -> None:
    graph, rooms = rule_graph(), room_of_rules()
    for name, colours in COLOURS.items():
        path = HOME / f"docs/pipeline-{name}.svg"
        path.write_text(svg(graph, rooms, colours), encoding="utf-8")


if __name__ == "__main__":
    main()
