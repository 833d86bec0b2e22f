"""The hot path as a pure step over datagrams: no socket, no clock. The seam is in `seam.py`."""
