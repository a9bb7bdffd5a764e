"""What is counted and traced, and how that leaves: figures for Prometheus, spans for OpenTelemetry."""
