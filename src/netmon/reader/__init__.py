"""Waiting for records, reading them in batches, and handing them on."""
