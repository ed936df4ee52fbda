"""Where a run's events go: one or several outputs, each isolated from the others."""
