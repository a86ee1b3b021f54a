"""`python -m resilient_stt.cli`: the same as `resilient-stt`."""

from . import main

if __name__ == "__main__":
    main()
