"""What counts as growth in a soak, and how it is shown.

A sample is (seconds, {name: figure}); a name ends with its kind: "store-0 server memory", "store-0 file". Memory,
descriptors, threads, and what of the file is in use ("data") are held against themselves: the last fifth of the time
against the second fifth.

The file is held against what the data explains (docs/operations.md, Sizing): it goes as high as the most that was in use
and withheld by snapshots at once. Those that nobody reads withhold a quarter of what is in use, 64 MiB, and what is written
until that is noticed; one that is read withholds what is written as long as that lasts. A file within that may have grown
late in the run, when two snapshots happened to overlap as none before; one beyond it grows for a reason that has no end.
"""

from typing import NamedTuple

# By how much the last fifth may exceed the second: a share, and something on top.
BOUNDS = {"memory": (1.10, 4.0), "descriptors": (1.0, 8.0), "threads": (1.0, 0.0), "data": (1.15, 8.0)}
UNITS = {"memory": "MiB", "descriptors": "", "threads": "", "data": "MiB", "file": "MiB"}
WITHHELD_SHARE, WITHHELD_MIB = 0.25, 64.0
NOTICED_AFTER = 2.0  # seconds: a look each second, and the flush of one


class Row(NamedTuple):
    name: str
    unit: str
    early: float  # mean of the second fifth
    late: float  # mean of the last
    most: float
    bound: float  # for the late mean; of a file, for the most

    @property
    def grown(self):
        return (self.most if self.name.endswith(" file") else self.late) > self.bound


def mean(samples, name, first, last):
    total = samples[-1][0]
    values = [s[name] for at, s in samples if first * total <= at <= last * total]
    return sum(values) / len(values)


def most(samples, name):
    return max(s[name] for _, s in samples)


def written_per_second(samples, name):
    """The most that was written between two samples, MiB/s."""
    return max(((b[name] - a[name]) / (at_b - at_a) for (at_a, a), (at_b, b) in zip(samples, samples[1:])), default=0.0)


def file_bound(samples, pod, longest_read):
    in_use, rate = most(samples, f"{pod} data"), written_per_second(samples, f"{pod} written")
    return in_use * (1 + WITHHELD_SHARE) + WITHHELD_MIB + rate * (longest_read + NOTICED_AFTER)


def judge(samples, longest_read):
    """The table's rows; longest_read: seconds that the longest reader of a snapshot took."""
    rows = []
    for name in samples[-1][1]:
        pod, kind = name.rsplit(" ", 1)
        if kind == "written":
            continue
        early, late = mean(samples, name, 0.2, 0.4), mean(samples, name, 0.8, 1.0)
        if kind == "file":
            bound = file_bound(samples, pod, longest_read)
        else:
            bound = early * BOUNDS[kind][0] + BOUNDS[kind][1]
        rows.append(Row(name, UNITS[kind], early, late, most(samples, name), bound))
    return rows


def table(rows):
    lines = ["| | from 20 to 40 % of the time | last fifth | most | bound |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        is_file = row.name.endswith(" file")
        late, top = f"{row.late:.1f}", f"{row.most:.1f}"
        if row.grown:
            late, top = (late, f"{top} **grown**") if is_file else (f"{late} **grown**", top)
        lines.append(f"| {row.name}{', ' + row.unit if row.unit else ''} | {row.early:.1f} | {late} | {top} | "
                     f"{row.bound:.1f}{' for the most' if is_file else ''} |")
    return "\n".join(lines) + "\n"


COLOURS = ("#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd")
PANELS = (("memory", "own memory, MiB"), ("descriptors", "descriptors"), ("file", "data.mdb, MiB; dashed: in use of it"))


def _panel(samples, kind, title, colours, left, top, width, height):
    names = [n for n in samples[-1][1] if n.endswith(" " + kind)]
    lines = [(n, "") for n in names]
    if kind == "file":
        lines += [(n[:-len("file")] + "data", ' stroke-dasharray="4 3"') for n in names]
    ceiling = max(s[n] for _, s in samples for n, _ in lines) * 1.1
    end = samples[-1][0]
    out = [f'<text x="{left}" y="{top - 8}" class="t">{title}</text>',
           f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>']
    for share in (0, 0.5, 1):
        y = top + height * (1 - share)
        out.append(f'<text x="{left - 4}" y="{y + 4:.0f}" class="r">{ceiling * share:.0f}</text>')
        out.append(f'<text x="{left + width * share:.0f}" y="{top + height + 14}" class="m">{end * share / 60:.0f} min</text>')
    for name, dashes in lines:
        points = " ".join(f"{left + width * at / end:.1f},{top + height * (1 - s[name] / ceiling):.1f}" for at, s in samples)
        who = name.rsplit(" ", 1)[0]
        who = who if who in colours else f"{who} server"
        out.append(f'<polyline points="{points}" fill="none" stroke="{colours[who]}"{dashes}/>')
    return out


def chart(samples):
    """An SVG of memory, descriptors and files over the time."""
    programs = sorted({n.rsplit(" ", 1)[0] for n in samples[-1][1] if n.endswith(" memory")},
                      key=lambda who: who.split()[::-1])
    colours = dict(zip(programs, COLOURS))
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 560" width="760" height="560">',
           "<style>text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.r{text-anchor:end}.m{text-anchor:middle}</style>",
           '<rect width="760" height="560" fill="#fff"/>']
    for row, (kind, title) in enumerate(PANELS):
        out += _panel(samples, kind, title, colours, 50, 30 + 175 * row, 690, 125)
    for n, who in enumerate(programs):
        x = 50 + 130 * n
        out.append(f'<rect x="{x}" y="542" width="10" height="10" fill="{colours[who]}"/>'
                   f'<text x="{x + 14}" y="551">{who}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"
