"""Lists in, snapshot out: the vocabulary and the decision that resolver and portal share.

Pure: no sockets, no database, no clock. Imports neither `resolver` nor `portal`.
"""
