"""Hours of mixed load: whether all is flat at the end, and client, gateway and Postgres agree to the last request."""
