"""Runs a command that is watched from its first instruction on: the core of `netmon exec` and of Monitor.exec()."""

# As of timeout(1) and env(1): they have failed themselves, and the command was not started.
EXIT_NOT_STARTED = 125
