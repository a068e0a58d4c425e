"""Records about the installation itself: counters, time series, processes, alerts."""
