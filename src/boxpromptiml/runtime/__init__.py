"""How a command runs: processes, devices, locks, the folder of a run, provenance, packaged configurations."""
