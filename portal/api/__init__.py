"""The HTTP API under `/api/v1`: thin routes that read a message, call one service and write the answer."""
