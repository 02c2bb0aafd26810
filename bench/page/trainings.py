"""The page of trainings: tables and pictures in one file that needs no network, and the same as Markdown."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from bench import units
from bench.page import REPORT_FILE
from bench.page.curves import pictures
from bench.report import markdown, trainings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.report.trainings import Shown
    from bench.train.results import Trainings


def title_of(of: Trainings) -> str:
    """What it is about, in a line."""
    until = units.percent(of.head.target)
    return f"One seq2seq LSTM on its way to {until} of the phonemes wrong: {of.head.environment.cpu}"


def said(of: Trainings) -> str:
    """Who gets there first, and how sure that is."""
    return trainings.sentence(of.outcomes, of.head.target, of.head.environment.cpu)


def about(of: Trainings) -> list[str]:
    """How it came about."""
    head, model, recipe = of.head, of.head.settings.model, of.head.settings.recipe
    lines = [
        markdown.environment_line(head.environment),
        f"`{head.command}`, {head.started_at}; {head.threads} thread{'s' * (head.threads > 1)}, rows one at a time",
        f"E {model.embedding_dim}, H {model.hidden_dim}, {model.num_encoder_layers}+{model.num_decoder_layers} layers,"
        f" {'both directions' if model.bidirectional else 'one direction'}; batches of {head.settings.batch_size}"
        f" words; Adam at {recipe.peak_learning_rate:g}, {recipe.warmup_steps} steps of warm-up, falling to 0 after"
        f" {recipe.total_steps:,}; gradients clipped to a norm of {recipe.max_norm:g};"
        f" evaluated every {head.settings.evaluate_every} steps;"
        f" stress marks {'are' if head.settings.stress else 'are not'} part of it",
    ]
    if of.turns:
        run = of.turns.run
        blocks = max((record.block for record in of.turns.result.records), default=0)
        lines.append(f"steps: turns of {run.started_at}, {blocks} blocks, {markdown.commit_in_words(run.environment)}")
    return lines


def tables(of: Trainings) -> list[Shown]:
    """All tables that there is something in."""
    about = [one.about for one in of.trained]
    return trainings.tables(of.outcomes, of.head.target, of.head.settings.batch_size, about)


def as_markdown(of: Trainings) -> str:
    """The page as Markdown; its pictures stand beside it."""
    parts = [f"# {title_of(of)}\n", f"{said(of)}\n", "  \n".join(about(of)) + "\n"]
    parts += [f"## {own.title}\n\n{markdown.table(own.header, own.lines)}" for own in tables(of)]
    parts.append(f"{trainings.legend(tables(of))}\n")
    parts += [f"![{own.caption}]({own.file})\n\n{own.caption}\n" for own in pictures(of)]
    return "\n".join(parts)


def as_html(of: Trainings) -> str:
    """The page as one file: no script, nothing fetched."""
    words = [said(of), *about(of)]
    figures = (
        f"<figure>{own.svg()}<figcaption>{html.escape(own.caption)}</figcaption></figure>" for own in pictures(of)
    )
    parts = [
        f"<h1>{html.escape(title_of(of))}</h1>",
        *(f"<p>{html.escape(line.replace('`', ''))}</p>" for line in words),
        *(_table(own) for own in tables(of)),
        f"<p>{html.escape(trainings.legend(tables(of)))}</p>",
        *figures,
    ]
    return PAGE.replace("$title", html.escape(title_of(of))).replace("$body", "\n".join(parts))


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 2rem 0; } figure svg { max-width: 100%; height: auto; }
</style>
</head>
<body>
$body
</body>
</html>
"""


def files_of(of: Trainings) -> dict[str, str]:
    """What stands beside trainings: the page as Markdown with its pictures, and as one file; by name."""
    drawn = {own.file: own.svg() for own in pictures(of)}
    return {markdown.TABLE_FILE: as_markdown(of), REPORT_FILE: as_html(of), **drawn}


def _table(own: Shown) -> str:
    return (
        f"<h2>{html.escape(own.title)}</h2><table><thead>{_row('th', own.header)}</thead>"
        f"<tbody>{''.join(_row('td', line) for line in own.lines)}</tbody></table>"
    )


def _row(kind: str, cells: Sequence[str] | Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"
