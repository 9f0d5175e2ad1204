"""The forebay command on a cluster: install, status, predict, logs, check."""
