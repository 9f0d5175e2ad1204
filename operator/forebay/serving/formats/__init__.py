"""Models that are a file, not a Triton repository: Forebay lays the repository out, and writes its config.pbtxt."""
