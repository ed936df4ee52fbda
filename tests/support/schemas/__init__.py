"""The published schemas, as far as netmon uses them, and what validates a document against them. README.md: whence."""
