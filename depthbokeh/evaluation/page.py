"""An evaluation as one HTML file that needs nothing beside it: tables, and pictures to look at."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from .gallery import ERROR_SCALE, Example, Gallery
from .report import TITLE, Table, printable
from .scoring import Score

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .7rem; text-align: left; }
th.number, td.number { text-align: right; }
thead th { border-bottom: 2px solid #888; vertical-align: bottom; }
.warning { border-left: .3rem solid #d33; padding: .4rem .8rem; background: #d331; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; margin-bottom: 1.4rem; }
.row h4 { flex-basis: 100%; margin: .4rem 0 0; overflow-wrap: anywhere; }
figure { margin: 0; flex: 1 1 300px; max-width: 480px; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
"""


def format_page(tables: Sequence[Table], scores: Sequence[Score], gallery: Gallery) -> str:
    """The page, well-formed XML too; pictures are embedded, and nothing is loaded from anywhere.

    Args:
        tables: See :func:`depthbokeh.evaluation.report.make_tables`.
        scores: For the list of all pictures.
        gallery: Pictures of the same evaluation.
    """
    parts = [_format_table(table) for table in tables]
    parts += [_format_examples(method, gallery) for method in gallery.methods()]
    if gallery.differing():
        rows = "".join(_format_side_by_side(example) for example in gallery.differing())
        parts.append(f"<h2>Where the methods differ most</h2>{rows}")
    parts.append(_format_list(scores))
    return (
        '<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml"><head><meta charset="utf-8"/>'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src '
        '\'unsafe-inline\'"/><meta name="viewport" content="width=device-width"/>'
        f"<title>{_escape(TITLE)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{_escape(TITLE)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _format_table(table: Table) -> str:
    warning = f'<p class="warning"><strong>Warning.</strong> {_escape(table.warning)}</p>' if table.warning else ""
    notes = "".join(f"<p>{_escape(note)}</p>" for note in table.notes)
    return f"<h2>{_escape(table.title)}</h2>{warning}{notes}{_format_rows(table)}"


def _format_rows(table: Table) -> str:
    kinds = [' class="number"' if table.is_numeric(column) else "" for column in range(len(table.head))]

    def format_row(tag: str, row: Sequence[str]) -> str:
        cells = (f"<{tag}{kind}>{_escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    body = "\n".join(format_row("td", row) for row in table.rows)
    head = format_row("th", table.head)
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>\n{body}\n</tbody></table></div>'


def _format_examples(method: str, gallery: Gallery) -> str:
    explained = f"Error: {ERROR_SCALE} times the absolute difference to the target, channel by channel."
    parts = [f"<h2>{_escape(method)}: worst and best by PSNR</h2><p>{_escape(explained)}</p>"]
    for title, examples in (("Worst", gallery.worst(method)), ("Best", gallery.best(method))):
        rows = "".join(_format_example(method, example) for example in examples)
        parts.append(f"<h3>{title}</h3>{rows}" if rows else "")
    return "".join(parts)


def _format_example(method: str, example: Example) -> str:
    others = [f"{other} {value:.2f} dB" for other, value in example.psnr_db.items() if other != method]
    figures = [
        *([("input", example.photo)] if example.photo is not None else []),
        (method, example.pictures[method]),
        ("target", example.target),
        ("error", example.errors[method]),
    ]
    title = f"{example.name}: {example.psnr_db[method]:.2f} dB"
    return _format_figures(title + (f" ({', '.join(others)})" if others else ""), figures)


def _format_side_by_side(example: Example) -> str:
    figures = [(f"{method}: {value:.2f} dB", example.pictures[method]) for method, value in example.psnr_db.items()]
    values = example.psnr_db.values()
    title = f"{example.name}: {max(values) - min(values):.2f} dB apart"
    return _format_figures(title, [("target", example.target), *figures])


def _format_figures(title: str, figures: Sequence[tuple[str, bytes]]) -> str:
    shown = "".join(
        f'<figure><img alt="{_escape(caption)}" loading="lazy" src="data:image/jpeg;base64,'
        f'{base64.b64encode(picture).decode()}"/><figcaption>{_escape(caption)}</figcaption></figure>'
        for caption, picture in figures
    )
    return f'<div class="row"><h4>{_escape(title)}</h4>{shown}</div>'


def _format_list(scores: Sequence[Score]) -> str:
    """PSNR and first SSIM of all pictures, a row each."""
    methods = list(dict.fromkeys(score.method for score in scores))
    protocol = next(iter(scores[0].ssim))
    head = ["Picture", *(f"{method}: {what}" for method in methods for what in ("PSNR, dB", f"SSIM {protocol}"))]
    cells: dict[str, dict[str, list[str]]] = {}
    for score in scores:
        values = [f"{score.psnr_db:.2f}", f"{score.ssim[protocol]:.4f}"]
        cells.setdefault(score.name, {})[score.method] = values
    rows = tuple((name, *(value for method in methods for value in own[method])) for name, own in cells.items())
    table = Table("", (), tuple(head), rows)
    return f"<details><summary>All {len(rows)} pictures</summary>{_format_rows(table)}</details>"


def _escape(text: str) -> str:
    return html.escape(printable(text))
