"""Running a command: processes, devices, locks, run folders, provenance, packaged configurations."""
