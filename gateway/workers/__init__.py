"""Several processes on one port: started, watched, restarted, replaced without a dropped request."""
