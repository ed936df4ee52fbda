"""What a person reads: events as aligned lines, as a table or by a template. It takes the JSON's own values."""
