"""What proves what was done: records of requests and of control changes, chained by their hashes.  Pure."""
