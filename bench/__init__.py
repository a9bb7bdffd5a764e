"""What serving recordings costs here, beside what people would put in its place. `make bench` runs it."""
