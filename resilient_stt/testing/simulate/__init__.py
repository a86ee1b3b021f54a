"""Simulated calls: seeded schedules of faults over scripted providers, in virtual time."""
