"""Object stores, and lakes on them: requests, this machine's copy of a lake, leases, folders that tasks share."""
