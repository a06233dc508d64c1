"""Tables of an evaluation, for people (Markdown) and for programs (CSV)."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from .published import (
    CHANGE_CONTRADICTION,
    CHANGE_WARNING,
    PUBLISHED,
    PUBLISHED_CHANGE_VS_INPUT,
    PUBLISHED_NOTE,
    VAL294,
    PublishedFigure,
)
from .scoring import Score, Summary, summarize

TITLE = "Evaluation against photographs"

_METRICS = (
    "PSNR: in dB, over the pixels of all channels, of display values; the mean of the pictures' PSNRs. PSNR of mean "
    "MSE: that of their mean error. PSNR with gain: the mean after every channel was multiplied by the gain that suits "
    "it best (least squares, display values) and clamped. MSE: of values 0..1. SSIM: by the protocol named; figures of "
    "different protocols cannot be compared."
)
_NAMED_EXAMPLES = 5


@dataclass(frozen=True)
class Table:
    """Rows of text under a title, the first column being names, and what is to be said above them."""

    title: str
    notes: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    warning: str = ""

    def is_numeric(self, column: int) -> bool:
        """Whether a column holds numbers, so far as it is filled."""
        return all(map(_is_number, filter(None, (row[column] for row in self.rows))))


def make_tables(scores: Sequence[Score], changes: Sequence[Score] = (), origins: Sequence[str] = ()) -> list[Table]:
    """What is to be read first: the means, and published figures beside them.

    Args:
        scores: Against the targets.
        changes: Against the inputs; they come in a table of their own, with a warning.
        origins: Sentences on where the pictures come from.
    """
    means = summarize(scores)
    tables = [_tabulate_means(means, origins), _tabulate_published(means, {score.name for score in scores})]
    return [*tables, _tabulate_changes(summarize(changes))] if changes else tables


def _tabulate_means(means: Sequence[Summary], origins: Sequence[str]) -> Table:
    protocols = tuple(means[0].ssim)
    head = ["Method", "Pictures", "PSNR, dB", "PSNR of mean MSE", "PSNR with gain", "MSE"]
    head += [f"SSIM {protocol}" for protocol in protocols]
    head += [] if means[0].lpips is None else ["LPIPS"]
    rows = []
    for mean in means:
        row = [mean.method, str(mean.pictures), *map(_decibels, (mean.psnr_db, mean.psnr_of_mean_mse_db))]
        row += [_decibels(mean.psnr_gain_db), f"{mean.mse:.6f}"]
        row += [f"{mean.ssim[protocol]:.4f}" for protocol in protocols]
        rows.append((*row, *([] if mean.lpips is None else [f"{mean.lpips:.4f}"])))
    resized = [f"{mean.resized} of {mean.method}" for mean in means if mean.resized]
    notes = (
        ([" ".join(origins)] if origins else [])
        + [_METRICS]
        + ([f"Resized to their targets' size: {', '.join(resized)}."] if resized else [])
    )
    return Table("Means", tuple(notes), tuple(head), tuple(rows))


def _tabulate_published(means: Sequence[Summary], names: set[str]) -> Table:
    head = ("Method", "PSNR, dB", "SSIM", "SSIM protocol", "LPIPS", "Pictures", "Source")
    pictures = f"{len(names)}, with the ids of EBB! Val294" if names == VAL294 else f"{len(names)} of this run"
    return Table(
        "Beside published figures",
        (PUBLISHED_NOTE,),
        head,
        (*(_beside(mean, pictures) for mean in means), *map(_describe, PUBLISHED)),
    )


def _tabulate_changes(means: Sequence[Summary]) -> Table:
    head = (
        "Method",
        "Change vs input: PSNR, dB",
        "Change vs input: SSIM",
        "SSIM protocol",
        "LPIPS",
        "Pictures",
        "Source",
    )
    rows = (
        *(_beside(mean, f"{mean.pictures} of this run") for mean in means),
        *map(_describe, PUBLISHED_CHANGE_VS_INPUT),
    )
    return Table("Change against the input: no measure of quality", (CHANGE_CONTRADICTION,), head, rows, CHANGE_WARNING)


def _beside(mean: Summary, pictures: str) -> tuple[str, ...]:
    """A row of this run; SSIM by the protocol that a published figure has, if it was measured."""
    protocol = "uniform7" if "uniform7" in mean.ssim else next(iter(mean.ssim))
    lpips = "" if mean.lpips is None else f"{mean.lpips:.4f}"
    return mean.method, _decibels(mean.psnr_db), f"{mean.ssim[protocol]:.4f}", protocol, lpips, pictures, "this run"


def _describe(figure: PublishedFigure) -> tuple[str, ...]:
    # With the digits that were published.
    ssim = f"{figure.ssim:.4f}" if round(figure.ssim, 2) != figure.ssim else f"{figure.ssim:.2f}"
    lpips = "" if figure.lpips is None else f"{figure.lpips:.4f}"
    protocol = figure.ssim_protocol or "not stated"
    return figure.method, f"{figure.psnr_db:.2f}", ssim, protocol, lpips, figure.pictures, figure.source


def _decibels(value: float) -> str:
    return f"{value:.2f}"


def format_markdown(tables: Sequence[Table], scores: Sequence[Score]) -> str:
    """The tables and the names of every method's worst and best pictures, as Markdown."""
    parts = [f"# {TITLE}"]
    for table in tables:
        parts.append(f"## {table.title}")
        parts += [f"**Warning.** {escape_markdown(table.warning)}"] if table.warning else []
        parts += [escape_markdown(note) for note in table.notes]
        rule = tuple("---:" if table.is_numeric(column) else "---" for column in range(len(table.head)))
        lines = [_markdown_row(table.head), f"| {' | '.join(rule)} |", *map(_markdown_row, table.rows)]
        parts.append("\n".join(lines))
    parts.append("## Worst and best pictures by PSNR, dB")
    for method in dict.fromkeys(score.method for score in scores):
        ranked = sorted((score for score in scores if score.method == method), key=lambda score: score.psnr_db)
        ends = {"worst": ranked[:_NAMED_EXAMPLES], "best": ranked[_NAMED_EXAMPLES:][: -_NAMED_EXAMPLES - 1 : -1]}
        for end, own in ends.items():
            names = ", ".join(f"{score.name} ({_decibels(score.psnr_db)})" for score in own)
            parts += [escape_markdown(f"{method}, {end}: {names}")] if own else []
    return "\n\n".join(parts) + "\n"


def format_csv(scores: Sequence[Score], prefix: str = "") -> str:
    """One line for every picture of every method.

    Args:
        scores: All with the same metrics.
        prefix: Of the metrics' names.

    Example:
        >>> print(format_csv([Score("m", "1", 20.0, 21.0, 0.01, {"gaussian": 0.5})]), end="")
        method,picture,psnr_db,psnr_gain_db,mse,ssim_gaussian,resized
        m,1,20.0,21.0,0.01,0.5,0
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    metrics = ["psnr_db", "psnr_gain_db", "mse", *(f"ssim_{protocol}" for protocol in scores[0].ssim)]
    metrics += [] if scores[0].lpips is None else ["lpips"]
    writer.writerow(["method", "picture", *(prefix + metric for metric in metrics), "resized"])
    for score in scores:
        values = [score.psnr_db, score.psnr_gain_db, score.mse, *score.ssim.values()]
        values += [] if score.lpips is None else [score.lpips]
        writer.writerow([score.method, score.name, *values, int(score.resized)])
    return stream.getvalue()


def printable(text: str) -> str:
    r"""Without line breaks, control characters and bytes that are no text, which file names may hold.

    Example:
        >>> printable("a\x1b[2Jb")
        'a�[2Jb'
    """
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def escape_markdown(text: str) -> str:
    r"""As text that Markdown shows as it is.

    Example:
        >>> print(escape_markdown("a|b *c* <i>"))
        a\|b \*c\* &lt;i&gt;
    """
    text = html.escape(printable(text), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|~" else letter for letter in text)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
