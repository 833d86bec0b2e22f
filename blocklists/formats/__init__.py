"""One module per way that a list can be written; `blocklists/parse.py` is the door."""
