"""Reads records in batches, waits for more, and hands events on in streams."""
