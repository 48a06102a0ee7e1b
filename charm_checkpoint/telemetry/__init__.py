"""What calls of a store did, for those who watch: spans and metrics of OpenTelemetry, and a line in the log each.

Nothing is imported, and nothing counted, unless a program has set up a provider of OpenTelemetry's or has its log take
what is of the level DEBUG.
"""
