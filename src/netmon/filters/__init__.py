"""A configuration compiled to the contents of the kernel's maps: pure, without a kernel."""
