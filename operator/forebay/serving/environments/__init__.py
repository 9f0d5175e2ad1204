"""Libraries for a script: wheels from an index, installed into a folder beside what Forebay itself brings."""
