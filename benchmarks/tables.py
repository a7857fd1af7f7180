"""Figures as a table that people read: a row each, its goal beside it where there is one."""

from collections.abc import Sequence


def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], remarks: Sequence[str] = ()) -> None:
    """Print one table as Markdown, so that it can be pasted where figures are talked about."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    print(f"\n## {title}\n")
    for row in (heads, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    for remark in remarks:
        print(f"\n{remark}")


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def milliseconds(value: float) -> str:
    return f"{value * 1000:.2f} ms"


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of all are not above."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
