"""Runs a command that is watched from its first instruction on: the core of `netmon exec` and of Monitor.exec()."""
