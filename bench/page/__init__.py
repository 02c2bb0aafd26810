"""The page: results as charts and tables in one file that opens from disk, and the same charts as pictures.

``data`` gathers what the page knows of its results, ``series`` what its charts draw; ``charts`` says how that is drawn,
``build`` puts all into one file with the script that filters and sorts, and draws pictures without a browser. No number
is worked out in the script: intervals, ratios and verdicts come from where the tables have them.
"""

REPORT_FILE = "report.html"
"""What a page is called, wherever it stands."""

DRAW = ("altair", "vl_convert")
"""What pages and pictures are drawn with: a run does without."""
