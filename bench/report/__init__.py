"""What a person reads of a run: one self-contained page, and a summary for the terminal.

Both are made from the files of the run's folder alone (`bench/results/store.py`), so that a report can be made again
at any time.
"""

from bench.report.page import REPORT, write_pictures, write_report
from bench.report.terminal import terminal_summary

__all__ = ["REPORT", "terminal_summary", "write_pictures", "write_report"]
