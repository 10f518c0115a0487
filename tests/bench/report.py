"""What a run found: a table on the terminal, JSON, and a chart."""

import html
import json
import os
import pathlib
import platform
import subprocess
import time

from harness import show


def machine():
    model = ""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    total = pathlib.Path("/proc/meminfo").read_text().split("\n", 1)[0].split()[1]
    versions = {}
    for name, argv in {"redis": ["redis-server", "--version"], "nginx": ["nginx", "-v"], "etcd": ["etcd", "--version"],
                       "rsync": ["rsync", "--version"], "mdb_copy": ["mdb_copy", "-V"]}.items():
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
            versions[name] = (done.stdout + done.stderr).split("\n", 1)[0].strip()
        except OSError:
            versions[name] = "not installed"
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": round(int(total) / 2**20, 1),
            "kernel": platform.release(), "peers": versions}


def table(rows):
    """The rows as lines of aligned text."""
    head = ("what", "target", "figure", "met", "seedpod", "peer", "", "unit")
    lines = [head]
    for r in rows:
        lines.append((r["name"], r["target"] or "", show(r["figure"]), {True: "yes", False: "NO", None: ""}[r["met"]],
                      show(r["ours"]) if r["ours"] is not None else "", show(r["theirs"]) if r["theirs"] is not None else "",
                      r["peer"], r["unit"]))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    right = {2, 4, 5}
    return "\n".join("  ".join(c.rjust(w) if i in right else c.ljust(w)
                               for i, (c, w) in enumerate(zip(line, widths))).rstrip() for line in lines)


def markdown(rows):
    lines = ["| what | target | figure | met | seedpod | peer | | unit |", "|---|---|--:|---|--:|--:|---|---|"]
    for r in rows:
        cells = (r["name"], (r["target"] or "").replace("<=", "≤").replace(">=", "≥"), show(r["figure"]),
                 {True: "yes", False: "**no**", None: ""}[r["met"]],
                 show(r["ours"]) if r["ours"] is not None else "", show(r["theirs"]) if r["theirs"] is not None else "",
                 r["peer"], r["unit"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def insert(root, document, results):
    """Put charts and table where a document marks their place, if it does."""
    begin, end = "<!-- bench: table -->", "<!-- bench: end -->"
    path = root / document
    text = path.read_text() if path.exists() else ""
    if begin not in text or end not in text:
        return
    before, rest = text.split(begin, 1)
    up = "../" * (len(pathlib.PurePath(document).parts) - 2) if document.startswith("docs/") else "docs/"
    m = results["machine"]
    parts = [f"`make bench` printed this on {results['measured'][:10]}: {m['cores']} cores ({m['cpu']}), "
             f"{m['memory_gib']:.0f} GiB, Linux {m['kernel'].split('-')[0]}.", "",
             f"![seedpod against its targets]({up}bench/chart.svg)", "", markdown(results["rows"]), "",
             f"![From ten thousand to ten million keys]({up}bench/growth.svg)"]
    path.write_text(before + begin + "\n" + "\n".join(parts) + "\n" + end + rest.split(end, 1)[1])


def curves(results):
    """Growth as four small line charts over the number of keys, each from zero."""
    import math
    points = next((c["points"] for c in results["curves"] if c["area"] == "growth"), [])
    panels = [("get", "GET, 64 connections", 1000, "thousand/s"), ("put", "durable PUT, 64 connections", 1000, "thousand/s"),
              ("seed", "seeding", 1e6, "MB/s"), ("idle_leader", "idle leader with a follower", 1, "% of a core")]
    width, height, pad = 300, 190, 46
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width} {2 * height}" width="{2 * width}" '
           f'height="{2 * height}" font-family="system-ui, sans-serif" font-size="11" fill="{INK}">',
           f'<rect width="{2 * width}" height="{2 * height}" fill="#ffffff"/>']
    for number, (name, title, unit, label) in enumerate(panels):
        left, top = number % 2 * width, number // 2 * height
        values = [p[name] / unit for p in points]
        most = max(values + [1 if name == "idle_leader" else 0.01]) * 1.15
        steps = max(1, len(points) - 1)
        at = [(left + pad + i * (width - pad - 20) / steps, top + height - 30 - v / most * (height - 70))
              for i, v in enumerate(values)]
        out.append(f'<text x="{left + 10}" y="{top + 18}" font-weight="600">{title}, {label}</text>')
        out.append(f'<line x1="{left + pad - 8}" y1="{top + height - 30}" x2="{left + width - 12}" y2="{top + height - 30}" '
                   f'stroke="#d8dbe0"/>')
        out.append(f'<polyline fill="none" stroke="{GOOD}" stroke-width="2" points="'
                   + " ".join(f"{x:.1f},{y:.1f}" for x, y in at) + '"/>')
        for (x, y), v, p in zip(at, values, points):
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{GOOD}"/>'
                       f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{html.escape(show(v))}</text>'
                       f'<text x="{x:.1f}" y="{top + height - 14}" text-anchor="middle" fill="#5a6069">'
                       f'10<tspan dy="-4" font-size="8">{math.log10(p["keys"]):.0f}</tspan></text>')
        out.append(f'<text x="{left + 6}" y="{top + height - 14}" fill="#5a6069">keys</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def merge(path, bench, areas):
    """The results file with these areas' rows in place of their former ones."""
    results = {"rows": [], "curves": []}
    if path.exists():
        results = json.loads(path.read_text())
    results["rows"] = [r for r in results["rows"] if r["area"] not in areas] + bench.rows
    results["curves"] = [c for c in results.get("curves", []) if c["area"] not in areas] + bench.curves
    order = {name: i for i, name in enumerate(bench.order)}
    results["rows"].sort(key=lambda r: order.get(r["area"], 99))
    results["machine"] = machine()
    results["measured"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return results


# --- the chart ---

BAR, GAP, LEFT, WIDTH, RIGHT = 20, 8, 560, 400, 190
GOOD, BAD, PLAIN, INK = "#2f7d4f", "#b3472f", "#8a8f98", "#22262b"


def how_far(row):
    """How far a figure is beyond its target: 1 is the target itself, more is better."""
    sign, limit = row["target"].split()
    if row["figure"] <= 0:
        return 4.0
    return row["figure"] / float(limit) if sign == ">=" else float(limit) / row["figure"]


def chart(results):
    """Each target as a bar: how many times better than asked, on a logarithmic scale, red where it falls short."""
    import math
    rows = [r for r in results["rows"] if r["target"]]
    low, high = -3.0, 3.0  # an eighth as good as asked … eight times as good
    scale = WIDTH / (high - low)
    height = 84 + len(rows) * (BAR + GAP)
    total = LEFT + WIDTH + RIGHT

    def x(value):
        return LEFT + (min(high, max(low, math.log2(value))) - low) * scale
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" width="{total}" height="{height}" '
           f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
           f'<rect width="{total}" height="{height}" fill="#ffffff"/>',
           '<text x="10" y="20" font-size="15" font-weight="600">seedpod against its targets</text>',
           '<text x="10" y="38" fill="#5a6069">each bar: how many times better (green) or worse (red) than asked; 1× is the '
           'target. Right of it: the figure and its target</text>']
    for power in range(int(low), int(high) + 1):
        label = {-3: "⅛×", -2: "¼×", -1: "½×", 0: "1×", 1: "2×", 2: "4×", 3: "8×"}[power]
        at = LEFT + (power - low) * scale
        out.append(f'<line x1="{at:.1f}" y1="68" x2="{at:.1f}" y2="{height - 10}" stroke="{INK if power == 0 else "#d8dbe0"}"'
                   f' stroke-width="{1.5 if power == 0 else 1}"/>')
        out.append(f'<text x="{at:.1f}" y="62" text-anchor="middle" fill="#5a6069">{label}</text>')
    for i, r in enumerate(rows):
        y = 76 + i * (BAR + GAP)
        peer = r["peer"].removesuffix(", sync")
        name = r["name"] + ("" if not peer or peer.startswith(("without", "one ")) else f", to {peer}")
        name = name if len(name) < 84 else name[:82] + "…"
        end, one = x(how_far(r)), x(1)
        unit = "×" if r["theirs"] is not None and r["figure"] != r["ours"] else " " + r["unit"]
        out.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>')
        out.append(f'<rect x="{min(end, one):.1f}" y="{y}" width="{abs(end - one):.1f}" height="{BAR}" rx="2" '
                   f'fill="{GOOD if r["met"] else BAD}"/>')
        out.append(f'<text x="{max(end, one) + 6:.1f}" y="{y + 14}">{html.escape(show(r["figure"]) + unit)}'
                   f'<tspan fill="{PLAIN}" dx="5">({html.escape(r["target"].replace("<=", "≤").replace(">=", "≥"))})</tspan></text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
