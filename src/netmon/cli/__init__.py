"""The netmon command."""

# Exit codes: fine; failed while running; bad usage or configuration; interrupted.
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
EXIT_NOT_STARTED = 125  # of `netmon exec`, as of timeout(1) and env(1): they have failed themselves
