"""The providers: the default ones, the plugins of a configuration, and what is known of models."""
