"""The side-by-side benchmark: `python -m tests.bench [throughput] [approvals]`. Not part of the suite."""
