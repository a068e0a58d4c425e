"""Records about the installation: counters, time series, processes, alerts."""
