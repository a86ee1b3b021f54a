"""`python -m resilient_stt.cli`: the same as `resilient-stt`."""

from .app import main

main()
