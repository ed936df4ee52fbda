"""Records to events: pure, without a kernel."""
