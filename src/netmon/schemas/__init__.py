"""Events in the schemas of others: the Elastic Common Schema, OCSF, and OpenTelemetry's log records.

Each is a function of an event, as its line of JSON has it, and of what the event lacks: who the host is, and who opened
the connection. Nothing here is imported unless such a format is asked for.
"""

SCHEMAS = ("ecs", "ocsf", "otel")  # each a module with a function to_NAME
FORMATS = ("line", "json", "table", "template", *SCHEMAS)  # all that events can be written in
