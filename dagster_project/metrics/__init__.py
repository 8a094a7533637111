"""What Prometheus is told: derived from committed state by a standing process, so that nothing ends with a run."""
