"""The report: what a campaign did, in one HTML file."""

from hpcflow.report.write import write_report

__all__ = ["write_report"]
