"""What happens when providers fail and recover: outages, probes and failback."""
