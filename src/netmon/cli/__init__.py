"""The netmon command."""

# Exit codes: fine; failed while running; bad usage or configuration; an expectation not met; interrupted.
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_UNEXPECTED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

STANDARD_INPUT = "-"  # in place of a file
